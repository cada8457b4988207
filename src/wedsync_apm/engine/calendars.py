"""The wedding calendars of organizations around the present, each believed for some seconds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from wedsync_apm.db.pool import Connection
from wedsync_apm.rules import live as rules
from wedsync_apm.rules.judge import CATCH_UP
from wedsync_apm.rules.limits import WeddingWindow

BELIEVED_FOR: Final = timedelta(seconds=5)
MARGIN: Final = timedelta(minutes=1)


@dataclass(slots=True)
class Calendars:
    """What has been read, and when: nothing that it could not read again."""

    _read: dict[UUID, tuple[datetime, list[WeddingWindow]]] = field(default_factory=dict)

    def __contains__(self, organization_id: UUID) -> bool:
        return organization_id in self._read

    def of(self, organization_id: UUID) -> Sequence[WeddingWindow]:
        """The weddings of an organization whose calendar has been read."""
        return self._read[organization_id][1]

    async def read(self, cx: Connection, organization_ids: Iterable[UUID], at: datetime) -> None:
        """Reads those anew that are not known, or believed no longer at `at`."""
        stale = [one for one in organization_ids if not self._is_believed(one, at)]
        if stale:
            read = await rules.list_wedding_windows(cx, stale, at - CATCH_UP - MARGIN, at + MARGIN)
            self._read.update((one, (at, windows)) for one, windows in read.items())

    def _is_believed(self, organization_id: UUID, at: datetime) -> bool:
        known = self._read.get(organization_id)
        return known is not None and abs(at - known[0]) < BELIEVED_FOR
