"""What is wrong with an installation, as numbered findings with a hint.

The numbers are stable: scripts and people look them up in `docs/doctor.md`.
"""

import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import psycopg
from psycopg.rows import dict_row

from wedsync_apm.clock import utcnow
from wedsync_apm.config import Settings, unknown_variables
from wedsync_apm.db import migrate
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import wrap_database_errors
from wedsync_apm.errors import WedSyncError
from wedsync_apm.health.checks import Q

LEAST_FREE_PERCENT: Final = 5.0
MOST_CLOCK_SECONDS: Final = 30.0
SECRET_FILES: Final = ("secrets.json", "runtime.json", "demo.json")


@dataclass(frozen=True, slots=True)
class Ailment:
    """One finding: E stops something from working, W may hurt later."""

    code: str
    text: str
    hint: str

    @property
    def is_error(self) -> bool:
        """Whether something does not work because of it."""
        return self.code.startswith("APM-E")


# code -> what may be wrong; the texts of a finding say what was found.
CODES: Final[Mapping[str, str]] = {
    "APM-E001": "The database does not answer.",
    "APM-E002": "Migrations are pending, changed or of another release.",
    "APM-E003": "Objects in the database have names of ours and are not ours.",
    "APM-E004": "One of our logins cannot enter.",
    "APM-E005": "Columns are missing in the host's tables.",
    "APM-E006": "The disk of the data folder is nearly full.",
    "APM-W001": "The live schema differs from what the migrations made.",
    "APM-W002": "A variable with our prefix names no setting.",
    "APM-W003": "A file with secrets can be read by others.",
    "APM-W004": "No mail server is set: e-mail only reaches the inbox page.",
    "APM-W005": "The pages are reachable from outside without https.",
    "APM-W006": "The writer bypasses RLS, which it no longer needs.",
    "APM-W007": "Statement statistics are not installed.",
    "APM-W008": "Nobody can sign in.",
    "APM-W009": "The clocks of this machine and the database differ.",
    "APM-W010": "Remote write is decoded in Python, several times slower than compiled.",
}


def examine(settings: Settings, env: Mapping[str, str], host_is_local: bool) -> list[Ailment]:
    """Looks at settings, files, database and schema; changes nothing."""
    found = [*_program(), *_settings(settings, env, host_is_local), *_files(settings)]
    owner = settings.direct_url or settings.database_url or ""
    try:
        found += _schema(owner)
    except WedSyncError as exc:
        return [*found, _ailment("APM-E001", _cause(exc), "Start it, or correct its address.")]
    for role in migrate.LOGIN_ROLES:
        try:
            with wrap_database_errors():
                psycopg.connect(role_conninfo(settings, role), connect_timeout=10).close()
        except WedSyncError as exc:
            hint = "`wedsync-apm up` sets the passwords of DATA_DIR/secrets.json at its start."
            found.append(_ailment("APM-E004", f"{role}: {_cause(exc)}", hint))
    if not any(ailment.code in {"APM-E002", "APM-E004"} for ailment in found):
        found += _installation(role_conninfo(settings, "apm_engine"))
    return sorted(found, key=lambda ailment: ailment.code)


def _program() -> Iterator[Ailment]:
    if find_spec("wedsync_apm.ingest.runs") is None:
        yield _ailment("APM-W010", "", "Install the product again where a C compiler is.")


def _settings(settings: Settings, env: Mapping[str, str], host_is_local: bool) -> Iterator[Ailment]:
    for name in unknown_variables(env):
        yield _ailment("APM-W002", name, "See docs/settings.md for the names.")
    if settings.smtp_url is None:
        yield _ailment("APM-W004", "", "Set WEDSYNC_APM_SMTP_URL.")
    if not host_is_local and not (settings.public_url or "").startswith("https://"):
        yield _ailment(
            "APM-W005",
            f"It listens on {settings.host}.",
            "Put a proxy with TLS before it and set WEDSYNC_APM_PUBLIC_URL=https://…",
        )


def _files(settings: Settings) -> Iterator[Ailment]:
    for name in SECRET_FILES:
        path = settings.data_dir / name
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
            yield _ailment("APM-W003", f"{path} has mode {mode:o}.", f"chmod 600 {path}")
    if settings.data_dir.exists():
        usage = shutil.disk_usage(settings.data_dir)
        percent = 100 * usage.free / usage.total
        if percent < LEAST_FREE_PERCENT:
            yield _ailment(
                "APM-E006",
                f"{percent:.1f} % of the disk under {settings.data_dir} is free.",
                "Make room; a full disk stops PostgreSQL.",
            )


def _schema(owner: str) -> Iterator[Ailment]:
    states = [s for s in migrate.status(owner) if s.state != "applied"]
    if states:
        shown = ", ".join(f"{s.version}_{s.name} is {s.state}" for s in states)
        yield _ailment("APM-E002", shown, "`wedsync-apm migrate up` applies what is pending.")
    if conflicts := migrate.find_conflicts(owner):
        hint = "Rename them, or use a database of its own."
        yield _ailment("APM-E003", "; ".join(conflicts), hint)
    if drift := migrate.verify(owner):
        names = [*drift.added, *drift.removed, *drift.changed]
        shown = f"{len(names)} objects, {', '.join(names[:5])} among them."
        yield _ailment("APM-W001", shown, "`wedsync-apm migrate verify` lists all.")


def _installation(conninfo: str) -> Iterator[Ailment]:
    with (
        wrap_database_errors(),
        psycopg.connect(conninfo, row_factory=dict_row, connect_timeout=10) as cx,
    ):
        asked_at = utcnow()
        facts = cx.execute(Q.read_installation.encode()).fetchone() or {}
        missing = cx.execute(Q.list_missing_host_columns.encode()).fetchall()
    if missing:
        names = ", ".join(row["missing"] for row in missing)
        yield _ailment("APM-E005", names, "Add them, or give the product a database of its own.")
    if facts["writer_bypasses"]:
        hint = "A superuser may `alter role apm_writer nobypassrls`."
        yield _ailment("APM-W006", "", hint)
    if not facts["has_statement_statistics"]:
        hint = "Load pg_stat_statements and `create extension` it in the schema `extensions`."
        yield _ailment("APM-W007", "", hint)
    if not facts["users"]:
        hint = "`wedsync-apm operator create`, unless people sign in at an identity provider."
        yield _ailment("APM-W008", "", hint)
    difference = abs((facts["at"] - asked_at).total_seconds())
    if difference > MOST_CLOCK_SECONDS:
        yield _ailment("APM-W009", f"By {difference:.0f} s.", "Let NTP set both.")


def _ailment(code: str, found: str, hint: str) -> Ailment:
    return Ailment(code, f"{CODES[code]} {found}".strip(), hint)


def _cause(exc: WedSyncError) -> str:
    return (str(exc.__cause__ or exc).strip().splitlines() or [exc.detail])[0]
