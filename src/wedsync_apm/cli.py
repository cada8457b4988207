"""`wedsync-apm`: the commands. Exit codes: 0 done, 1 a finding or a failure, 2 wrong usage."""

from typing import Annotated

import typer

from wedsync_apm import __version__
from wedsync_apm.commands import inspect, people, running, schema, usage
from wedsync_apm.commands.common import fail, say
from wedsync_apm.errors import WedSyncError

app = typer.Typer(
    name="wedsync-apm",
    help="Performance monitoring and incident response for wedding vendors.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command("up")(running.start_everything)
app.command("serve")(running.serve_pages)
app.command("work")(running.run_engine_only)
app.add_typer(schema.app, name="migrate")
app.command("doctor")(inspect.doctor)
app.command("simulate")(running.simulate)
app.add_typer(people.organizations, name="org")
app.add_typer(people.users, name="user")
app.add_typer(people.operators, name="operator")
app.add_typer(people.keys, name="key")
app.add_typer(people.tokens, name="token")
app.command("health-report")(inspect.health_report)
app.add_typer(inspect.audits, name="audit")
app.command("usage")(usage.usage)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        say(__version__)
        raise typer.Exit


@app.callback()
def options(
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
    try:
        app()
    except WedSyncError as exc:
        fail(exc)


if __name__ == "__main__":
    main()
