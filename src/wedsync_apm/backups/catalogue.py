"""What lies at a destination, read from what lies there: nothing else needs to survive.

backups/<id>/…             the sealed files of a backup
backups/<id>/manifest.json what they are; written last, and signed
backups/<id>/proof.json    what came of restoring it; signed
wal/<cluster>/…            the log that the server has written since
catalogue.json             a copy of it all, for people and scripts
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from wedsync_apm.backups.destination import Destination
from wedsync_apm.backups.model import ArchiveState, Held, Manifest, Proof, manifest_from
from wedsync_apm.backups.sealed import BackupUnreadable, sign
from wedsync_apm.errors import NotFound
from wedsync_apm.organizations.secrets import Keyring

BACKUPS: Final = "backups"
_ID: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A backup that counts."""

    manifest: Manifest
    proof: Proof | None
    fault: str = ""
    """Why it cannot be used, as far as that shows without opening it."""

    @property
    def held(self) -> Held:
        """For the rules of retention."""
        is_bad = bool(self.fault) or (self.proof is not None and not self.proof.is_good)
        return Held(
            self.manifest.id,
            self.manifest.finished_at,
            is_bad=is_bad,
            is_proven=self.proof is not None and self.proof.is_good,
        )


class Catalogue:
    """The backups at one destination."""

    def __init__(self, destination: Destination, keyring: Keyring) -> None:
        self.destination, self.keyring = destination, keyring

    def entries(self) -> list[Entry]:
        """Every backup that was finished, oldest first; what was begun only does not count."""
        found = [
            entry
            for backup_id in self.destination.names(BACKUPS)
            if _ID.fullmatch(backup_id) and (entry := self._read(backup_id)) is not None
        ]
        return sorted(found, key=lambda entry: entry.manifest.finished_at)

    def find(self, backup_id: str) -> Entry:
        """The backup of that id. Raises NotFound."""
        entry = self._read(backup_id) if _ID.fullmatch(backup_id) else None
        if entry is None:
            raise NotFound(f"There is no backup {backup_id} in {self.destination}.")
        return entry

    def choose(self, at: datetime | None) -> Entry:
        """The newest good backup that was finished by then. Raises NotFound."""
        fitting = [
            entry
            for entry in self.entries()
            if not entry.held.is_bad and (at is None or entry.manifest.finished_at <= at)
        ]
        if not fitting:
            when = "" if at is None else f" that was finished by {at.isoformat()}"
            raise NotFound(f"There is no good backup in {self.destination}{when}.")
        return fitting[-1]

    def add(self, manifest: Manifest) -> None:
        """From here on the backup counts."""
        self._put(f"{BACKUPS}/{manifest.id}/manifest.json", asdict(manifest))
        self.refresh()

    def add_proof(self, proof: Proof) -> None:
        """Writes down what came of restoring a backup."""
        self._put(f"{BACKUPS}/{proof.backup_id}/proof.json", asdict(proof))
        self.refresh()

    def remove(self, backup_id: str) -> None:
        """The manifest first: what a kill leaves half removed does not count."""
        folder = f"{BACKUPS}/{backup_id}"
        self.destination.remove(f"{folder}/manifest.json")
        self.destination.remove(folder)

    def remove_unfinished(self) -> list[str]:
        """Takes away what was begun and never finished; call it while alone."""
        gone = []
        for backup_id in self.destination.names(BACKUPS):
            if _ID.fullmatch(backup_id) and "manifest.json" not in self.destination.names(
                f"{BACKUPS}/{backup_id}"
            ):
                self.destination.remove(f"{BACKUPS}/{backup_id}")
                gone.append(backup_id)
        return gone

    def refresh(self) -> None:
        """Writes the copy for people and scripts anew."""
        listed = [
            {
                **asdict(entry.manifest),
                "proof": asdict(entry.proof) if entry.proof else None,
                "fault": entry.fault,
            }
            for entry in self.entries()
        ]
        text = json.dumps({"backups": listed}, indent=2, default=_plain)
        self.destination.put("catalogue.json", text.encode())

    def archive_state(self, cluster: str) -> ArchiveState | None:
        """How far the log of a server has come; None where none of it is there."""
        told = self._get(f"wal/{cluster}/state.json")
        if told is None:
            return None
        since = told["failing_since"]
        return ArchiveState(
            **{
                **told,
                "until": datetime.fromisoformat(told["until"]),
                "failing_since": datetime.fromisoformat(since) if since else None,
            }
        )

    def put_archive_state(self, cluster: str, state: ArchiveState) -> None:
        """Writes down how far it has come."""
        self._put(f"wal/{cluster}/state.json", asdict(state))

    def _read(self, backup_id: str) -> Entry | None:
        folder = f"{BACKUPS}/{backup_id}"
        told = self._get(f"{folder}/manifest.json")
        if told is None:
            return None
        manifest = manifest_from(told)
        if manifest.id != backup_id:
            raise BackupUnreadable(f"The manifest of {backup_id} is that of {manifest.id}.")
        wrong = [
            part.name
            for part in manifest.parts
            if self.destination.size(f"{folder}/{part.name}") != part.bytes
        ]
        fault = f"missing, or of another size: {', '.join(wrong)}" if wrong else ""
        proof = self._get(f"{folder}/proof.json")
        return Entry(manifest, _proof_from(proof) if proof else None, fault)

    def _put(self, name: str, facts: Mapping[str, Any]) -> None:
        text = json.dumps(facts, default=_plain, sort_keys=True)
        signature = sign(self.keyring, name, text.encode())
        envelope = {"facts": json.loads(text), "key_id": self.keyring.key_id, "seal": signature}
        self.destination.put(name, json.dumps(envelope, indent=2).encode())

    def _get(self, name: str) -> dict[str, Any] | None:
        data = self.destination.read(name)
        if data is None:
            return None
        try:
            envelope = json.loads(data)
            facts, key_id, seal = envelope["facts"], envelope["key_id"], envelope["seal"]
        except (ValueError, KeyError, TypeError) as exc:
            raise BackupUnreadable(f"{self.destination}/{name} is damaged.") from exc
        text = json.dumps(facts, sort_keys=True).encode()
        if sign(self.keyring, name, text, str(key_id)) != seal:
            raise BackupUnreadable(f"{self.destination}/{name} was changed by somebody.")
        found: dict[str, Any] = facts
        return found


def _proof_from(told: Mapping[str, Any]) -> Proof:
    return Proof(
        **{
            **told,
            "at": datetime.fromisoformat(told["at"]),
            "faults": tuple(told["faults"]),
        }
    )


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
