"""Reads a file in a process of its own, which a bomb in it takes along and nothing else."""

import asyncio
import contextlib
import os
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import msgspec

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.weddings.imports.model import FileKind, Habits, Reading

SECONDS: Final = 30.0
"""On a machine that is busy; the process itself ends after 10 s of work."""
MOST_BYTES: Final = 16 * 1024 * 1024
AT_ONCE: Final = 2


class _Refused(msgspec.Struct, forbid_unknown_fields=True):
    refused: list[dict[str, str]]


class Readers:
    """A few processes at most; whoever comes later waits for one to end."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._places = asyncio.Semaphore(at_once)

    async def read(self, kind: FileKind, body: bytes, habits: Habits) -> Reading:
        """What the file says. Raises NotValid for one that cannot be read within the limits."""
        async with self._places:
            answer = await _run(kind, msgspec.json.encode(habits) + b"\n" + body)
        try:
            return msgspec.json.decode(answer, type=Reading)
        except msgspec.DecodeError:
            pass
        try:
            refused = msgspec.json.decode(answer, type=_Refused).refused
        except msgspec.DecodeError:
            words = "cannot be read within the time and memory that a file may take"
            raise NotValid(errors=[FieldError("body", words)]) from None
        raise NotValid(
            "The file cannot be taken.",
            [FieldError(one["field"], one["reason"]) for one in refused],
        )


def readers_of(state: MutableMapping[str, Any]) -> Readers:
    """The one set of processes that everything of an application shares, API and pages."""
    found: Readers = state.setdefault("wedding_readers", Readers())
    return found


async def _run(kind: FileKind, text: bytes) -> bytes:
    # Nothing of ours goes along but where the code is: no setting, no secret.
    environment = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "wedsync_apm.weddings.imports.child",
        kind.value,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment,
    )
    try:
        async with asyncio.timeout(SECONDS):
            answer, _ = await process.communicate(text)
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return answer if process.returncode == 0 and len(answer) <= MOST_BYTES else b""
