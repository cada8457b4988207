"""Statements and a COPY as one message: one transaction in two trips to the server and back."""

from collections.abc import Generator
from typing import Final

from psycopg import AsyncConnection, errors
from psycopg.generators import fetch, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import DictRow
from psycopg.waiting import Ready, Wait

_PIECE: Final = 256 * 1024
"""libpq copies what it is given; smaller pieces keep its buffer small."""


async def copy_in(cx: AsyncConnection[DictRow], statements: bytes, data: bytes) -> None:
    """Runs statements of which the last one is a `COPY … FROM STDIN`, and feeds it.

    The server takes what comes in one message for one transaction: all of it is committed when
    this returns, or nothing is when it raises. Raises psycopg's errors.
    """
    await cx.wait(_copying(cx.pgconn, statements, data))


def _copying(pgconn: PGconn, statements: bytes, data: bytes) -> Generator[Wait, Ready | int, None]:
    pgconn.send_query(statements)
    yield from send(pgconn)
    failed: PGresult | None = None
    while (result := (yield from fetch(pgconn))) is not None:
        if result.status == ExecStatus.COPY_IN:
            yield from _feed(pgconn, data)
        elif result.status == ExecStatus.FATAL_ERROR:
            failed = failed or result
    if failed is not None:
        raise errors.error_from_result(failed)


def _feed(pgconn: PGconn, data: bytes) -> Generator[Wait, Ready | int, None]:
    pieces = memoryview(data)
    for start in range(0, len(data), _PIECE):
        pgconn.put_copy_data(pieces[start : start + _PIECE])
        yield from send(pgconn)
    pgconn.put_copy_end()
    yield from send(pgconn)
