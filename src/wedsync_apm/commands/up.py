"""`up`."""

import logging
from typing import Annotated

import typer

from wedsync_apm.commands.common import DatabaseUrl, DataDir, Host, Port, Progress
from wedsync_apm.config import load_settings
from wedsync_apm.launch import UpOptions, up
from wedsync_apm.telemetry import configure_logging


def start_everything(
    *,
    with_demo: Annotated[
        bool, typer.Option("--demo", help="Eight simulated businesses, one with a wedding today.")
    ] = False,
    demo_on_network: Annotated[
        bool,
        typer.Option("--demo-on-network", help="Allow --demo on an address that others reach."),
    ] = False,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    simulate_argument: Annotated[
        list[str] | None,
        typer.Option(
            "--simulate-argument",
            help="Passed on to `simulate`, such as --simulate-argument=--quiet=5; may be repeated.",
            show_default=False,
        ),
    ] = None,
    show_logs: Annotated[
        bool, typer.Option("--show-logs", help="Logs come here instead of into DATA_DIR/*.log.")
    ] = False,
) -> None:
    """Run everything: database, API and pages, engine; with --demo also simulated traffic."""
    settings = load_settings(host=host, port=port, data_dir=data_dir, database_url=database_url)
    # The logs are in files; here is room for what a person at the terminal needs.
    configure_logging(settings.log_format, logging.INFO if show_logs else logging.WARNING)
    progress = Progress()
    up(
        UpOptions(
            settings=settings,
            with_demo=with_demo,
            demo_on_network=demo_on_network,
            simulate_arguments=tuple(simulate_argument or ()),
            show_logs=show_logs,
        ),
        progress.say,
        progress.step,
    )
