"""`simulate`."""

import os
import signal
import threading
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

import typer

from wedsync_apm.addresses import is_loopback
from wedsync_apm.administration import store
from wedsync_apm.commands.common import DatabaseUrl, DataDir, reached, settings_for
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.errors import ConfigurationError, WedSyncError
from wedsync_apm.runtime import read_runtime
from wedsync_apm.simulate import demo
from wedsync_apm.simulate.scenario import Scenario
from wedsync_apm.simulate.traffic import Traffic, open_senders
from wedsync_apm.supervise import SUPERVISOR, follow_supervisor
from wedsync_apm.telemetry import configure_logging, get_logger

log = get_logger(__name__)


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
    target = url or (runtime.url if runtime else settings.local_url)
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
