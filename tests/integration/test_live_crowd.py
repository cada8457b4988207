"""Five hundred live connections, held by a process of their own."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from benchmarks.live_clients import LimitTooLow, Report, Wanted, make_room

from tests.support.live import tokens_of
from tests.support.postgres import Database
from tests.support.serve_process import ServeProcess, until

pytestmark = pytest.mark.timeout(180)

CROWD = 500
TOPICS = ["incidents", "health", "metric:form.time"]


@contextmanager
def crowd(wanted: Wanted) -> Iterator["Crowd"]:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.live_clients"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        found = Crowd(process)
        try:
            found.say(msgspec.json.encode(wanted).decode())
            yield found
            found.say("end")
        finally:
            process.kill()


class Crowd:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, object]:
        assert self._process.stdout is not None
        found: dict[str, object] = json.loads(self._process.stdout.readline())
        return found

    def report(self, folder: Path) -> Report:
        self.say(f"report {folder / 'report.json'}")
        assert "written" in self.hear()
        return msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)


def furnish(database: Database) -> tuple[list[UUID], list[UUID]]:
    """Organizations, and the owner of each."""
    organizations = [uuid4() for _ in range(CROWD)]
    people = [uuid4() for _ in range(CROWD)]
    with psycopg.connect(database.owner) as cx:
        cx.execute(
            "insert into organizations (id, name) select o, 'Vendor' from unnest(%s::uuid[]) as o",
            (organizations,),
        )
        cx.execute(
            "insert into apm_private.users (id, email, display_name, password_hash)"
            " select u, u || '@example.org', 'Owner', 'none' from unnest(%s::uuid[]) as u",
            (people,),
        )
        cx.execute(
            "insert into apm_memberships (organization_id, user_id, role)"
            " select o, u, 'OWNER' from unnest(%s::uuid[], %s::uuid[]) as a (o, u)",
            (organizations, people),
        )
    return organizations, people


def test_each_of_five_hundred_hears_its_own_and_no_other(
    database: Database, tmp_path: Path
) -> None:
    make_room(2 * CROWD)
    organizations, people = furnish(database)
    serving = ServeProcess(database, tmp_path, {"SERVE_PROCESSES": "1"})
    try:
        serving.start()
        tokens = tokens_of(database, tmp_path)
        mine = [
            tokens.issue(person, name="Owner", email="owner@example.org", generation=1)
            for person in people
        ]
        wanted = Wanted("127.0.0.1", serving.port, "127.0.0.2", TOPICS, mine)
        with crowd(wanted) as clients:
            said = clients.hear()
            assert said["subscribed"] == CROWD, said
            assert serving.telemetry()["wedsync_apm_live_clients"] == CROWD
            with psycopg.connect(database.owner, autocommit=True) as cx:
                # In one transaction, so that they come together; then one for everybody.
                cx.execute(
                    "insert into apm_incidents (organization_id, title, severity, priority,"
                    " dedup_key, detected_at, last_seen_at) select o, 'Slow', 'warning', 'medium',"
                    " 'one', now(), now() from unnest(%s::uuid[]) as o",
                    (organizations,),
                )
                cx.execute(
                    "select pg_notify('apm_live', json_build_object('topic', 'health', 'xid', 1)"
                    "::text)"
                )
            came: list[tuple[int, str, str | None, float]] = []
            end = time.monotonic() + 60
            while len(came) < 2 * CROWD and time.monotonic() < end:
                came += clients.report(tmp_path).arrivals
                time.sleep(0.1)
            own = {at: owner for at, _, owner, _ in came if owner is not None}
            assert own == {at: str(one) for at, one in enumerate(organizations)}
            assert Counter(at for at, _, _, _ in came) == dict.fromkeys(range(CROWD), 2)
        until(lambda: serving.telemetry()["wedsync_apm_live_clients"] == 0)
    finally:
        serving.end()


def test_too_low_a_limit_on_files_is_an_error_that_says_so() -> None:
    with pytest.raises(LimitTooLow, match=r"100000000 connections need .* open files"):
        make_room(100_000_000)
