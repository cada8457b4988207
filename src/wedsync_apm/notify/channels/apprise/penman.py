"""The process that writes the calls of one message, and our side of the talk with it.

Apprise's plug-ins are other people's code over addresses that tenants write. So each message has a
process of its own: without the network, without files but the libraries', without our environment,
with little memory and little time. It says which HTTP call it wants, we make that by the rules of
all outgoing calls, and it is told the answer.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, cast, get_args

from wedsync_apm.egress import Answer, EgressClient, EgressFailed, EgressRefused
from wedsync_apm.egress.client import Method
from wedsync_apm.telemetry import Counter

LONGEST_SECONDS: Final = 20.0
"""Of one message, the start of its process included."""
CALL_SECONDS: Final = 8.0
MOST_CALLS: Final = 8
LINE_LIMIT: Final = 512 * 1024
"""Bytes of one call as the process says it, its body in base64."""
_PROGRAM: Final = Path(__file__).with_name("child.py")
_METHODS: Final = frozenset(get_args(Method))

_calls = Counter(
    "wedsync_apm_apprise_calls_total",
    "Calls that Apprise's services wanted, and what became of them.",
    ("outcome",),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One message: the address, where the library has its plug-in, and the words."""

    url: str = field(repr=False)
    module: str
    plugin: str
    title: str
    body: str
    type: str


@dataclass(slots=True)
class Call:
    """One call that was begun; `end` is None while nothing is known of it."""

    method: str
    end: Answer | EgressFailed | EgressRefused | None = None


@dataclass(slots=True)
class Written:
    """What became of one message's calls.

    `was_taken` is what the plug-in says in the end, None when it came to no end; `refusal` why the
    message can never go out.
    """

    calls: list[Call] = field(default_factory=list)
    was_taken: bool | None = None
    refusal: str | None = None
    trouble: str = "Apprise broke off"


async def write(job: Job, egress: EgressClient) -> Written:
    """Has one message written and its calls made; never fails."""
    written = Written()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(_PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
        cwd="/",
        limit=LINE_LIMIT,
    )
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            await _talk(process, job, egress, written)
    except TimeoutError:
        written.trouble = f"Apprise did not come to an end within {LONGEST_SECONDS:g} s"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # It died, or says what nobody understands: its address may have made it do so.
        written.trouble = "Apprise broke off"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
    return written


async def _talk(
    process: asyncio.subprocess.Process, job: Job, egress: EgressClient, written: Written
) -> None:
    if process.stdin is None or process.stdout is None:
        raise OSError("the process has no pipes")
    _tell(process.stdin, asdict(job))
    while line := await process.stdout.readline():
        said = json.loads(line)
        if "taken" in said:
            written.was_taken = bool(said["taken"])
            return
        if "refused" in said:
            written.refusal = str(said["refused"])[:500]
            return
        if len(written.calls) >= MOST_CALLS:
            written.trouble = f"Apprise wanted more than {MOST_CALLS} calls for one message"
            return
        _tell(process.stdin, await _call(said["call"], egress, written))
        await process.stdin.drain()


def _tell(pipe: asyncio.StreamWriter, said: Mapping[str, Any]) -> None:
    pipe.write(json.dumps(said).encode() + b"\n")


async def _call(wanted: Mapping[str, Any], egress: EgressClient, written: Written) -> Any:
    method, url = str(wanted["method"]), str(wanted["url"])
    headers = {str(name): str(value) for name, value in wanted["headers"].items()}
    body = _bytes(wanted["body"])
    call = Call(method)
    written.calls.append(call)
    try:
        if method not in _METHODS:
            raise EgressRefused(f"calls by {method[:20]!r} are not made")
        answer = await egress.request(
            cast(Method, method), url, headers=headers, body=body, timeout_seconds=CALL_SECONDS
        )
    except EgressRefused as exc:
        call.end = exc
        _calls.inc(1, outcome="refused")
        return {"fault": "refused"}
    except EgressFailed as exc:
        call.end = exc
        _calls.inc(1, outcome="failed")
        return {"fault": exc.failure.value}
    call.end = answer
    _calls.inc(1, outcome="answered")
    return {
        "status": answer.status,
        "headers": dict(answer.headers),
        "body": base64.b64encode(answer.body).decode(),
    }


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error as exc:
        raise ValueError("a body that cannot be read") from exc
