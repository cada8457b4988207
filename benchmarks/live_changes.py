"""What makes events for live connections, and what holds these: processes of their own."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg

from benchmarks.live_clients import Report, Wanted
from benchmarks.ours import Ours
from wedsync_apm.config import load_settings
from wedsync_apm.organizations.tokens import Tokens, load_tokens

TOPICS: Final = ("incidents", "health", "guard")
BROADCAST_EVERY: Final = 2.0
"""Seconds."""


@dataclass(slots=True)
class Told:
    """An event: whose it is, and the times before its statement and after its commit."""

    owner: UUID | None
    before: float
    after: float = 0.0


@dataclass(slots=True)
class Changes:
    """Makes events, at a rate, and keeps when each was made."""

    database: str
    organizations: Sequence[UUID]
    per_second: float
    told: dict[str, Told] = field(default_factory=dict)
    late: float = 0.0
    """Seconds by which the sender itself was behind its plan, at most."""

    def run(self, seconds: float, *, broadcasts: bool = False) -> dict[str, Told]:
        """For so long; gives back what was told in that time."""
        mine: dict[str, Told] = {}
        chance = random.Random(1)  # noqa: S311 - which organization comes next
        with psycopg.connect(self.database, autocommit=True) as cx:
            started = time.monotonic()
            next_broadcast = started + BROADCAST_EVERY / 2
            for number in range(int(seconds * self.per_second)):
                due = started + number / self.per_second
                time.sleep(max(due - time.monotonic(), 0))
                self.late = max(self.late, time.monotonic() - due)
                mine |= self._one(cx, chance.choice(self.organizations))
                if broadcasts and time.monotonic() > next_broadcast:
                    next_broadcast += BROADCAST_EVERY
                    mine |= self._for_all(cx)
        self.told |= mine
        return mine

    def _one(self, cx: psycopg.Connection[Any], owner: UUID) -> dict[str, Told]:
        told = Told(owner, time.monotonic())
        row = cx.execute(
            "update service_health_checks set status = case status when 'healthy' then 'warning'"
            " else 'healthy' end::service_status, status_since = clock_timestamp()"
            " where organization_id = %s returning id",
            (owner,),
        ).fetchone()
        told.after = time.monotonic()
        # The check changes again and again: its name for the clients is its id and how often.
        return {f"{row[0] if row else owner} {told.before}": told}

    def new_check(self, cx: psycopg.Connection[Any], owner: UUID) -> dict[str, Told]:
        """An event with a name that the clients hear: a check that nobody makes."""
        told = Told(owner, time.monotonic())
        row = cx.execute(
            "insert into service_health_checks (organization_id, service_name, display_name,"
            " service_type, endpoint_url, is_active) values"
            " (%s, gen_random_uuid()::text, 'Shop', 'http', 'https://example.org/', false)"
            " returning id",
            (owner,),
        ).fetchone()
        told.after = time.monotonic()
        return {str(row[0]) if row else "": told}

    def _for_all(self, cx: psycopg.Connection[Any]) -> dict[str, Told]:
        told = Told(None, time.monotonic())
        cx.execute("update apm_private.guard_overrides set reason = reason || '.'")
        told.after = time.monotonic()
        return {f"everybody {told.before}": told}


class Clients:
    """Processes that hold the connections."""

    def __init__(self, folder: Path, server: Ours, tokens: Sequence[str], processes: int) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[str]] = []
        self.first: list[int] = []
        share = -(-len(tokens) // processes)
        for number in range(processes):
            mine = list(tokens[number * share : (number + 1) * share])
            self.first.append(number * share)
            wanted = Wanted("127.0.0.1", server.port, f"127.0.0.{number + 2}", list(TOPICS), mine)
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.live_clients"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._processes.append(process)
            self._tell(process, msgspec.json.encode(wanted).decode())

    def wait(self) -> float:
        """Until all have subscribed; seconds. Raises RuntimeError with the first reason."""
        said = [self._hear(process) for process in self._processes]
        errors = [one["error"] for one in said if "error" in one]
        if errors:
            raise RuntimeError(errors[0])
        return max(float(one["seconds"]) for one in said)

    def report(self) -> Report:
        """What came since the last one, connections counted over all processes."""
        whole = Report([], 0, 0, 0, {})
        for number, process in enumerate(self._processes):
            path = self._folder / f"report-{number}.json"
            self._tell(process, f"report {path}")
            self._hear(process)
            part = msgspec.json.decode(path.read_bytes(), type=Report)
            first = self.first[number]
            whole.arrivals += [(first + at, *rest) for at, *rest in part.arrivals]  # type: ignore[misc]
            whole.subscribed += part.subscribed
            whole.heartbeats += part.heartbeats
            whole.resyncs += part.resyncs
            for code, count in part.closed.items():
                whole.closed[code] = whole.closed.get(code, 0) + count
        return whole

    def end(self) -> None:
        """Closes all."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _tell(self, process: subprocess.Popen[str], line: str) -> None:
        if process.stdin is not None:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()

    def _hear(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        line = process.stdout.readline() if process.stdout is not None else ""
        found: dict[str, Any] = json.loads(line or '{"error": "a client process has ended"}')
        return found


def signer(server: Ours) -> Tokens:
    """What signs the server's tokens."""
    return load_tokens(load_settings({}, data_dir=str(server.data)))


def token_of(tokens: Tokens, person: UUID, seconds: int = 6 * 3600) -> str:
    """A token of one of them."""
    return tokens.issue(
        person, name="Owner", email="owner@example.org", generation=1, seconds=seconds
    )
