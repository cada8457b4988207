"""The demo's business on a real database behind real pages: a florist on a wedding day."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import uvicorn
from litestar import Litestar
from litestar.datastructures import State
from psycopg.rows import DictRow, dict_row

from tests.support.postgres import Database
from wedsync_apm import bootstrap
from wedsync_apm.config import load_settings
from wedsync_apm.db.pool import open_pool
from wedsync_apm.egress import EgressClient, EgressPolicy
from wedsync_apm.organizations.identity import Authenticator
from wedsync_apm.organizations.secrets import load_keyring
from wedsync_apm.organizations.tokens import load_tokens
from wedsync_apm.simulate import demo, vendors
from wedsync_apm.web.pages.frame import answer_error
from wedsync_apm.web.routes import make_router
from wedsync_apm.web.session import make_web


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the pages are, and the owner's way into the database behind them."""

    url: str
    owner: str
    data_dir: Path

    def execute(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """One statement as the owner."""
        with psycopg.Connection[DictRow].connect(self.owner, row_factory=dict_row) as cx:
            cursor = cx.execute(statement, values)
            return [] if cursor.description is None else cursor.fetchall()

    @property
    def organization_id(self) -> Any:
        """The florist with a wedding today."""
        return vendors.STAR.id

    def password(self, person: vendors.Person) -> str:
        """A demo login's password."""
        return demo.password_of(self.data_dir, person)

    def measure_the_form(self) -> None:
        """An hour of the order form's times, slow at the end."""
        self.execute(SAMPLES, organization=self.organization_id)

    def break_the_form(self) -> Any:
        """The order form is slow: the rule has fired and an incident is open."""
        self.measure_the_form()
        found = self.execute(
            "select id from apm_alerts where organization_id = %(o)s and metric_pattern = %(p)s",
            o=self.organization_id,
            p=vendors.FORMS.name,
        )
        opened = self.execute(
            "select create_incident_from_alert(%(rule)s, 9100) as id", rule=found[0]["id"]
        )
        return opened[0]["id"]

    def let_the_engine_breathe(self, status: str = "healthy") -> None:
        """The engine has just been round, and every service was looked at.

        It is so for some minutes: a busy machine takes longer for a page than the seconds after
        which a silent engine is not believed.
        """
        self.execute(
            "insert into apm_private.job_runs (job, started_at, finished_at, outcome)"
            " values ('evaluate', now(), now() + interval '10 minutes', 'ok')"
            " on conflict (job) do update set finished_at = excluded.finished_at"
        )
        self.execute(
            "update service_health_checks set status = %(status)s::service_status,"
            " last_check_at = now(), response_time_ms = 420",
            status=status,
        )


SAMPLES = """
insert into apm_samples (
    organization_id, service_name, metric_name, metric_value, unit, "timestamp"
)
select %(organization)s, 'wedding_forms', 'form_submission_time',
    case when n > 55 then 9100 else 1200 + 10 * (n %% 7) end, 'ms',
    now() - make_interval(mins => 60 - n)
from generate_series(1, 59) as n
where n not between 20 and 26
"""


@contextlib.contextmanager
def open_stage(database: Database, data_dir: Path) -> Iterator[Stage]:
    """The pages on a loopback port, with their own loop and pool, until the end of the block."""
    bootstrap.prepare_platform(database.owner, data_dir, "http://127.0.0.1:1")
    demo.prepare(database.owner, data_dir)
    settings = load_settings({}, data_dir=str(data_dir))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        listening.listen()

        async def lifespan_pool(app: Litestar) -> None:
            pool = await open_pool(database.api, name="pages", min_size=1, max_size=4)
            authenticator = Authenticator(
                load_tokens(settings), pool, attempts_per_minute=settings.login_attempts_per_minute
            )
            # the tests' own services listen on this machine
            egress = EgressClient(EgressPolicy.parse(["127.0.0.0/8"]))
            app.state.web = make_web(pool, authenticator, settings, egress, load_keyring(settings))

        async def close_pool(app: Litestar) -> None:
            await app.state.web.egress.aclose()
            await app.state.web.pool.close()

        app = Litestar(
            [make_router()],
            state=State(),
            on_startup=[lifespan_pool],
            on_shutdown=[close_pool],
            exception_handlers={Exception: answer_error},
            openapi_config=None,
            logging_config=None,
        )
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True
        )
        thread.start()
        yield Stage(f"http://127.0.0.1:{port}", database.owner, data_dir)
        server.should_exit = True
        thread.join(60)
