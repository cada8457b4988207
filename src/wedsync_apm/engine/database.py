"""Looks at the database's health, and writes down what was measured."""

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Final

from wedsync_apm.config import Settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import Connection
from wedsync_apm.health.store import measure_round

EVERY_SECONDS: Final = 60.0
TIMEOUT_SECONDS: Final = 50.0


class WatchDatabase:
    """The job. It measures over a connection of its own, for as long as a round takes; the one that
    it is given holds its turn, so that of many engines one measures."""

    def __init__(self, settings: Settings) -> None:
        self._conninfo = role_conninfo(settings, "apm_engine")
        self._disk = _own_disk(settings)
        size = settings.database_disk_gb
        self._disk_bytes = size * 10**9 if size else None

    async def run_once(self, cx: Connection, at: datetime) -> str:
        """One run."""
        return await asyncio.to_thread(
            measure_round, self._conninfo, disk=self._disk, disk_bytes=self._disk_bytes
        )


def _own_disk(settings: Settings) -> Path | None:
    """Where the embedded server's files lie; None for a server whose disk we cannot see."""
    if settings.database_disk_gb:
        return None
    try:
        record = json.loads((settings.data_dir / "postgres.json").read_text(encoding="utf-8"))
        place = Path(record["data"])
        # Its folder is the server's own; the one around it lies on the same disk.
        return next(folder for folder in place.parents if folder.exists())
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None
