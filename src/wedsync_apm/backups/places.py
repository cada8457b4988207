"""What the machine says about the folders that backups lie in."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from wedsync_apm.backups.catalogue import Entry
from wedsync_apm.backups.destination import Destination
from wedsync_apm.backups.model import (
    REMOTE_FILE_SYSTEMS,
    Place,
    Rule,
    file_system_of,
    judge_places,
)

MOUNTS: Final = Path("/proc/mounts")


def look_at(path: Path, *, has_good_backup: bool) -> Place:
    """The folder as its file system shows it; one that is not there cannot be reached."""
    mounts = ""
    with suppress(OSError):
        mounts = MOUNTS.read_text(errors="replace")
    device: int | None = None
    with suppress(OSError):
        device = path.stat().st_dev
    kind = file_system_of(str(path.resolve()), mounts)
    return Place(str(path), device, kind in REMOTE_FILE_SYSTEMS, has_good_backup)


def judge_destinations(
    found: Sequence[tuple[Destination, Sequence[Entry]]], data_dir: Path
) -> tuple[Rule, ...]:
    """Which of 3-2-1 holds, by the backups that lie at the destinations."""
    places = [
        look_at(destination.root, has_good_backup=any(not entry.held.is_bad for entry in entries))
        for destination, entries in found
    ]
    return judge_places(places, device_of(data_dir))


def device_of(path: Path) -> int:
    """The device that holds the path, or would."""
    while not path.exists():
        path = path.parent
    return path.stat().st_dev
