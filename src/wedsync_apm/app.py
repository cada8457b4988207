"""`serve`: from settings to a process that answers, and back.

`compose` is one straight line on purpose: what needs what is read from top to bottom, and is taken
down from bottom to top by the stack.
"""

import asyncio
import gc
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast
from urllib.parse import urlsplit

import uvicorn
from litestar import Request, Response

from wedsync_apm import __version__
from wedsync_apm.api.application import Measured, make_application
from wedsync_apm.api.ingest.front import IngestApp
from wedsync_apm.api.ingest.receive import App
from wedsync_apm.api.live import Hub
from wedsync_apm.api.patience import PatientProtocol
from wedsync_apm.api.problems import answer_problem
from wedsync_apm.api.prometheus import PrometheusApp
from wedsync_apm.api.samples_in import grant_by
from wedsync_apm.api.services import Services
from wedsync_apm.config import Settings
from wedsync_apm.db.logins import role_conninfo
from wedsync_apm.db.pool import open_pool
from wedsync_apm.egress.client import EgressClient
from wedsync_apm.egress.policy import EgressPolicy
from wedsync_apm.ingest.annotating import Annotator
from wedsync_apm.ingest.intake import Intake
from wedsync_apm.ingest.limits import IngestLimits
from wedsync_apm.ingest.statsd.listener import listening
from wedsync_apm.ingest.writer import Writer
from wedsync_apm.organizations.identity import Authenticator
from wedsync_apm.organizations.secrets import load_keyring
from wedsync_apm.organizations.tokens import Fetch, load_tokens
from wedsync_apm.telemetry import Gauge, get_logger
from wedsync_apm.web.pages.frame import answer_error
from wedsync_apm.web.routes import make_router
from wedsync_apm.web.session import make_web

log = get_logger(__name__)

POOL_CONNECTIONS: Final = 10
BACKLOG: Final = 4096
GRACE_SECONDS: Final = 5
KEEP_ALIVE_SECONDS: Final = 75
BUILD = Gauge("wedsync_apm_build_info", "1 for the version that runs", ("version",))


@dataclass(frozen=True, slots=True)
class Composed:
    """A process put together: what answers, and what it works with."""

    application: App
    services: Services


@asynccontextmanager
async def compose(settings: Settings) -> AsyncIterator[Composed]:
    """Everything of one serving process, for as long as the block runs.

    The database may be away: the pool goes on trying, and requests are told so meanwhile. Raises
    ConfigurationError for settings that cannot work.
    """
    conninfo = role_conninfo(settings, "apm_api")
    keyring = load_keyring(settings)
    async with AsyncExitStack() as stack:
        tokens = load_tokens(settings, _fetch_keys(settings, stack))
        pool = await open_pool(conninfo, name="api", min_size=2, max_size=POOL_CONNECTIONS)
        stack.push_async_callback(pool.close)
        authenticator = Authenticator(
            tokens, pool, attempts_per_minute=settings.login_attempts_per_minute
        )
        hub = Hub()
        listener = role_conninfo(settings, "apm_api", direct=True)
        await stack.enter_async_context(_running(hub.run(listener), "live events"))
        stack.callback(hub.close_clients)
        writer = Writer(
            role_conninfo(settings, "apm_writer"), series_limit=settings.max_active_series
        )
        await stack.enter_async_context(_running(writer.run(), "sample writer"))
        stack.push_async_callback(writer.drain)
        intake = Intake(writer, ingest_limits(settings))
        services = Services(settings, pool, authenticator, hub, keyring, asyncio.Lock())
        application = make_application(
            services,
            pages=[make_router()],
            state={"web": make_web(pool, authenticator, settings)},
            answer_stray=_answer_stray,
        )
        answering = PrometheusApp(cast(App, application), services)
        grant, annotate = grant_by(authenticator), Annotator(pool)
        front = IngestApp(
            cast(App, Measured(cast(Any, answering))),
            grant,
            intake,
            annotate,
        )
        await stack.enter_async_context(
            listening(settings.statsd or (), intake, grant, annotate, settings.statsd_flush_seconds)
        )
        BUILD.set(1, version=__version__)
        yield Composed(front, services)


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


def serve(settings: Settings) -> None:
    """Serves until SIGINT or SIGTERM; returns after everything was taken down.

    Raises ConfigurationError for settings that cannot work.
    """
    # uvloop, as uvicorn would set it up; but the pools and the writer live outside of its server.
    config = uvicorn.Config("", loop="uvloop", log_config=None)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with compose(settings) as composed:
        # What stands now stays; and what is learnt of series stays too. A collector that looks
        # through all of it at every turn holds up everybody, for a second and more.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        server = _Server(
            uvicorn.Config(
                composed.application,
                host=settings.host,
                port=settings.port,
                http=PatientProtocol,
                ws="websockets-sansio",
                ws_per_message_deflate=False,
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
            composed.services.hub,
        )
        await server.serve()


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves the signals to us and lets the event streams go first."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

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
        self._hub.close_clients()
        await super().shutdown(sockets)


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
