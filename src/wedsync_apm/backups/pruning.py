"""Takes away what the rules do not keep, and the log that no kept backup needs."""

from dataclasses import dataclass

from wedsync_apm.backups.catalogue import Catalogue
from wedsync_apm.backups.model import Keeping, choose_kept
from wedsync_apm.backups.wal import is_file


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was, or would be, taken away; and why the others stay."""

    removed: tuple[str, ...]
    kept: dict[str, str]
    log_files: int


def prune(catalogue: Catalogue, keeping: Keeping, *, is_trial: bool = False) -> Pruned:
    """Goes by the rules; as a trial it only says what it would do."""
    with catalogue.destination.alone():
        entries = catalogue.entries()
        kept = choose_kept([entry.held for entry in entries], keeping)
        removed = tuple(e.manifest.id for e in entries if e.manifest.id not in kept)
        staying = [e.manifest for e in entries if e.manifest.id in kept]
        needed: dict[str, str] = {}
        for manifest in staying:
            if manifest.wal_from:
                first = needed.get(manifest.cluster, manifest.wal_from[8:])
                needed[manifest.cluster] = min(first, manifest.wal_from[8:])
        spare = [
            f"wal/{cluster}/{name}"
            for cluster, first in needed.items()
            for name in catalogue.destination.names(f"wal/{cluster}")
            if is_file(name) and name[8:24] < first
        ]
        if not is_trial:
            for backup_id in removed:
                catalogue.remove(backup_id)
            for name in spare:
                catalogue.destination.remove(name)
            catalogue.refresh()
        return Pruned(removed, kept, len(spare))
