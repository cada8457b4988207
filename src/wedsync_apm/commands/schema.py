"""`migrate`: the schema up, down, and compared with what it should be."""

from typing import Annotated

import typer

from wedsync_apm.commands.common import (
    AsJson,
    DatabaseUrl,
    DataDir,
    emit,
    group,
    owner_conninfo,
    reached,
    say,
    settings_for,
)
from wedsync_apm.db import migrate
from wedsync_apm.db.migrations import Migration

app = group("The database's schema.")


@app.command("status")
def show_status(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Show every migration; exit 1 if one is pending, changed or unknown."""
    settings = settings_for(data_dir, database_url)
    with reached(settings):
        found = migrate.status(owner_conninfo(settings))
    emit(found, as_json=as_json)
    if any(line.state != "applied" for line in found):
        raise SystemExit(1)


@app.command("up")
def apply_pending(
    to: Annotated[
        str | None, typer.Option("--to", help="Stop after this version.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Apply what is pending."""
    settings = settings_for(data_dir, database_url)
    with reached(settings):
        applied = migrate.up(owner_conninfo(settings), to=to)
    _show(applied, "applied", as_json)


@app.command("down")
def take_back(
    to: Annotated[str, typer.Option("--to", help="Keep this version; 0 takes everything back.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Take migrations back, newest first. The data in their tables is lost."""
    settings = settings_for(data_dir, database_url)
    with reached(settings):
        taken = migrate.down(owner_conninfo(settings), to=to)
    _show(taken, "taken back", as_json)


@app.command("verify")
def compare(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """Compare the live schema with what the migrations made; exit 1 if they differ."""
    settings = settings_for(data_dir, database_url)
    with reached(settings):
        drift = migrate.verify(owner_conninfo(settings))
    lines = [
        f"{word} {name}"
        for word, names in (
            ("added  ", drift.added),
            ("removed", drift.removed),
            ("changed", drift.changed),
        )
        for name in names
    ]
    emit(
        drift,
        as_json=as_json,
        text="\n".join(lines) or "The schema is as the migrations made it.",
    )
    if drift:
        raise SystemExit(1)


def _show(migrations: tuple[Migration, ...], verb: str, as_json: bool) -> None:
    names = [f"{m.version}_{m.name}" for m in migrations]
    if as_json:
        emit({verb.replace(" ", "_"): names}, as_json=True)
    else:
        for name in names:
            say(f"{verb} {name}")
        if not names:
            say("Nothing to do.")
