"""A sender in a process of its own that is killed at the boundary that it is told.

`python -m tests.support.mortal_sender` reads lines of JSON: first the database {"name", "owner",
"passwords"}, then {"at", "kill_at"}. For each of those it forks, the child runs one cycle of the
sender and dies by SIGKILL at the boundary of that number, and a line comes back: how it ended and
how many boundaries it passed. Boundaries are before and after each statement, each end of a
transaction, and each sending.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg

from tests.support.outbox import outbox_of
from tests.support.postgres import Database
from wedsync_apm.notify import channels, outbox
from wedsync_apm.types import Channel


class Boundaries:
    """Counts them from when it begins, and dies at one of them."""

    def __init__(self, kill_at: int) -> None:
        self.kill_at = kill_at
        self.passed = 0
        self.is_counting = False

    def pass_by(self) -> None:
        if not self.is_counting:
            return
        self.passed += 1
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def mortal(*args: Any, **kwargs: Any) -> Any:
            self.pass_by()
            result = await real(*args, **kwargs)
            self.pass_by()
            return result

        return mortal


async def run(database: Database, at: datetime, boundaries: Boundaries) -> None:
    """One cycle, and the end of all that it began."""
    cursor: Any = psycopg.AsyncCursor
    transaction: Any = psycopg.AsyncTransaction
    cursor.execute = boundaries.around(cursor.execute)
    transaction.__aexit__ = boundaries.around(transaction.__aexit__)
    webhook = channels.SENDERS[Channel.WEBHOOK]
    outbox.SENDERS = {  # type: ignore[attr-defined]
        **channels.SENDERS,
        Channel.WEBHOOK: replace(webhook, send=boundaries.around(webhook.send)),
    }
    async with outbox_of(database, lease_seconds=30) as sender:
        boundaries.is_counting = True
        await sender.run_once(at)
        await sender.drain()
        boundaries.is_counting = False


def main() -> None:
    database = Database(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        asked = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            boundaries = Boundaries(asked["kill_at"])
            asyncio.run(run(database, datetime.fromisoformat(asked["at"]), boundaries))
            os.write(writer, str(boundaries.passed).encode())
            os._exit(0)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        passed = os.read(reader, 100).decode()
        os.close(reader)
        said = {"is_killed": os.WIFSIGNALED(status), "passed": int(passed or 0)}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
