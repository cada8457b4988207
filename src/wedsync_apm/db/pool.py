"""Connection pools, and the border at which the driver's errors become ours."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from wedsync_apm import errors
from wedsync_apm.db.queries import load_queries

Q = load_queries(__package__)

Connection = psycopg.AsyncConnection[dict[str, Any]]
Pool = AsyncConnectionPool[psycopg.AsyncConnection[DictRow]]

CONNECT_TIMEOUT_SECONDS: Final = 5
ACQUIRE_TIMEOUT_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 10.0
"""After which one connection more than the smallest number, and not used meanwhile, is closed."""


PREPARED_AFTER: Final = 3
"""Times that a statement is run on a connection before the server is asked to keep it."""
MOST_PREPARED: Final = 200
"""Statements that one connection keeps; beyond them the one not used for longest is given up."""

_T = TypeVar("_T")


class _Connection(psycopg.AsyncConnection[DictRow]):
    """Ends itself where what it had prepared fits the tables no more: the next one starts anew."""

    async def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        try:
            return await super().wait(gen, interval, timeout)
        except psycopg.errors.FeatureNotSupported as exc:
            if _is_outdated(exc):
                await self.close()
            raise


async def reaches_server(cx: psycopg.AsyncConnection[DictRow]) -> bool:
    """Whether one server answers all along, so that what is prepared lasts. A pooler gives the next
    statement to another one, and makes up the process id that it tells."""
    row = await (await cx.execute(Q.find_backend)).fetchone()
    return row is not None and row["pid"] == cx.info.backend_pid


async def _prepare_where_it_lasts(cx: psycopg.AsyncConnection[DictRow]) -> None:
    """Has statements that come again prepared, which saves most of what a short one costs: the
    server reads and plans it once."""
    async with cx.transaction():
        lasts = await reaches_server(cx)
    if lasts:
        cx.prepared_max = MOST_PREPARED
        cx.prepare_threshold = PREPARED_AFTER


class _NewestFirst(AsyncConnectionPool[psycopg.AsyncConnection[DictRow]]):
    """Gives out what was used last.

    A server's process learns the tables and functions that it is asked about, which costs it
    megabytes. Taken in turn, all of them learn everything, and none is ever idle.
    """

    async def _get_ready_connection(
        self, timeout: float | None
    ) -> psycopg.AsyncConnection[DictRow] | None:
        self._pool.rotate(1)
        return await super()._get_ready_connection(timeout)


async def open_pool(
    conninfo: str,
    *,
    name: str,
    min_size: int = 1,
    max_size: int = 10,
    application_name: str | None = None,
    wait: bool = False,
    acquire_seconds: float = ACQUIRE_TIMEOUT_SECONDS,
) -> Pool:
    """An open pool whose rows are dicts.

    With `wait` the call returns only when the smallest number of connections stands, and raises
    DatabaseAway after 30 seconds without; otherwise the pool fills in the background and goes on
    trying for as long as the database is away.
    """
    pool: Pool = _NewestFirst(
        make_conninfo(
            conninfo,
            application_name=application_name or f"wedsync-apm/{name}",
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
        ),
        connection_class=_Connection,
        configure=_prepare_where_it_lasts,
        kwargs={"prepare_threshold": None, "row_factory": dict_row},
        min_size=min_size,
        max_size=max_size,
        name=name,
        timeout=acquire_seconds,
        max_idle=IDLE_SECONDS,
        reconnect_timeout=float("inf"),
        # A server that was stopped and started again leaves dead connections in the pool;
        # a check costs one round trip on a local socket, a dead one costs somebody a 503.
        check=AsyncConnectionPool.check_connection,
        open=False,
    )
    with wrap_database_errors():
        await pool.open(wait=wait, timeout=30.0)
    return pool


@contextmanager
def wrap_database_errors() -> Iterator[None]:
    """Raises our errors instead of the driver's, with the driver's as the cause.

    Errors of a meaning that is not ours to guess (a syntax error, a missing table) pass unchanged:
    they are defects and must look like defects.
    """
    try:
        yield
    except (psycopg.Error, PoolTimeout, PoolClosed, TooManyRequests) as exc:
        ours = translate(exc)
        if ours is None:
            raise
        raise ours from exc


_AWAY: Final = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "53300", "25006"})
_BUSY: Final = dict.fromkeys(
    ("55P03", "40001", "40P01"), "The database was busy with the same rows."
)
_VALUE: Final = frozenset(
    {"22P02", "22003", "22007", "22008", "22023", "22001", "22P05", "22021", "23502", "23514"}
)
# What our own SQL functions raise: `using errcode = 'AP404'` and so on.
_OURS: Final[dict[str, type[errors.WedSyncError]]] = {
    "AP001": errors.ConfigurationError,  # a foreign object where ours should be
    "AP002": errors.NotValid,  # a row cannot move to another organization
    "AP003": errors.NotValid,  # an organization has as many series as it may have
    "AP004": errors.NotValid,  # a width that rollups are not kept at
    "AP005": errors.ConfigurationError,  # the owner cannot read the host's tables
    "AP400": errors.MalformedBody,
    "AP401": errors.Unauthorized,
    "AP403": errors.Forbidden,
    "AP404": errors.NotFound,
    "AP409": errors.Conflict,
    "AP413": errors.TooLarge,
    "AP422": errors.NotValid,
    "AP429": errors.RateLimited,
}


def _is_outdated(exc: Exception) -> bool:
    """Whether a prepared statement's rows would look different from when it was prepared, as after
    a migration."""
    return isinstance(exc, psycopg.Error) and "cached plan" in (exc.diag.message_primary or "")


def translate(exc: Exception) -> errors.WedSyncError | None:
    """Our error for one of the driver's; None means that it has no meaning for a user."""
    state = getattr(exc, "sqlstate", None)
    diag = exc.diag if isinstance(exc, psycopg.Error) else None
    found: errors.WedSyncError | None = None
    if isinstance(exc, PoolTimeout | PoolClosed | TooManyRequests):
        found = errors.DatabaseAway()
    elif state is None or diag is None:
        # The connection died, or never stood: there is no SQLSTATE without a server.
        if isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError):
            found = errors.DatabaseAway()
    elif state in _OURS:
        found = _OURS[state](diag.message_primary)
    elif state == "53100":
        found = errors.StorageFull()
    elif state in _AWAY or state.startswith("08"):
        found = errors.DatabaseAway()
    elif state == "57014":
        found = errors.DatabaseAway("The database took too long to answer.")
    elif state in _BUSY or _is_outdated(exc):
        why = _BUSY.get(state, "The tables have just been changed.")
        found = errors.DatabaseAway(why, retry_after=1.0)
    elif state == "42501":
        found = errors.Forbidden()
    elif state in {"23505", "23P01"}:
        found = errors.Conflict("Something of this name exists already.")
    elif state == "23503":
        # The same words for "does not exist" and "belongs to somebody else": a foreign key must
        # not tell one from the other.
        found = errors.NotValid(errors=[errors.FieldError(_foreign_field(diag), "does not exist")])
    elif state in _VALUE:
        found = errors.NotValid(errors=[errors.FieldError(_field(diag), _reason(diag))])
    return found


def _field(diag: psycopg.errors.Diagnostic) -> str:
    # PostgreSQL names a column's own check <table>_<column>_check.
    name = (diag.constraint_name or "").removeprefix(f"{diag.table_name}_").removesuffix("_check")
    return diag.column_name or name or "body"


def _reason(diag: psycopg.errors.Diagnostic) -> str:
    if diag.sqlstate == "23514" and diag.constraint_name and "violates" in _message(diag):
        return "is outside of what is possible"
    return _message(diag)


def _message(diag: psycopg.errors.Diagnostic) -> str:
    # "Failing row contains (...)" stands in the detail and would carry foreign columns along.
    return diag.message_primary or "is not valid"


def _foreign_field(diag: psycopg.errors.Diagnostic) -> str:
    # "Key (organization_id, alert_id)=(…) is not present": the last column is the one that was sent
    match = re.match(r"Key \(([^)]*)\)=", diag.message_detail or "")
    if match:
        return match[1].split(",")[-1].strip(' "')
    # Whoever may not read the other table gets no detail; the constraint's name says enough.
    name = (diag.constraint_name or "body").removesuffix("_fkey")
    name = name.removeprefix(f"{diag.table_name}_")
    return name.removeprefix("organization_id_")
