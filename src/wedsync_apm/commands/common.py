"""What the commands share: options, where the database is, and how facts and errors are printed."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from psycopg.conninfo import conninfo_to_dict

from wedsync_apm.config import Settings, load_settings
from wedsync_apm.errors import ConfigurationError, DatabaseAway, NotValid, WedSyncError
from wedsync_apm.runtime import read_runtime

if TYPE_CHECKING:
    from rich.status import Status

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Data folder; finds the server that runs on it. [WEDSYNC_APM_DATA_DIR, .data]",
        show_default=False,
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help="PostgreSQL >= 15 to use. [WEDSYNC_APM_DATABASE_URL, the running server's]",
        show_default=False,
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host", help="Address to listen on. [WEDSYNC_APM_HOST, 127.0.0.1]", show_default=False
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        help="Port to listen on, 0 for a free one. [WEDSYNC_APM_PORT, 8080]",
        min=0,
        max=65535,
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


def group(help_text: str) -> typer.Typer:
    """A group of commands that shows its help when it is called without one."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None)


def settings_for(data_dir: Path | None, database_url: str | None = None) -> Settings:
    """The settings, with the database of the server that runs on the data folder.

    Raises ConfigurationError when no database is named and no server runs there.
    """
    settings = load_settings(data_dir=data_dir, database_url=database_url)
    if settings.database_url is not None:
        return settings
    runtime = read_runtime(settings.data_dir)
    if runtime is None:
        raise ConfigurationError(
            f"No server runs on the data folder {settings.data_dir}, and no database is named. "
            "Start one with `wedsync-apm up`, give the right --data-dir, or set "
            "WEDSYNC_APM_DATABASE_URL."
        )
    if not runtime.is_alive:
        raise ConfigurationError(
            f"The server on the data folder {settings.data_dir} is gone (it was process "
            f"{', '.join(str(pid) for pid in runtime.pids.values())}). "
            "Start it again with `wedsync-apm up`."
        )
    return replace(settings, database_url=runtime.database_url)


def owner_conninfo(settings: Settings) -> str:
    """The database as the schema's owner, past a pooler."""
    url = settings.direct_url or settings.database_url
    if url is None:
        raise ConfigurationError("No database is named; set WEDSYNC_APM_DATABASE_URL.")
    return url


@contextmanager
def reached(settings: Settings) -> Iterator[None]:
    """Says where the database is when it does not answer."""
    try:
        yield
    except DatabaseAway as exc:
        cause = str(exc.__cause__).strip().splitlines()[0] if exc.__cause__ else exc.detail
        place = conninfo_to_dict(settings.database_url or "")
        raise DatabaseAway(
            f"The database {place.get('dbname')} at {place.get('host')}:{place.get('port', 5432)} "
            f"cannot be used: {cause} Is it running? A server of ours starts with "
            "`wedsync-apm up`."
        ) from exc


def emit(facts: Any, *, as_json: bool, text: str | None = None) -> None:
    """Prints facts: JSON for machines, else the text, else a table of the rows."""
    if as_json:
        print_json(facts)
    elif text is not None:
        say(text)
    else:
        print_table(facts)


def say(text: str = "") -> None:
    """A line for people on standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Progress:
    """On a terminal, a line that moves while something takes long; elsewhere nothing."""

    def __init__(self) -> None:
        self._status = _status() if sys.stderr.isatty() else None

    def step(self, text: str) -> None:
        """What is being done now."""
        if self._status is not None:
            self._status.update(f"{text} …")
            self._status.start()

    def say(self, text: str) -> None:
        """A line that stays; it ends the one that moves."""
        self.stop()
        say(text)

    def stop(self) -> None:
        """Nothing takes long any more."""
        if self._status is not None:
            self._status.stop()


def _status() -> "Status":
    from rich.console import Console  # noqa: PLC0415 - most processes never need it

    return Console(stderr=True).status("")


def print_json(facts: Any) -> None:
    """JSON on standard output."""
    say(json.dumps(facts, indent=2, ensure_ascii=False, default=_jsonable))


def print_table(rows: Sequence[Any]) -> None:
    """The rows as a table; an empty one says so."""
    plain = [_row(row) for row in rows]
    if not plain:
        say("(none)")
        return
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(box=None, pad_edge=False)
    for name in plain[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in plain:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    # Without a terminal nothing is cut: a script may read this.
    Console(width=None if sys.stdout.isatty() else 250, highlight=False).print(table, markup=False)


def fail(exc: WedSyncError) -> NoReturn:
    """Ends the process: with 2 for wrong usage or configuration, else with 1."""
    sys.stderr.write(f"error: {exc.detail}\n")
    if isinstance(exc, NotValid):
        for error in exc.errors:
            sys.stderr.write(f"  {error.field}: {error.reason}\n")
    raise SystemExit(2 if isinstance(exc, ConfigurationError | NotValid) else 1)


def _row(row: Any) -> Mapping[str, Any]:
    return row if isinstance(row, Mapping) else asdict(row)


def _jsonable(value: Any) -> Any:
    """What the encoder asks about values that JSON has no form for."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
