"""What an operator is told about the backups: what is promised, and what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from wedsync_apm.backups.model import (
    PROVEN_FOR,
    Objective,
    Place,
    Rule,
    judge_places,
    objective_for,
)
from wedsync_apm.backups.store import Overview


@dataclass(frozen=True, slots=True)
class Standing:
    """How the backups stand at an instant."""

    at: datetime
    objective: Objective
    loss: timedelta | None
    """What would be lost now with the database's machine; None where all of it would."""
    restore: timedelta | None
    """How long the last rehearsal took until a server answered; None before the first."""
    proven_at: datetime | None
    is_last_proof_good: bool
    rules: tuple[Rule, ...]
    backups: Sequence[Mapping[str, Any]]
    archives: Sequence[Mapping[str, Any]]

    @property
    def is_loss_kept(self) -> bool:
        """Whether no more would be lost than is promised."""
        return self.loss is not None and self.loss <= self.objective.loss

    @property
    def is_restore_kept(self) -> bool:
        """Whether it would take no longer than is promised."""
        return self.restore is not None and self.restore <= self.objective.restore

    @property
    def is_proven(self) -> bool:
        """Whether a restore was rehearsed within a week, and the last one went well."""
        is_fresh = self.proven_at is not None and self.at - self.proven_at <= PROVEN_FOR
        return is_fresh and self.is_last_proof_good


def stand(seen: Overview) -> Standing:
    """Judges what was seen at the destinations."""
    good = [row for row in seen.backups if row["finished_at"] and row["is_proven"] is not False]
    proofs = sorted(
        (row for row in seen.backups if row["proven_at"]), key=lambda row: row["proven_at"]
    )
    proven = [row for row in proofs if row["is_proven"]]
    kept = [row["finished_at"] for row in good]
    kept += [row["kept_until"] for row in seen.archives if row["kept_until"]]
    # Which other device it is, is not written down: one that is another is enough for two media.
    places = [
        Place(
            row["destination"],
            0 if row["is_same_device"] else number,
            is_remote=row["is_remote"],
            has_good_backup=any(one["destination"] == row["destination"] for one in good),
        )
        for number, row in enumerate(seen.archives, start=1)
    ]
    return Standing(
        at=seen.at,
        objective=objective_for(seen.until_wedding),
        loss=max(seen.at - max(kept), timedelta()) if good else None,
        restore=timedelta(seconds=proven[-1]["restore_seconds"]) if proven else None,
        proven_at=proven[-1]["proven_at"] if proven else None,
        is_last_proof_good=bool(proofs) and proofs[-1]["is_proven"],
        rules=judge_places(places, 0),
        backups=seen.backups,
        archives=seen.archives,
    )
