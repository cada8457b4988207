"""`wedsync-apm`: the commands. Exit codes: 0 done, 1 a finding or a failure, 2 wrong usage."""

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Annotated, Any, Final

import typer

from wedsync_apm import __version__
from wedsync_apm.commands.common import fail, say
from wedsync_apm.errors import WedSyncError
from wedsync_apm.heap import give_memory_back

COMMANDS: Final = {
    "up": ("up", "start_everything"),
    "serve": ("processes", "serve_pages"),
    "work": ("processes", "run_engine_only"),
    "migrate": ("schema", "app"),
    "doctor": ("inspect", "doctor"),
    "simulate": ("simulate", "simulate"),
    "org": ("people", "organizations"),
    "user": ("people", "users"),
    "operator": ("people", "operators"),
    "key": ("people", "keys"),
    "token": ("people", "tokens"),
    "health-report": ("inspect", "health_report"),
    "audit": ("inspect", "audits"),
    "usage": ("usage", "usage"),
    "freeze": ("freeze", "app"),
    "drill": ("drill", "drill"),
    "backup": ("backup", "app"),
    "monitoring": ("monitoring", "app"),
}
"""Each command, or group of commands, with its module and its name there."""


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The commands of these names. Only their modules are loaded: what a process has loaded it
    keeps for its whole life."""
    app = typer.Typer(
        name="wedsync-apm",
        help="Performance monitoring and incident response for wedding vendors.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name in names:
        module, attribute = COMMANDS[name]
        found: Any = getattr(import_module(f"wedsync_apm.commands.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _show_version(is_asked: bool) -> None:
    if is_asked:
        say(__version__)
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Performance monitoring and incident response for wedding vendors."""


def main() -> None:
    """Runs the command; what goes wrong on purpose is said in a line, without a traceback."""
    give_memory_back()
    asked = sys.argv[1:2]
    try:
        make_app(asked if COMMANDS.keys() >= set(asked) and asked else COMMANDS)()
    except WedSyncError as exc:
        fail(exc)


if __name__ == "__main__":
    main()
