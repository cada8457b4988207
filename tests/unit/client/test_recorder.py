"""Recording, from wherever a program may do it."""

import gc
import json
import threading
from typing import Any

from wedsync_apm.client.recorder import Recorder
from wedsync_apm.client.samples import SeriesTable, pack


def recorder(most: int = 1_000, calls: list[int] | None = None) -> Recorder:
    def on_batch() -> None:
        if calls is not None:
            calls.append(1)

    return Recorder(SeriesTable("s", {}), most, 10, on_batch)


def record(to: Recorder, name: str, value: Any, **tags: object) -> None:
    to.sample("gauge", name, value, at=None, tags=tags, unit=None, service_name=None)


def values(of: Recorder, name: str) -> list[float]:
    samples = [json.loads(line) for b in pack(of.take("i"), 10_000, 10**9) for line in b.lines()]
    return [sample["value"] for sample in samples if sample["metric_name"] == name]


class Talkative:
    """Records itself whenever somebody asks what it is called: as a signal handler would."""

    def __init__(self, to: Recorder) -> None:
        self._to = to

    def __str__(self) -> str:
        record(self._to, "inner", 1)
        self._to.count("inner_total", 1, tags=None, unit=None, service_name=None)
        self._to.take("i" * 0)
        return "talkative"


def test_a_call_in_the_middle_of_a_call_waits_until_that_is_done() -> None:
    to = recorder()
    for n in range(3):
        record(to, "outer", n, tag=Talkative(to))
    assert len(to) == 0, "the last of them has taken all"
    record(to, "outer", 4)
    assert values(to, "outer") == [4]
    assert to.dropped() == {}


def test_a_finalizer_may_record() -> None:
    to = recorder()

    class Resource:
        def __init__(self) -> None:
            self.itself = self  # only the collector ends it

        def __del__(self) -> None:
            record(to, "ended", 1)

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for n in range(200):
            Resource()
            record(to, "outer", n, n=n % 50)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    samples = [json.loads(line) for b in pack(to.take("i"), 10_000, 10**9) for line in b.lines()]
    names = [sample["metric_name"] for sample in samples]
    assert (names.count("outer"), names.count("ended")) == (200, 200)
    assert (
        len(
            {
                json.dumps(s["tags"]) + str(s["timestamp"])
                for s in samples
                if s["metric_name"] == "ended"
            }
        )
        == 200
    )


def test_whoever_sends_is_told_when_a_batch_is_there() -> None:
    calls: list[int] = []
    to = recorder(calls=calls)
    for n in range(25):
        record(to, "m", n)
    assert len(calls) == 2


def test_over_the_limit_the_oldest_goes() -> None:
    to = recorder(most=5)
    for n in range(8):
        record(to, "m", n)
    assert to.dropped() == {"buffer_full": 3}
    assert values(to, "m") == [3, 4, 5, 6, 7]


def test_between_threads_and_the_end_nothing_is_lost_uncounted() -> None:
    to = recorder(most=100_000)

    def work() -> None:
        for n in range(2_000):
            record(to, "m", n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    to.close()
    taken = len(values(to, "m"))
    for thread in threads:
        thread.join()
    assert taken + to.dropped().get("closed", 0) == 8_000
    assert len(to) == 0
