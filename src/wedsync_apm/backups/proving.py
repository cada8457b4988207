"""Proves a backup: restores it into a server of its own, and looks whether all is there."""

import asyncio
import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from wedsync_apm.backups import store
from wedsync_apm.backups.catalogue import Catalogue, Entry
from wedsync_apm.backups.model import Kind, Proof, differences, kinds_of
from wedsync_apm.backups.restoring import Restoring, remove_cluster
from wedsync_apm.backups.sealed import unseal
from wedsync_apm.backups.taking import Tell, read_facts, tell_nobody
from wedsync_apm.backups.wal import is_archived, is_file
from wedsync_apm.config import Settings
from wedsync_apm.db import migrate
from wedsync_apm.db.embedded import EmbeddedPostgres
from wedsync_apm.db.logins import role_conninfo, role_password
from wedsync_apm.db.pool import open_pool
from wedsync_apm.errors import WedSyncError
from wedsync_apm.health.audit import Subject, audit
from wedsync_apm.health.model import Outcome, Report
from wedsync_apm.health.report import find_member, take_report

SMALL: Final = {"shared_buffers": "64MB", "maintenance_work_mem": "64MB"}
"""It runs beside the one that people use."""
LAX: Final = {"fsync": "off", "synchronous_commit": "off", "autovacuum": "off"}
"""Nothing of it outlives the rehearsal."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was found, and the restored database's own health report."""

    proof: Proof
    report: Report | None


def prove(
    catalogue: Catalogue,
    entry: Entry,
    *,
    scratch: Path,
    at: datetime,
    pg_bin: Path | None = None,
    tell: Tell = tell_nobody,
) -> Rehearsal:
    """Restores the backup into `scratch`, which is emptied before and after, and writes down what
    came of it. A backup that cannot be restored is a proof, too: that it is bad.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    restoring = Restoring(
        catalogue=catalogue,
        entry=entry,
        data_dir=scratch,
        pg_bin=pg_bin,
        options={**SMALL, **LAX},
        tell=tell,
        is_rehearsal=True,
    )
    faults: list[str] = []
    counts: dict[str, int] = {}
    report: Report | None = None
    cluster: Path | None = None
    try:
        with restoring.running() as server:
            cluster = server.cluster
            began = time.monotonic()
            tell("Comparing", 0, 0)
            facts = read_facts(catalogue.destination, catalogue.keyring, entry.manifest.id)
            with store.connect(server.conninfo()) as cx:
                found = store.count_all(cx, is_exact=entry.manifest.kind is Kind.PHYSICAL)
            faults += differences(facts, found)
            counts = {**kinds_of(found.objects), "rows": sum(found.rows.values())}
            tell("Auditing", 0, 0)
            audit_faults, report = asyncio.run(_look(server, scratch))
            faults += audit_faults
            restoring.seconds["look"] = time.monotonic() - began
        if entry.manifest.kind is Kind.PHYSICAL:
            faults += _read_log(catalogue, entry, counts, tell)
    except WedSyncError as exc:
        faults.append(exc.detail)
    finally:
        if cluster is not None:
            remove_cluster(cluster)
        shutil.rmtree(scratch, ignore_errors=True)
    proof = Proof(entry.manifest.id, at, not faults, tuple(faults[:100]), restoring.seconds, counts)
    catalogue.add_proof(proof)
    return Rehearsal(proof, report)


def failed_lines(report: Report | None) -> list[dict[str, Any]]:
    """What the restored database's health report found; a server that has just been made and on
    which nothing runs is not expected to pass every line."""
    lines = report.lines if report is not None else ()
    return [
        {"key": line.key, "value": line.value, "reason": line.reason}
        for line in lines
        if line.outcome is Outcome.FAILED
    ]


async def _look(server: EmbeddedPostgres, scratch: Path) -> tuple[list[str], Report]:
    passwords = {role: role_password(scratch, role) for role in migrate.LOGIN_ROLES}
    migrate.set_role_passwords(server.conninfo(), passwords)
    settings = Settings(data_dir=scratch, database_url=server.conninfo())
    pool = await open_pool(
        role_conninfo(settings, "apm_api"), name="rehearsal", min_size=1, max_size=2, wait=True
    )
    try:
        faults = []
        for subject in (Subject.RLS, Subject.PRIVILEGES, Subject.INDEXES):
            found = await audit(pool, subject)
            if found.fault:
                faults.append(f"audit {subject}: {found.fault}")
        engine = role_conninfo(settings, "apm_engine")
        return faults, await take_report(engine, pool, await find_member(engine))
    finally:
        await pool.close()


def _read_log(catalogue: Catalogue, entry: Entry, counts: dict[str, int], tell: Tell) -> list[str]:
    """Opens every file of the archived log behind the backup: none may be damaged or missing."""
    manifest = entry.manifest
    place = f"wal/{manifest.cluster}"
    names = [
        name
        for name in catalogue.destination.names(place)
        if is_file(name) and name[:8] == manifest.wal_from[:8] and name[:24] >= manifest.wal_from
    ]
    counts["log files"] = len(names)
    for number, name in enumerate(names, start=1):
        tell("Reading the log", number, len(names))
        with catalogue.destination.open(f"{place}/{name}") as file:
            for _ in unseal(file, catalogue.keyring, f"{place}/{name}"):
                pass
    if names and not is_archived(names, manifest.wal_from, manifest.wal_bytes):
        return [f"the archived log behind {manifest.wal_from} has a gap"]
    return []
