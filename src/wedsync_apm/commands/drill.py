"""`drill`: everybody is called as in earnest, and how fast they answer is waited for and told."""

import asyncio
import getpass
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import typer

from wedsync_apm.commands.common import (
    AsJson,
    DatabaseUrl,
    DataDir,
    Progress,
    print_json,
    print_table,
    reached,
    say,
    settings_for,
)
from wedsync_apm.config import Settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import open_pool, wrap_database_errors
from wedsync_apm.drills import store
from wedsync_apm.drills.model import Person, Result

LOOK_SECONDS: Final = 0.5
BAR: Final = 24


def drill(
    *,
    organization: Annotated[UUID, typer.Option("--organization", help="Whose people are called.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.", show_default=False)] = "",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Call everybody whom the default ladder would reach, as an exercise, and wait for answers.

    Ends when all have answered, or after 15 minutes; 1 if somebody did not answer within two.
    """
    progress = Progress()
    progress.step("Calling")
    settings = settings_for(data_dir, database_url)
    try:
        with reached(settings):
            made, found = asyncio.run(_hold(settings, organization, reason[:1000], progress))
    finally:
        progress.stop()
    called = [one for one in found.people if one.result is not Result.QUIET]
    in_time = [one for one in called if one.result is Result.IN_TIME]
    if as_json:
        print_json(
            {
                "id": made,
                "organization_id": organization,
                "started_at": found.started_at,
                "called": len(called),
                "in_time": len(in_time),
                "people": msgspec.to_builtins(found.people),
            }
        )
    else:
        print_table([_line(one) for one in found.people])
        say(f"{len(in_time)} of {len(called)} answered within two minutes")
    if len(in_time) < len(called):
        raise SystemExit(1)


async def _hold(
    settings: Settings, organization_id: UUID, reason: str, progress: Progress
) -> tuple[UUID, store.Progress]:
    with wrap_database_errors():
        pool = await open_pool(
            role_conninfo(settings, "apm_engine"), name="drill", min_size=1, max_size=1, wait=True
        )
        try:
            async with pool.connection() as cx:
                made = await store.ask_drill(
                    cx, organization_id, reason=reason, name=getpass.getuser()
                )
            while True:
                async with pool.connection() as cx:
                    found = await store.look(cx, organization_id, made)
                waiting = sum(one.answered_seconds is None for one in found.people)
                if found.is_over or not waiting:
                    return made, found
                progress.step(_bar(found, waiting))
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await pool.close()


def _bar(found: store.Progress, waiting: int) -> str:
    whole, gone = found.ends_at - found.started_at, found.at - found.started_at
    full = min(int(BAR * (gone / whole)), BAR)
    answered = len(found.people) - waiting
    return f"[{'#' * full}{'.' * (BAR - full)}] {answered} of {len(found.people)} have answered"


def _line(one: Person) -> dict[str, Any]:
    def seconds(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}"

    return {
        "name": one.name,
        "channels": ", ".join(one.channels),
        "result": one.result.value.replace("_", " "),
        "sent": seconds(one.sent_seconds),
        "received": seconds(one.received_seconds),
        "answered": seconds(one.answered_seconds),
        "why": one.reason,
    }
