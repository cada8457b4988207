"""`up`, `serve`, `work` and `simulate`."""

import asyncio
import logging
import os
import signal
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

import typer

from wedsync_apm import __version__
from wedsync_apm.administration import store
from wedsync_apm.commands.common import DatabaseUrl, DataDir, Progress, reached, settings_for
from wedsync_apm.config import Settings, load_settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.errors import ConfigurationError, WedSyncError
from wedsync_apm.launch import (
    UpOptions,
    free_port,
    is_loopback,
    local_url,
    require_free_port,
    up,
)
from wedsync_apm.runtime import Runtime, read_runtime, remove_runtime, write_runtime
from wedsync_apm.simulate import demo
from wedsync_apm.simulate.scenario import Scenario
from wedsync_apm.simulate.traffic import Traffic, open_senders
from wedsync_apm.supervise import SUPERVISOR, await_go, follow_supervisor
from wedsync_apm.telemetry import configure_logging, get_logger

log = get_logger(__name__)

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


def serve_pages(
    *,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Run the API and the pages."""
    follow_supervisor()
    settings = settings_for(data_dir, database_url)
    settings = replace(
        settings,
        host=host or settings.host,
        port=settings.port if port is None else port,
    )
    configure_logging(settings.log_format)
    from wedsync_apm.app import serve  # noqa: PLC0415 - costs a second that no other command needs

    await_go()
    if os.environ.get(SUPERVISOR):
        serve(settings)
        return
    _refuse_missing_secrets(settings)
    settings = replace(settings, port=settings.port or free_port(settings.host))
    require_free_port(settings.host, settings.port)
    runtime = Runtime(
        local_url(settings),
        settings.database_url or "",
        str(settings.data_dir),
        {"serve": os.getpid()},
        __version__,
    )
    others = read_runtime(settings.data_dir)
    is_ours = others is None or not others.is_alive
    if is_ours:
        write_runtime(settings.data_dir, runtime)
    try:
        serve(settings)
    finally:
        if is_ours:
            remove_runtime(settings.data_dir)


def run_engine_only(*, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """Run the engine: rollups, rules, checks, escalation, delivery."""
    follow_supervisor()
    settings = settings_for(data_dir, database_url)
    configure_logging(settings.log_format)
    if not os.environ.get(SUPERVISOR):
        _refuse_missing_secrets(settings)
    from wedsync_apm.engine.run import run_engine  # noqa: PLC0415 - as above

    await_go()
    asyncio.run(run_engine(settings))


def simulate(
    *,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Where to send. [the running server]", show_default=False),
    ] = None,
    quiet: Annotated[
        float, typer.Option("--quiet", help="Seconds until the order form becomes slow.", min=0)
    ] = 60.0,
    trouble: Annotated[
        float, typer.Option("--trouble", help="Seconds for which it stays slow.", min=1)
    ] = 300.0,
    every: Annotated[
        float, typer.Option("--every", help="Seconds after which it happens again.", min=1)
    ] = 1200.0,
    history: Annotated[
        float, typer.Option("--history", help="Hours of the past to fill in.", min=0, max=167)
    ] = 6.0,
    step: Annotated[
        float, typer.Option("--step", help="Seconds between two samples.", min=0.1, max=60)
    ] = 5.0,
    load: Annotated[
        int, typer.Option("--load", help="Further series, for load, over all vendors.", min=0)
    ] = 0,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Send the demo's traffic through the public HTTP API until it is stopped."""
    follow_supervisor()
    settings = settings_for(data_dir, database_url)
    configure_logging(settings.log_format)
    runtime = read_runtime(settings.data_dir)
    target = url or (runtime.url if runtime else local_url(settings))
    if not os.environ.get(SUPERVISOR) and not is_loopback(urlsplit(target).hostname or ""):
        raise ConfigurationError(
            f"{target} is not on this machine; the simulation is for demos on this machine only."
        )
    scenario = Scenario(*(timedelta(seconds=s) for s in (quiet, trouble, every)))
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    engine = role_conninfo(settings, "apm_engine")

    def plan() -> None:
        try:
            with store.connect(engine, actor=demo.ACTOR) as cx:
                today = demo.plan_weddings(cx)
        except WedSyncError as exc:
            # The wedding of the last cycle lasts for hours; the next cycle tries again.
            log.warning("No wedding was planned: %s", exc, extra={"action": "simulate_plan"})
            return
        log.info(
            "%s marries today: %s",
            today.venue.name,
            today.wedding_date,
            extra={"action": "simulate_plan", "time_zone": today.venue.time_zone},
        )

    if not os.environ.get(SUPERVISOR):  # which has just done it
        with reached(settings):
            demo.prepare(engine, settings.data_dir)
    Traffic(
        senders=open_senders(
            target,
            lambda vendor: demo.ingest_key(settings.data_dir, vendor),
            extra_series=load,
        ),
        data_dir=settings.data_dir,
        scenario=scenario,
        history_hours=history,
        step=timedelta(seconds=step),
        on_cycle=plan,
        is_stopping=stopping.is_set,
    ).run()


def _refuse_missing_secrets(settings: Settings) -> None:
    """On a database that `up` did not prepare here, secrets must be given, not made up."""
    if not (settings.data_dir / "secrets.json").exists():
        raise ConfigurationError(
            f"The data folder {settings.data_dir} holds no secrets for this database. Use the "
            "folder of the installation (--data-dir), or prepare a new one with "
            "`wedsync-apm up --database-url …` once."
        )
