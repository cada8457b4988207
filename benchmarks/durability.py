"""Is an acknowledged sample still there after `kill -9`? Under full load, without any warning:

server: every process of the product but PostgreSQL's, at once;
postgres: the postmaster and all of its backends, at once.

What was acknowledged up to then, and while the connections broke, must be there after the restart:
each body is looked up by its organizations and its time, so that samples which were stored without
an answer cannot hide one that was lost. A killed process leaves the page cache alone: this says
nothing about a power cut (fsync is on in all our figures).
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import psutil
import psycopg

from benchmarks.ours import Ours
from benchmarks.run import HEADERS, facts, options_of, parsed, save, say, workplace
from benchmarks.sender import Sent, send
from benchmarks.workload import SERIES_PER_VENDOR, Body, bodies, vendor_id

MODES: Final = ("server", "postgres")
VENDORS: Final = 200
PASSES: Final = 50
SERIES_PER_BODY: Final = 500
RECOVERY_SECONDS: Final = 120.0
LISTEN_SECONDS: Final = 0.3
_FOUND: Final = """
    select organization_id, "timestamp", count(distinct series_id)
    from apm_samples_between(%s, %s)
    where apm_source = 'prometheus'
    group by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One kill. `lost` are acknowledged samples that the restarted product does not have."""

    mode: str
    number: int
    killed: int
    """Processes."""
    acknowledged: int
    acknowledged_later: int
    """Of these, after the kill: their answers were on their way."""
    lost: int
    ms_after_an_answer: float
    """From the answer that set it off until all were killed."""
    ready_seconds: float
    """From the kill until the product answered again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the trials and writes results/durability.json; 1 when something was lost."""
    parser = options_of("durability", __doc__)
    parser.add_argument("--trials", type=int, default=20, help="of each mode")
    options = parsed(parser, arguments)
    if options.quick:
        options.trials = 2
    told = facts(vars(options))
    trials: list[Trial] = []
    with workplace() as folder, Ours(folder, VENDORS) as server:
        for number in range(options.trials):
            for mode in MODES:
                trials.append(attempt(server, mode, number, len(trials)))
                say(line(trials[-1]))
                save("durability", options.out, told | {"trials": [asdict(one) for one in trials]})
    return 1 if any(trial.lost or not trial.acknowledged for trial in trials) else 0


def attempt(server: Ours, mode: str, number: int, minutes: int) -> Trial:
    """Sends samples of their own minute, kills, starts again and looks."""
    made = bodies(
        vendors=VENDORS,
        samples=VENDORS * SERIES_PER_VENDOR * PASSES,
        series_per_body=SERIES_PER_BODY,
        samples_per_series=1,
        seed=minutes,
        step_ms=1000,
        end_ms=(int(time.time()) - 6 * 3600 + minutes * 60) * 1000,
    )
    victims = [
        process
        for process, part in server.processes().items()
        if part.startswith("postgres") == (mode == "postgres")
    ]
    stop, killed_at = threading.Event(), 0.0
    fatal = random.randint(1, len(made) // 2)  # noqa: S311 - any moment will do

    def kill(answers: int) -> None:
        nonlocal killed_at
        if answers == fatal:
            for process in victims:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            killed_at = time.perf_counter()
            # What is answered while everything breaks was promised, too.
            threading.Timer(LISTEN_SECONDS, stop.set).start()

    sent = send(server.write_url, made, HEADERS | server.headers, stop=stop, on_answer=kill)
    _recover(server, mode, victims)
    ready_at = time.perf_counter()
    return Trial(
        mode=mode,
        number=number,
        killed=len(victims),
        acknowledged=sent.acknowledged,
        lost=_lost(server, sent),
        acknowledged_later=sum(
            answer.body.samples for answer in sent.answers if sent.started + answer.at > killed_at
        ),
        ms_after_an_answer=(killed_at - sent.started - sent.answers[fatal - 1].at) * 1000,
        ready_seconds=ready_at - killed_at,
    )


def _recover(server: Ours, mode: str, victims: Iterable[psutil.Process]) -> None:
    if mode == "server":
        server.reap()
        server.start()
        return
    psutil.wait_procs(victims, RECOVERY_SECONDS)
    end = time.monotonic() + RECOVERY_SECONDS
    while True:  # the product starts its database again by itself
        try:
            with psycopg.connect(server.database, connect_timeout=5) as cx:
                cx.execute("select 1")
            break
        except (psycopg.Error, OSError, KeyError):
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    server.wait_until_ready()


def _lost(server: Ours, sent: Sent) -> int:
    times = [answer.body.newest_ms for answer in sent.answers]
    if not times:
        return 0
    first, last = (datetime.fromtimestamp(at / 1000, UTC) for at in (min(times), max(times) + 1))
    with psycopg.connect(server.database) as cx:
        found = {
            (organization, round(at.timestamp() * 1000)): int(samples)
            for organization, at, samples in cx.execute(_FOUND, (first, last))
        }
    return sum(
        max(0, SERIES_PER_VENDOR - found.get((organization, answer.body.newest_ms), 0))
        for answer in sent.answers
        for organization in _organizations(answer.body)
    )


def _organizations(body: Body) -> list[UUID]:
    vendors = SERIES_PER_BODY // SERIES_PER_VENDOR
    return [vendor_id(body.lane * vendors + number) for number in range(vendors)]


def line(trial: Trial) -> str:
    """A trial for whoever waits."""
    return (
        f"{trial.mode} {trial.number + 1}: killed {trial.killed} processes "
        f"{trial.ms_after_an_answer:.1f} ms after an answer; acknowledged "
        f"{trial.acknowledged:,}, lost {trial.lost}; ready after {trial.ready_seconds:.1f} s"
    )


if __name__ == "__main__":
    raise SystemExit(main())
