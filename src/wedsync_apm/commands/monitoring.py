"""`monitoring`: who is watched and who is set up, and the switch."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from wedsync_apm.commands.common import (
    AsJson,
    DatabaseUrl,
    DataDir,
    emit,
    group,
    reached,
    say,
    settings_for,
)
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import Connection, open_pool, wrap_database_errors
from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.organizations.monitoring import store
from wedsync_apm.organizations.monitoring.model import Business, Monitoring, Outcome, Wanted

Result = TypeVar("Result")

app = group("Who is watched, and who is set up.")

Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit log.")]
PAGE = 500


def _asked(
    data_dir: Path | None,
    database_url: str | None,
    ask: Callable[[Connection], Awaitable[Result]],
) -> Result:
    settings = settings_for(data_dir, database_url)

    async def run() -> Result:
        with wrap_database_errors():
            pool = await open_pool(
                role_conninfo(settings, "apm_engine"),
                name="monitoring",
                min_size=1,
                max_size=1,
                wait=True,
            )
            try:
                async with pool.connection() as cx:
                    await store.name_actor(cx, f"command line: {getpass.getuser()}")
                    return await ask(cx)
            finally:
                await pool.close()

    with reached(settings):
        return asyncio.run(run())


@app.command("list")
def list_monitoring(
    *,
    state: Annotated[
        Monitoring | None, typer.Option("--state", help="Only these.", show_default=False)
    ] = None,
    not_set_up: Annotated[
        bool, typer.Option("--not-set-up", help="Only who has not done the first four steps.")
    ] = False,
    near: Annotated[
        bool, typer.Option("--near", help="Only with a wedding in the next 14 days.")
    ] = False,
    group_name: Annotated[
        str | None, typer.Option("--group", help="Only this group.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the organizations: a wedding near and not set up first."""
    wanted = Wanted(state, False if not_set_up else None, group_name, near)

    async def ask(cx: Connection) -> tuple[dict[str, int], list[Business]]:
        found: list[Business] = []
        page = await store.list_set_up(cx, wanted, limit=PAGE)
        counts = asdict(page.counts)
        found += page.businesses
        while page.following:
            page = await store.list_set_up(cx, wanted, limit=PAGE, after=page.following)
            found += page.businesses
        return counts, found

    counts, found = _asked(data_dir, database_url, ask)
    if as_json:
        emit({"counts": counts, "items": [asdict(one) for one in found]}, as_json=True)
        return
    say(
        f"{counts['all']} organizations: {counts['set_up']} set up, {counts['off']} off, "
        f"{counts['beta']} in beta, {counts['near_not_set_up']} with a wedding within "
        f"{store.NEAR_DAYS} days and not set up"
    )
    emit(
        [
            {
                "id": one.organization_id,
                "name": one.name,
                "state": one.state,
                "group": one.group_name,
                "done": f"{one.done} of 5",
                "open": ", ".join(one.open_steps),
                "next_wedding": one.next_on,
            }
            for one in found
        ],
        as_json=False,
    )


@app.command("switch")
def switch(
    *,
    to: Annotated[Monitoring, typer.Option("--to", help="off, beta or on.")],
    reason: Reason,
    organization: Annotated[
        list[UUID] | None, typer.Option("--organization", help="Again for more of them.")
    ] = None,
    of_group: Annotated[
        str | None, typer.Option("--group", help="All of this group.", show_default=False)
    ] = None,
    into: Annotated[
        str | None,
        typer.Option("--into", help="Puts them into this group, '' out.", show_default=False),
    ] = None,
    near_ok: Annotated[
        bool, typer.Option("--near-ok", help="Off although a wedding is within 48 hours.")
    ] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Switch organizations; 1 if one was refused: an incident lives, or a wedding is near."""
    if bool(organization) == bool(of_group):
        raise NotValid(errors=[FieldError("organization", "give --organization or --group")])

    async def ask(cx: Connection) -> dict[UUID, Outcome]:
        async with cx.transaction():
            ids = organization or await store.list_group_members(cx, of_group or "")
            return await store.switch_monitoring(
                cx, ids, to, reason=reason, group_name=into, is_near_ok=near_ok
            )

    came = _asked(data_dir, database_url, ask)
    emit([{"organization_id": one, "outcome": what} for one, what in came.items()], as_json=as_json)
    if any(what not in (Outcome.SWITCHED, Outcome.SAME) for what in came.values()):
        raise typer.Exit(1)


@app.command("groups")
def groups(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """List the groups with how many are in each state."""
    emit(_asked(data_dir, database_url, store.list_groups), as_json=as_json)


@app.command("default")
def default(
    *,
    to: Annotated[
        Monitoring | None,
        typer.Option("--to", help="off or on. Left out: says what it is.", show_default=False),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why.", show_default=False)] = "",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """What organizations to come begin with; those that are there stay as they are."""
    if to is Monitoring.BETA:
        raise NotValid(errors=[FieldError("to", "new organizations begin off or on")])

    async def ask(cx: Connection) -> tuple[Monitoring | None, int]:
        kept = await store.set_default(cx, to, reason=reason) if to else 0
        return await store.find_default(cx), kept

    state, kept = _asked(data_dir, database_url, ask)
    text = f"New organizations begin {state}." + (f" {kept} stay as they are." if to else "")
    emit({"state": state, "kept": kept}, as_json=as_json, text=text)
