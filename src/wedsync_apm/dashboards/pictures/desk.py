"""Has dashboards drawn: by a process for each, two at a time, one at a time for an organization."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

import wedsync_apm
from wedsync_apm.dashboards.data import Data
from wedsync_apm.dashboards.model import Document
from wedsync_apm.dashboards.pictures.model import Form, Job, Sheet
from wedsync_apm.errors import RateLimited, TooLarge
from wedsync_apm.telemetry import Counter, get_logger

log = get_logger(__name__)

SheetOf = Callable[[dict[str, Any], Document, Data, bool], Sheet]
"""Says a dashboard in words: its row, its document, its data, whether the engine goes on."""

LONGEST_SECONDS: Final = 30.0
"""Of one picture, the start of its process included."""
AT_ONCE: Final = 2
MOST_WAITING: Final = 8
MOST_JOB_BYTES: Final = 16 * 1024 * 1024
MOST_PICTURE_BYTES: Final = 16 * 1024 * 1024
RETRY_SECONDS: Final = 3.0
_PROGRAM: Final = "wedsync_apm.dashboards.pictures.child"

DRAWN = Counter(
    "wedsync_apm_dashboard_pictures_total",
    "Dashboards drawn as PDF and PNG, and those that were refused, by outcome.",
    ("form", "outcome"),
)


class Desk:
    """Draws in this process' name. Whoever comes while his organization's picture is being drawn is
    refused, and so is everybody while too many wait."""

    def __init__(self, *, longest_seconds: float = LONGEST_SECONDS) -> None:
        self._longest_seconds = longest_seconds
        self._busy: set[UUID] = set()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def draw(self, sheet: Sheet, form: Form, organization_id: UUID) -> bytes:
        """The picture. Raises RateLimited for whoever has to wait, and TooLarge for a dashboard
        that cannot be drawn within the limits."""
        if organization_id in self._busy or len(self._busy) >= MOST_WAITING:
            DRAWN.inc(form=form.value, outcome="busy")
            raise RateLimited("A picture is being drawn already; ask again soon.", RETRY_SECONDS)
        self._busy.add(organization_id)
        try:
            async with self._room:
                made = await self._run(msgspec.msgpack.encode(Job(form, sheet)))
        finally:
            self._busy.discard(organization_id)
        DRAWN.inc(form=form.value, outcome="drawn" if made else "too_large")
        if not made:
            raise TooLarge("This dashboard is too much for one picture: choose fewer panels.")
        return made

    async def _run(self, job: bytes) -> bytes:
        """What the process wrote; nothing where it came to no good end."""
        if len(job) > MOST_JOB_BYTES:
            return b""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            _PROGRAM,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # nothing of our environment but where the program is
            env={"PYTHONPATH": str(Path(wedsync_apm.__file__).parent.parent)},
            cwd="/",
        )
        made, trouble = b"", b""
        try:
            async with asyncio.timeout(self._longest_seconds):
                made, trouble = await process.communicate(job)
        except TimeoutError:
            trouble = b"it took too long"
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode != 0 or len(made) > MOST_PICTURE_BYTES:
            log.warning(
                "A dashboard could not be drawn: %s",
                trouble[-500:].decode(errors="replace"),
                extra={"action": "draw_dashboard"},
            )
            return b""
        return made


def desk_in(state: MutableMapping[str, Any]) -> Desk:
    """The desk of an application, which is in its state; made when it is first needed."""
    found = state.get("desk")
    if not isinstance(found, Desk):
        found = state["desk"] = Desk()
    return found
