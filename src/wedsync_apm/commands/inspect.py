"""`health-report`, `audit` and `doctor`."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from wedsync_apm.addresses import is_loopback
from wedsync_apm.commands.common import (
    AsJson,
    DatabaseUrl,
    DataDir,
    Progress,
    emit,
    group,
    reached,
    say,
    settings_for,
)
from wedsync_apm.config import Settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import Pool, open_pool
from wedsync_apm.errors import ConfigurationError
from wedsync_apm.health import render
from wedsync_apm.health.audit import Audit, Subject, audit
from wedsync_apm.health.doctor import examine
from wedsync_apm.health.model import Report, Verdict
from wedsync_apm.health.report import find_member, take_report

Result = TypeVar("Result")

audits = group("What the database's catalogue says.")


class Format(StrEnum):
    """How the report is written."""

    MARKDOWN = "md"
    HTML = "html"
    JSON = "json"


_RENDER: dict[Format, Callable[[Report], str]] = {
    Format.MARKDOWN: render.as_markdown,
    Format.HTML: render.as_html,
    Format.JSON: render.as_json,
}


def health_report(
    *,
    format: Annotated[Format, typer.Option("--format", help="How it is written.")] = (
        Format.MARKDOWN
    ),
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The file. Left out: standard output.", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Measure the database now; exit 1 unless every line passed."""
    settings = settings_for(data_dir, database_url)

    async def take(pool: Pool) -> Report:
        engine = role_conninfo(settings, "apm_engine")
        return await take_report(engine, pool, await find_member(engine))

    progress = Progress()
    progress.step("Measuring")
    try:
        with reached(settings):
            report = asyncio.run(_with_pool(settings, take))
    finally:
        progress.stop()
    text = _RENDER[Format.JSON if as_json else format](report)
    if out is None:
        say(text.rstrip())
    else:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as exc:
            raise ConfigurationError(f"{out} cannot be written: {exc.strerror}") from exc
        say(f"{report.verdict}: written to {out}")
    if report.verdict is not Verdict.EXCELLENT:
        raise SystemExit(1)


@audits.command("rls")
def audit_rls(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Row Level Security of every table and partition; exit 1 where it is not forced."""
    _audit(Subject.RLS, data_dir, database_url, as_json)


@audits.command("indexes")
def audit_indexes(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Every index, its size and how often it was used; exit 1 if one is not valid."""
    _audit(Subject.INDEXES, data_dir, database_url, as_json)


@audits.command("privileges")
def audit_privileges(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """What anon, authenticated and PUBLIC may; exit 1 if RLS would not cover it."""
    _audit(Subject.PRIVILEGES, data_dir, database_url, as_json)


def _audit(
    subject: Subject, data_dir: Path | None, database_url: str | None, as_json: bool
) -> None:
    settings = settings_for(data_dir, database_url)

    async def look(pool: Pool) -> Audit:
        return await audit(pool, subject)

    with reached(settings):
        found = asyncio.run(_with_pool(settings, look))
    if as_json:
        emit(found, as_json=True)
    else:
        emit(found.rows, as_json=False)
        say(f"\n{found.fault or 'Nothing to complain about.'}")
    if found.fault:
        raise SystemExit(1)


async def _with_pool(settings: Settings, ask: Callable[[Pool], Awaitable[Result]]) -> Result:
    conninfo = role_conninfo(settings, "apm_api")
    pool = await open_pool(conninfo, name="report", min_size=1, max_size=2, wait=True)
    try:
        return await ask(pool)
    finally:
        await pool.close()


def doctor(
    *, data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Look for what is wrong with this installation; exit 1 if something does not work."""
    settings = settings_for(data_dir, database_url)
    found = examine(settings, os.environ, is_loopback(settings.host))
    text = "\n".join(f"{a.code}  {a.text}\n          {a.hint}" for a in found)
    emit(found, as_json=as_json, text=text or "Nothing to complain about.")
    if any(ailment.is_error for ailment in found):
        raise SystemExit(1)
