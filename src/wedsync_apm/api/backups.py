"""The backups, for the platform's own people."""

from datetime import datetime
from typing import Final

import msgspec
from litestar import Response, get

from wedsync_apm.api.requests import ApiRequest
from wedsync_apm.backups.standing import stand
from wedsync_apm.backups.store import read_overview
from wedsync_apm.errors import Forbidden
from wedsync_apm.organizations import store


class Backup(msgspec.Struct, kw_only=True):
    """A backup at a destination; without `finished_at` it has failed, and does not count."""

    destination: str
    id: str
    kind: str
    started_at: datetime
    finished_at: datetime | None
    stored_bytes: int
    plain_bytes: int
    error: str
    proven_at: datetime | None
    is_proven: bool | None
    restore_seconds: float | None
    faults: list[str]


class ArchivedLog(msgspec.Struct, kw_only=True):
    """How far the log has come to a destination: everything that was committed by `kept_until`."""

    destination: str
    kept_until: datetime | None
    looked_at: datetime
    error: str
    failing_since: datetime | None
    is_remote: bool
    is_same_device: bool


class BackupRule(msgspec.Struct, kw_only=True):
    """One figure of 3-2-1."""

    number: str
    holds: bool
    reason: str


class BackupObjective(msgspec.Struct, kw_only=True):
    """What is promised, by how near the next wedding is; beside it what was measured."""

    because: str
    loss_seconds: float
    restore_seconds: float
    measured_loss_seconds: float | None
    measured_restore_seconds: float | None


class Backups(msgspec.Struct, kw_only=True):
    """How the backups stand."""

    at: datetime
    is_proven: bool
    proven_at: datetime | None
    objective: BackupObjective
    rules: list[BackupRule]
    backups: list[Backup]
    archives: list[ArchivedLog]


@get("/api/v1/backups", tags=["platform"])
async def list_backups(request: ApiRequest) -> Response[Backups]:
    """How the backups stand, as they were last seen at their destinations; for operators."""
    async with request.tenant() as cx:
        standing = await store.find_standing(cx)
        if standing.operator_role is None:
            raise Forbidden("Only an operator of the platform may see this.")
        found = stand(await read_overview(cx))
    objective = BackupObjective(
        because=found.objective.because,
        loss_seconds=found.objective.loss.total_seconds(),
        restore_seconds=found.objective.restore.total_seconds(),
        measured_loss_seconds=found.loss.total_seconds() if found.loss is not None else None,
        measured_restore_seconds=found.restore.total_seconds() if found.restore else None,
    )
    body = Backups(
        at=found.at,
        is_proven=found.is_proven,
        proven_at=found.proven_at,
        objective=objective,
        rules=[BackupRule(number=r.number, holds=r.holds, reason=r.reason) for r in found.rules],
        backups=[Backup(**row) for row in found.backups],
        archives=[ArchivedLog(**row) for row in found.archives],
    )
    return Response(body, headers={"cache-control": "no-store"})


HANDLERS: Final = (list_backups,)
