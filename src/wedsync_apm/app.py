"""`serve`: from settings to a process that answers, and back.

`compose` is one straight line on purpose: what needs what is read from top to bottom, and is taken
down from bottom to top by the stack.
"""

import asyncio
import gc
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast
from urllib.parse import urlsplit

import uvicorn
from litestar import Request, Response

from wedsync_apm import __version__
from wedsync_apm.api.application import Measured, make_application
from wedsync_apm.api.heartbeats import PingApp
from wedsync_apm.api.ingest.front import IngestApp
from wedsync_apm.api.ingest.receive import MOST_BYTES_IN_FLIGHT, App
from wedsync_apm.api.lines import MOST_MESSAGE_BYTES, LiveSocket
from wedsync_apm.api.live import LiveApp
from wedsync_apm.api.patience import PatientProtocol, Standing, UntilTheEnd
from wedsync_apm.api.problems import answer_problem
from wedsync_apm.api.prometheus.front import PrometheusApp
from wedsync_apm.api.published import Published
from wedsync_apm.api.samples_in import grant_by
from wedsync_apm.api.services import Services
from wedsync_apm.api.turns import Connections, Turns
from wedsync_apm.board import Seat
from wedsync_apm.config import Settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import open_pool
from wedsync_apm.egress.client import EgressClient
from wedsync_apm.egress.policy import EgressPolicy
from wedsync_apm.ingest.annotating import Annotator
from wedsync_apm.ingest.database_clock import DatabaseClock
from wedsync_apm.ingest.intake import Intake
from wedsync_apm.ingest.limits import Budget, IngestLimits
from wedsync_apm.ingest.statsd.listener import listening
from wedsync_apm.ingest.writer import MOST_PENDING_SAMPLES, Writer
from wedsync_apm.live.hub import Hub
from wedsync_apm.organizations.identity import Authenticator
from wedsync_apm.organizations.secrets import load_keyring
from wedsync_apm.organizations.tokens import Fetch, load_tokens
from wedsync_apm.telemetry import Counter, Gauge, get_logger
from wedsync_apm.web.build.sheets import build_sheet
from wedsync_apm.web.pages.frame import answer_error
from wedsync_apm.web.routes import make_router
from wedsync_apm.web.session import make_web

log = get_logger(__name__)

POOL_CONNECTIONS: Final = 10
"""To the database for all but samples on their way in, of all processes together."""
LEAST_POOL_CONNECTIONS: Final = 4
BACKLOG: Final = 4096
GRACE_SECONDS: Final = 5
KEEP_ALIVE_SECONDS: Final = 75
ALL_UP_SECONDS: Final = 10.0
"""Until the first process begins to take connections without the others."""
BUILD = Gauge("wedsync_apm_build_info", "1 for the version that runs", ("version",), of_all=True)
STARTS = Counter("wedsync_apm_serve_starts_total", "Starts of each serving process", ("process",))


@dataclass(frozen=True, slots=True)
class Composed:
    """A process put together: what answers, and what it works with."""

    application: App
    services: Services


@dataclass(frozen=True, slots=True)
class Shared:
    """What a process has together with those that serve beside it; made before they are forked."""

    sockets: Sequence[socket.socket]
    seat: Seat
    samples: Budget
    events: Budget


@asynccontextmanager
async def compose(settings: Settings, shared: Shared | None = None) -> AsyncIterator[Composed]:
    """Everything of one serving process, for as long as the block runs.

    Of several that share an address, each has its part of what is bounded, and one has the UDP
    sockets.

    The database may be away: the pool goes on trying, and requests are told so meanwhile. Raises
    ConfigurationError for settings that cannot work.
    """
    seat = shared.seat if shared else None
    processes = len(seat.places) if seat else 1
    conninfo = role_conninfo(settings, "apm_api")
    keyring = load_keyring(settings)
    async with AsyncExitStack() as stack:
        tokens = load_tokens(settings, _fetch_keys(settings, stack))
        connections = max(POOL_CONNECTIONS // processes, LEAST_POOL_CONNECTIONS)
        pool = await open_pool(conninfo, name="api", min_size=2, max_size=connections)
        stack.push_async_callback(pool.close)
        authenticator = Authenticator(
            tokens,
            pool,
            attempts_per_minute=settings.login_attempts_per_minute,
            revocations=seat,
        )
        published = Published(seat)
        hub = Hub(
            pool,
            per_organization=settings.max_live_connections,
            per_person=settings.max_live_connections_per_person,
            elsewhere=published.streams_elsewhere,
        )
        listener = role_conninfo(settings, "apm_api", direct=True)
        await stack.enter_async_context(_running(hub.run(listener), "live events"))
        stack.push_async_callback(hub.drain)
        writer = Writer(
            role_conninfo(settings, "apm_writer"),
            series_limit=settings.max_active_series,
            most_pending_samples=MOST_PENDING_SAMPLES // processes,
        )
        await stack.enter_async_context(_running(writer.run(), "sample writer"))
        stack.push_async_callback(writer.drain)
        clock = DatabaseClock()
        await clock.begin(pool)
        await stack.enter_async_context(_running(clock.follow(pool), "database clock"))
        intake = Intake(
            writer,
            ingest_limits(settings),
            clock.now_ms,
            budget=shared.samples if shared else None,
        )
        egress = EgressClient(EgressPolicy.parse(settings.egress_allow))
        stack.push_async_callback(egress.aclose)
        services = Services(
            settings, pool, authenticator, hub, keyring, asyncio.Lock(), egress, published
        )
        application = make_application(
            services,
            pages=[make_router()],
            state={
                "web": make_web(
                    pool, authenticator, settings, egress, keyring, place=lambda: hub.place
                ),
                "sheet_of": build_sheet,
            },
            answer_stray=_answer_stray,
        )
        answering = PingApp(PrometheusApp(cast(App, application), services), pool)
        grant = grant_by(authenticator)
        annotate = Annotator(pool, shared.events if shared else None)
        front = IngestApp(
            cast(App, Measured(cast(Any, answering))),
            grant,
            intake,
            annotate,
            # A body must find room, packed and unpacked, however many processes there are.
            max(MOST_BYTES_IN_FLIGHT // processes, 2 * settings.max_body_bytes),
        )
        udp = settings.statsd or () if seat is None or seat.own.number == 0 else ()
        await stack.enter_async_context(
            listening(
                udp,
                intake,
                grant,
                annotate,
                settings.statsd_flush_seconds,
                clock_ms=clock.now_ms,
            )
        )
        BUILD.set(1, version=__version__)
        yield Composed(cast(App, LiveApp(front, services)), services)


def ingest_limits(settings: Settings) -> IngestLimits:
    """The limits on samples as the settings have them."""
    return IngestLimits(
        body_bytes=settings.max_body_bytes,
        samples=settings.max_samples_per_request,
        tags=settings.max_tags_per_series,
        tag_key_bytes=settings.max_tag_key_bytes,
        tag_value_bytes=settings.max_tag_value_bytes,
        series=settings.max_active_series,
        past=timedelta(seconds=settings.max_sample_age_seconds),
        future=timedelta(seconds=settings.max_sample_ahead_seconds),
        samples_per_second=settings.ingest_rate,
        burst=settings.ingest_burst,
    )


def serve(settings: Settings, shared: Shared | None = None) -> None:
    """Serves until SIGINT or SIGTERM; returns after everything was taken down.

    Raises ConfigurationError for settings that cannot work.
    """
    _allow_files()
    # uvloop, as uvicorn would set it up; but the pools and the writer live outside of its server.
    config = uvicorn.Config("", loop="uvloop", log_config=None)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(settings, shared))


async def _serve(settings: Settings, shared: Shared | None) -> None:
    if shared:
        STARTS.inc(process=str(shared.seat.own.number))
    async with compose(settings, shared) as composed:
        # What stands now stays; and what is learnt of series stays too. A collector that looks
        # through all of it at every turn holds up everybody, for a second and more.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        server = _Server(
            uvicorn.Config(
                UntilTheEnd(composed.application),
                host=settings.host,
                port=settings.port,
                http=PatientProtocol,
                ws=LiveSocket,
                ws_per_message_deflate=False,
                ws_max_size=MOST_MESSAGE_BYTES,
                # Heartbeats are messages, which scripts see too; a machine that is gone is found by
                # what it does not acknowledge.
                ws_ping_interval=None,
                backlog=BACKLOG,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                # Whoever may set X-Forwarded-For may choose the address that sign-in is counted by.
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            ),
            composed.services,
            shared,
        )
        await server.serve(list(shared.sockets) if shared else None)


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves the signals to us and lets the event streams go first; and
    which takes turns with those that share its sockets."""

    def __init__(self, config: uvicorn.Config, services: Services, shared: Shared | None) -> None:
        super().__init__(config)
        self.server_state: Standing = Standing()
        self._services, self._shared = services, shared

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._shared is None:
            await super().startup(sockets)
            return
        seat = self._shared.seat
        seat.own.beat()
        # Connections that come before the others are there would all be this process'. (No event
        # reaches another process, so it has to look.)
        last = time.monotonic() + ALL_UP_SECONDS
        while any(other.is_new for other in seat.others) and time.monotonic() < last:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        connections = Connections(seat)
        self.server_state.connections = connections

        def make_protocol() -> asyncio.Protocol:
            return PatientProtocol(self.config, self.server_state, self.lifespan.state)

        self.servers = [cast(Any, Turns(sockets or [], seat, connections, make_protocol))]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        self._services.published.tick(self._services.hub.crowds)
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when it is done, which would end the process before the
        # writer has settled what it holds.
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.is_ending = True
        await self._services.hub.drain()
        await super().shutdown(sockets)


def _allow_files() -> None:
    """Each connection is an open file, and the usual limit is one for people at a terminal."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@asynccontextmanager
async def _running(work: Any, name: str) -> AsyncIterator[None]:
    """Runs a task for as long as the block runs; one that ends by itself is a defect."""
    task: asyncio.Task[None] = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell_end)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _tell_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.error(
            "%s ended by itself",
            task.get_name(),
            exc_info=task.exception(),
            extra={"action": "task_ended"},
        )


def _answer_stray(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    """For an address that nobody has: a page for people, a problem for programs."""
    wants_page = "text/html" in request.headers.get("accept", "")
    if wants_page and not request.url.path.startswith(("/api/", "/prometheus/")):
        return answer_error(request, exc)
    return answer_problem(request, exc)


def _fetch_keys(settings: Settings, stack: AsyncExitStack) -> Fetch | None:
    url = settings.jwks_url
    if url is None:
        return None
    # The operator has named this address, so it may be a private one; no other may.
    policy = EgressPolicy.parse(settings.egress_allow).allowing(urlsplit(url).netloc)
    egress = EgressClient(policy)
    stack.push_async_callback(egress.aclose)

    async def fetch() -> bytes:
        answer = await egress.request("GET", url, timeout_seconds=5.0)
        if answer.status != 200 or answer.truncated:
            raise ValueError(f"{url} answered {answer.status}")
        return answer.body

    return fetch
