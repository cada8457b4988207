"""A statement that is run again and again, in one trip to the server and back.

Without the driver's work for statements in general: what is sent are arrays packed by the caller,
and what comes back is a single value as the server writes it.
"""

import re
from collections.abc import Generator, Sequence

from psycopg import AsyncConnection, errors
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.rows import DictRow
from psycopg.waiting import Ready, Wait

from wedsync_apm.db.pool import reaches_server

_PLACE = re.compile(r"%\((\w+)\)b")


class Statement:
    """One of a room's queries, all of whose parameters are binary: `%(name)b`."""

    def __init__(self, name: str, query: str) -> None:
        self.parameters = tuple(dict.fromkeys(_PLACE.findall(query)))
        """In the order in which `run` takes them."""
        self._name = name.encode()
        self._text = _PLACE.sub(
            lambda place: f"${self.parameters.index(place[1]) + 1}", query
        ).encode()

    async def prepare(self, cx: AsyncConnection[DictRow]) -> bool:
        """Has the server of this connection parse and plan it for good.

        Where a pooler stands between, it does nothing and gives back False.
        """
        if not await reaches_server(cx):
            return False
        await cx.wait(_preparing(cx.pgconn, self._name, self._text))
        return True

    async def run(
        self, cx: AsyncConnection[DictRow], values: Sequence[bytes], *, prepared: bool
    ) -> bytes | None:
        """The first value of the first row in PostgreSQL's binary format, if there is one.

        Raises psycopg's errors; InvalidSqlStatementName where it is not `prepared` after all.
        """
        name = self._name if prepared else None
        return await cx.wait(_running(cx.pgconn, name, self._text, values))


def _preparing(pgconn: PGconn, name: bytes, text: bytes) -> Generator[Wait, Ready | int, None]:
    pgconn.send_prepare(name, text)
    yield from _finished(pgconn)


def _running(
    pgconn: PGconn, name: bytes | None, text: bytes, values: Sequence[bytes]
) -> Generator[Wait, Ready | int, bytes | None]:
    binary = [1] * len(values)
    if name is None:
        pgconn.send_query_params(text, values, param_formats=binary, result_format=1)
    else:
        pgconn.send_query_prepared(name, values, param_formats=binary, result_format=1)
    return (yield from _finished(pgconn))


def _finished(pgconn: PGconn) -> Generator[Wait, Ready | int, bytes | None]:
    found = None
    yield from send(pgconn)
    for result in (yield from fetch_many(pgconn)):
        if result.status == ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result)
        if result.ntuples and result.nfields:
            found = result.get_value(0, 0)
    return found
