"""The client for vendors' programs, against servers and networks as they are."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import certificate
from tests.support.metrics_receiver import CUT, Receiver, Reply, Request, receiving
from tests.support.ports import free_port
from wedsync_apm.client import Client, Rejection
from wedsync_apm.client.recorder import DROPPED

Make = Callable[..., Client]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as running:
        yield running


@pytest.fixture
def make(receiver: Receiver) -> Iterator[Make]:
    made: list[Client] = []

    def client(**more: Any) -> Client:
        arguments = {"url": receiver.url, "api_key": "key", "service_name": "shop"} | more
        made.append(Client(**arguments))
        return made[-1]

    yield client
    for one in made:
        one.close(0)


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.01)


class Script:
    """Answers one after the other, the last one for ever."""

    def __init__(self, *replies: Reply | str) -> None:
        self.replies = list(replies)

    def __call__(self, request: Request) -> Reply | str:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def test_what_is_recorded_arrives_as_it_was_recorded(make: Make, receiver: Receiver) -> None:
    client = make(tags={"shop": "kent"})
    begun = int(time.time() * 1000)
    client.gauge("basket", 129.5, unit="EUR", tags={"table": 7})
    client.gauge("past", 1, at=1_780_000_000.25)
    client.count("orders_total", 2)
    with client.timer("checkout_time"):
        time.sleep(0.01)
    assert client.flush(60)
    found = {sample["metric_name"]: sample for r in receiver.requests for sample in r.samples}
    assert found["basket"] == {
        "service_name": "shop",
        "metric_name": "basket",
        "metric_type": "gauge",
        "unit": "EUR",
        "tags": {"shop": "kent", "table": "7"},
        "timestamp": pytest.approx(begun, abs=60_000),
        "value": 129.5,
    }
    assert found["past"]["timestamp"] == 1_780_000_000_250
    assert found["checkout_time"]["metric_type"] == "timer"
    assert found["checkout_time"]["unit"] == "ms"
    assert 10 <= found["checkout_time"]["value"] < 60_000
    assert receiver.values("orders_total") == [0, 2]
    (request,) = receiver.requests
    assert request.path == "/api/v1/metrics"
    assert request.headers["Authorization"] == "Bearer key"
    assert client.stats().sent == 5


def test_functions_are_timed_by_call_coroutines_too(make: Make, receiver: Receiver) -> None:
    client = make()

    @client.timer("depth")
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    @client.timer("waited")
    async def wait() -> str:
        raise KeyError("as it happens")

    assert factorial(4) == 24
    with pytest.raises(KeyError):
        wait().send(None)
    assert client.flush(60)
    assert len(receiver.values("depth")) == 5
    assert len(receiver.values("waited")) == 1


def test_without_a_call_it_is_sent_at_the_interval_and_when_a_batch_is_full(
    make: Make, receiver: Receiver
) -> None:
    make(flush_interval=0.2).gauge("slow", 1)
    receiver.wait_for(lambda: len(receiver.stored) == 1)
    many = make(flush_interval=3600, max_batch=10)
    for n in range(10):
        many.gauge("fast", n)
    receiver.wait_for(lambda: len(receiver.stored) == 11)
    assert receiver.values("fast") == list(range(10))


def test_what_piled_up_in_small_flushes_goes_out_in_few_requests(
    make: Make, receiver: Receiver, tmp_path: Path
) -> None:
    is_recorded = threading.Event()
    script = Script(Reply(503, headers={"Retry-After": "1"}), Reply())

    def behave(request: Request) -> Reply | str:
        is_recorded.wait(60)
        return script(request)

    receiver.behave = behave
    client = make(queue_dir=tmp_path, max_batch=100, timeout=60)
    for n in range(150):
        client.gauge("m", n)
        client.flush(0)
    is_recorded.set()
    assert client.flush(60)
    assert receiver.values("m") == list(range(150))
    assert len(receiver.requests) <= 4


def test_a_server_that_asks_for_a_pause_gets_it(make: Make, receiver: Receiver) -> None:
    receiver.behave = Script(Reply(429, headers={"Retry-After": "2"}), Reply())
    client = make()
    client.gauge("m", 1)
    assert not client.flush(0.1)
    until(lambda: "429" in str(client.stats().problem))
    assert client.flush(60)
    first, second = receiver.requests
    assert second.at - first.at >= 2, "hurrying does not shorten what the server asked for"
    assert first.samples == second.samples, "the time is that of recording"
    assert client.stats().problem is None


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 507])
def test_passing_troubles_are_tried_again(make: Make, receiver: Receiver, status: int) -> None:
    receiver.behave = Script(Reply(status, "<html>"), Reply(status), Reply())
    client = make()
    client.gauge("m", 1)
    assert client.flush(60)
    assert len(receiver.requests) == 3
    assert client.stats().sent == 1


def test_a_connection_that_is_cut_after_the_samples_were_stored(
    make: Make, receiver: Receiver
) -> None:
    receiver.behave = Script(CUT, CUT, Reply())
    client = make()
    for n in range(3):
        client.gauge("m", n)
    assert client.flush(60)
    assert len(receiver.requests) == 3
    assert receiver.values("m") == [0, 1, 2], "sent three times, there once"


def test_a_connection_that_the_server_ended_meanwhile_is_no_trouble(
    make: Make, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.behave = lambda request: Reply(hangs_up=True)
    client = make()
    for n in range(5):
        client.gauge("m", n)
        assert client.flush(60)
        time.sleep(0.05)
    assert receiver.values("m") == [0, 1, 2, 3, 4]
    assert caplog.text == ""


def test_by_tls_to_a_server_that_is_trusted_and_no_other(make: Make, tmp_path: Path) -> None:
    of_server, of_client = certificate(tmp_path, "localhost")
    with receiving(Receiver(), tls=of_server) as receiver:
        url = f"{receiver.url}/apm/"
        wary = make(url=url)
        wary.gauge("m", 1)
        assert not wary.flush(1)
        until(lambda: "CERTIFICATE_VERIFY_FAILED" in str(wary.stats().problem))
        trusting = make(url=url, ssl_context=of_client)
        trusting.gauge("m", 2)
        assert trusting.flush(60)
    assert receiver.values("m") == [2]
    assert receiver.requests[0].path == "/apm/api/v1/metrics"


def test_a_slow_server_slows_nobody_down(make: Make, receiver: Receiver) -> None:
    asked, slow = threading.Event(), threading.Event()

    def behave(request: Request) -> Reply:
        asked.set()
        slow.wait(60)
        return Reply()

    receiver.behave = behave
    client, hasty = make(timeout=60, flush_interval=0.05), make(timeout=0.5, flush_interval=0.05)
    client.gauge("m", 0)
    assert asked.wait(60)
    for n in range(1, 200):
        client.gauge("m", n)
    assert (client.stats().sent, client.stats().problem) == (0, None), "nobody waited for it"
    hasty.gauge("other", 1)
    until(lambda: "timed out" in str(hasty.stats().problem))
    slow.set()
    assert client.flush(60)
    assert hasty.flush(60)
    assert receiver.values("m") == list(range(200))


def test_a_body_that_is_too_large_is_halved_until_it_fits(make: Make, receiver: Receiver) -> None:
    def behave(request: Request) -> Reply:
        return Reply(202) if len(request.samples) <= 30 else Reply(413, "<html>nginx</html>")

    receiver.behave = behave
    client = make()
    for n in range(200):
        client.gauge("m", n)
    assert client.flush(60)
    assert receiver.values("m") == list(range(200))
    tried = len(receiver.requests)
    for n in range(200):
        client.gauge("again", n)
    assert client.flush(60)
    assert all(len(request.samples) <= 30 for request in receiver.requests[tried:]), "it learns"
    assert client.stats().sent == 400


def test_a_half_that_fails_makes_the_whole_wait(make: Make, receiver: Receiver) -> None:
    receiver.behave = Script(Reply(413), Reply(), Reply(503), Reply())
    client = make()
    for n in range(4):
        client.gauge("m", n)
    assert client.flush(60)
    assert receiver.values("m") == [0, 1, 2, 3]
    assert client.stats().sent == 4


def test_what_the_server_refuses_is_told_with_its_reason(make: Make, receiver: Receiver) -> None:
    def behave(request: Request) -> Reply:
        at = next(n for n, s in enumerate(request.samples) if s["tags"].get("bad"))
        error = {"index": at, "field": "timestamp", "reason": "lies more than 7 days back"}
        accepted = len(request.samples) - 1
        return Reply(202, {"accepted": accepted, "rejected": 1, "errors": [error]})

    receiver.behave = behave
    told: list[Rejection] = []

    def tell(rejection: Rejection) -> None:
        told.append(rejection)
        raise RuntimeError("a callback of its own kind")

    client = make(on_rejected=tell)
    for n in range(3):
        client.gauge("m", n, tags={"bad": 1} if n == 1 else {})
    assert client.flush(60)
    (rejection,) = told
    assert rejection.sample["value"] == 1
    assert (rejection.field, rejection.reason) == ("timestamp", "lies more than 7 days back")
    stats = client.stats()
    assert (stats.sent, stats.rejected, stats.waiting) == (2, 1, 0)
    receiver.behave = lambda request: Reply(422)
    client.gauge("m", 1)
    assert client.flush(60)
    assert client.stats().rejected == 2


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (Reply(401), "does not take the key"),
        (Reply(403), "does not take the key"),
        (Reply(404, "<html>"), "is the url right"),
        (Reply(301, headers={"Location": "https://apm.example.org/"}), "https://apm.example.org/"),
        (Reply(200, "<html>Welcome to the venue's network</html>"), "is the url right"),
        (Reply(400, "<html>Bad Request</html>"), "is the url right"),
    ],
)
def test_what_a_person_must_set_right_is_said_and_nothing_is_lost(  # noqa: PLR0917
    make: Make,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
    word: str,
    tmp_path: Path,
) -> None:
    receiver.behave = lambda request: reply
    client = make(queue_dir=tmp_path)
    client.gauge("m", 1)
    assert not client.flush(0.3)
    until(lambda: word in str(client.stats().problem))
    until(lambda: word in caplog.text)
    assert "Samples wait on disk" in caplog.text
    tried = len(receiver.requests)
    time.sleep(0.7)
    assert len(receiver.requests) == tried, "it does not insist"
    receiver.behave = lambda request: Reply()
    assert client.flush(60)
    assert receiver.values("m") == [1]


def test_with_a_new_key_what_the_refused_one_queued_is_sent(
    make: Make, receiver: Receiver, tmp_path: Path
) -> None:
    def behave(request: Request) -> Reply:
        return Reply() if request.headers["Authorization"] == "Bearer new" else Reply(401)

    receiver.behave = behave
    old = make(api_key="old", queue_dir=tmp_path)
    old.gauge("m", 1)
    begun = time.monotonic()
    old.close(200)
    assert time.monotonic() - begun < 100, "what is safe on disk does not hold up the end"
    new = make(api_key="new", queue_dir=tmp_path, previous_keys=["old"])
    assert new.flush(60)
    receiver.wait_for(lambda: receiver.values("m") == [1])


def test_when_too_much_waits_the_oldest_goes_and_a_metric_says_so(
    make: Make, receiver: Receiver
) -> None:
    receiver.behave = lambda request: Reply(503)
    client = make(max_batch=100, max_memory_bytes=10_000, flush_interval=3600)
    for n in range(2_500):
        client.gauge("m", n / 7)
    until(lambda: client.stats().dropped.get("queue_full", 0) > 100)
    for n in range(2_500, 5_000):
        client.gauge("m", n / 7)
    until(lambda: client.stats().dropped["queue_full"] > 2_000)
    until(lambda: client.stats().waiting_bytes <= 10_000)
    receiver.behave = lambda request: Reply()
    assert client.flush(60)
    kept = receiver.values("m")
    dropped = client.stats().dropped["queue_full"]
    # The batches that went later told what had gone before, and those samples are counted, too: a
    # line for each batch, and one more for the zero that the total begins with.
    own = len(kept) + dropped - 5_000
    assert 0 <= own <= 5_000 // 100 + 2
    # What was under way is not dropped, though it is older: such batches, and then the newest.
    numbers = [round(value * 7) for value in kept]
    gaps = [at for at, (one, next_one) in enumerate(pairwise(numbers), 1) if next_one != one + 1]
    assert numbers[-1] == 4_999
    assert numbers == sorted(set(numbers))
    assert all(at <= 200 for at in gaps)
    until(lambda: client.flush(60) and receiver.values(DROPPED)[-1:] == [dropped])


def test_a_burst_beyond_the_buffer_drops_the_oldest(make: Make, receiver: Receiver) -> None:
    client = make(max_buffered=50, max_batch=100, flush_interval=3600)
    for n in range(60):
        client.gauge("m", n)
    assert client.flush(60)
    assert receiver.values("m") == list(range(10, 60))
    assert client.stats().dropped == {"buffer_full": 10}
    assert receiver.values(DROPPED) == [0, 10]


@pytest.mark.parametrize(
    "record",
    [
        lambda client: client.gauge("m", float("nan")),
        lambda client: client.gauge("m", "many"),
        lambda client: client.gauge("", 1),
        lambda client: client.gauge("m", 10**400),
        lambda client: client.gauge("m", 1, tags=7),
        lambda client: client.gauge("m", 1, at="soon"),
        lambda client: client.gauge("m", 1, at=float("inf")),
        lambda client: client.count("m", -1),
        lambda client: client.count("m", None),
        lambda client: client.timing(None, 1),
    ],
)
def test_nothing_that_is_recorded_raises(
    make: Make, receiver: Receiver, record: Callable[[Client], None]
) -> None:
    client = make()
    record(client)
    client.gauge("good", 1)
    assert client.flush(60)
    assert client.stats().dropped == {"invalid": 1}
    assert receiver.values("good") == [1]


def test_many_threads_at_once_lose_and_mix_nothing(make: Make, receiver: Receiver) -> None:
    client = make(max_batch=100, flush_interval=0.05)

    def work(number: int) -> None:
        for n in range(500):
            client.gauge("m", number * 1_000 + n)
            client.count("calls_total")
            if n % 100 == 0:
                client.flush(60)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(60)
    expected = sorted(number * 1_000 + n for number in range(6) for n in range(500))
    assert sorted(receiver.values("m")) == expected
    totals = receiver.values("calls_total")
    assert totals == sorted(totals)
    assert totals[-1] == 3_000


def test_a_signal_handler_may_record_while_the_program_is_recording(
    make: Make, receiver: Receiver
) -> None:
    client = make(max_batch=10)
    rang = 0

    def ring(*_: object) -> None:
        nonlocal rang
        rang += 1
        client.gauge("signals", 1)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        begun = time.monotonic()
        while (spent := time.monotonic() - begun) < 1 or (rang <= 100 and spent < 60):
            client.gauge("m", 1)
            time.sleep(0.0001)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert client.flush(60)
    assert len(receiver.values("signals")) > 50


def test_after_the_end_nothing_is_taken_and_nothing_raises(make: Make, receiver: Receiver) -> None:
    with make() as client:
        client.gauge("m", 1)
    client.gauge("m", 2)
    client.close()
    assert client.flush(1)
    assert receiver.values("m") == [1]
    assert client.stats().dropped == {"closed": 1}


def test_arguments_that_cannot_be_are_told_at_once() -> None:
    for more in (
        {"url": "apm.example.org"},
        {"api_key": "a\nb"},
        {"service_name": ""},
        {"tags": {"": "x"}},
        {"flush_interval": 0},
        {"max_batch": 0},
        {"max_disk_bytes": 10},
    ):
        arguments: dict[str, Any] = {
            "url": "https://apm.example.org", "api_key": "key", "service_name": "shop"
        }  # fmt: skip
        with pytest.raises(ValueError, match=r"must|tag"):
            Client(**arguments | more)


def test_a_key_is_in_no_representation_and_no_log(
    make: Make, receiver: Receiver, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    receiver.behave = lambda request: Reply(401)
    client = make(api_key="a-secret-key", queue_dir=tmp_path)
    client.gauge("m", 1)
    client.flush(0.3)
    assert "a-secret-key" not in repr(client) + caplog.text + str(client.stats())
    assert not any("a-secret-key" in str(path) for path in tmp_path.rglob("*"))


# Processes of their own, as they are killed, forked and ended.

PROGRAM = """
import os, sys, time
from wedsync_apm.client import Client
client = Client(sys.argv[1], "key", service_name="shop", queue_dir=sys.argv[2] or None,
                flush_interval=0.05, exit_timeout=float(os.environ.get("EXIT_TIMEOUT", "2")))
"""


@contextmanager
def program(receiver_url: str, queue_dir: Path | str, text: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + text, receiver_url, str(queue_dir)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_killed_at_any_moment_all_that_was_on_disk_is_delivered_once_the_server_is_back(
    tmp_path: Path,
) -> None:
    text = """
for n in range(100_000):
    client.gauge("m", n)
    client.flush(0)  # puts it on disk
    print(n, flush=True)
"""
    port = free_port()
    last = -1
    for _ in range(3):
        with program(f"http://127.0.0.1:{port}", tmp_path, text) as process:
            assert process.stdout is not None
            for line in process.stdout:
                last = int(line)
                if last >= 40:
                    process.send_signal(signal.SIGKILL)
                    break
            process.wait(60)
            on_disk = last
    receiver, url = Receiver(), f"http://127.0.0.1:{port}"
    with receiving(receiver, port), program(url, tmp_path, "assert client.flush(60)") as process:
        assert process.wait(60) == 0
    values = receiver.values("m")
    for n in range(on_disk + 1):
        assert values.count(n) == 3, f"{n} was recorded by three processes"
    assert list(tmp_path.rglob("*.seg")) == []


def test_processes_that_share_a_folder_mix_and_lose_nothing_when_they_are_killed(
    tmp_path: Path,
) -> None:
    text = """
print("begun", flush=True)
for n in range(100_000):
    client.gauge("m", n, tags={"pid": os.getpid()})
    client.flush(0)
    print(n, flush=True)
"""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    written: dict[str, int] = {}
    with ExitStack() as stack:
        processes = [stack.enter_context(program(url, tmp_path, text)) for _ in range(3)]
        for process in processes:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == "20":
                    break
        for process in processes:
            process.send_signal(signal.SIGKILL)
            assert process.stdout is not None
            written[str(process.pid)] = int((process.stdout.readlines() or ["20"])[-1])
    receiver = Receiver()
    with receiving(receiver, port), program(url, tmp_path, "client.flush(0); time.sleep(60)"):
        until(lambda: not list(tmp_path.rglob("*.seg")))
    for pid, last in written.items():
        values = [v for key, v in receiver.stored.items() if f'"{pid}"' in key[2]]
        # The kill may have come between the disk and the line that tells of it.
        assert sorted(values) in (list(range(last + 1)), list(range(last + 2)))


def test_at_the_end_of_the_program_the_rest_is_sent(receiver: Receiver) -> None:
    with program(receiver.url, "", "client.gauge('m', 1); client.count('n_total')") as process:
        assert process.wait(60) == 0
    assert receiver.values("m") == [1]
    assert receiver.values("n_total") == [0, 1]


@pytest.mark.parametrize(("with_folder", "exit_timeout"), [(True, 600), (False, 2)])
def test_the_end_of_the_program_is_not_held_up_by_a_server_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_folder: bool, exit_timeout: int
) -> None:
    monkeypatch.setenv("EXIT_TIMEOUT", str(exit_timeout))
    text = "client.gauge('m', 1); print('recorded', flush=True)"
    folder = tmp_path if with_folder else ""
    with program(f"http://127.0.0.1:{free_port()}", folder, text) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.wait(60) == 0
    assert len(list(tmp_path.rglob("*.seg"))) == with_folder


def test_a_forked_child_sends_its_own_and_nothing_of_its_parents(
    receiver: Receiver, tmp_path: Path
) -> None:
    text = """
client.count("n_total", 5)
for n in range(100):
    client.gauge("m", n, tags={"who": "parent"})
children = []
for child in range(3):
    pid = os.fork()
    if pid == 0:
        for n in range(100):
            client.gauge("m", n, tags={"who": child})
        client.count("n_total", 1)
        assert client.flush(60)
        client.close()
        os._exit(0)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
assert client.flush(60)
assert client.stats().dropped == {}
"""
    with program(receiver.url, tmp_path, text) as process:
        assert process.wait(60) == 0
    assert sorted(receiver.values("m")) == sorted(list(range(100)) * 4)
    assert (
        sum(len([s for s in r.samples if s["metric_name"] == "m"]) for r in receiver.requests)
        == 400
    )
    instances = {key[2] for key in receiver.stored if key[1] == "n_total"}
    assert len(instances) == 4, "each process counts for itself"
    assert list(tmp_path.rglob("*.seg")) == []


def test_a_fork_in_the_middle_of_everything_blocks_neither_side(
    receiver: Receiver, tmp_path: Path
) -> None:
    text = """
import threading
def work():
    while True:
        client.gauge("m", 1)
        client.flush(0)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
for child in range(20):
    pid = os.fork()
    if pid == 0:
        client.gauge("child", child)
        os._exit(0 if client.flush(60) else 1)
    assert os.waitpid(pid, 0)[1] == 0
os._exit(0)
"""
    with program(receiver.url, tmp_path, text) as process:
        assert process.wait(60) == 0
    assert receiver.values("child") == list(range(20))


def test_without_threads_what_was_recorded_still_gets_to_the_disk(
    make: Make, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    client = make(queue_dir=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        client.gauge("m", 1)
        client.close()
    assert receiver.values("m") == []
    assert make(queue_dir=tmp_path).flush(60)
    assert receiver.values("m") == [1]


def test_a_signal_handler_that_ends_the_client_ends_the_program(
    receiver: Receiver, tmp_path: Path
) -> None:
    text = """
import signal
def end(*_):
    client.close(5)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
while True:
    client.gauge("m", 1)
    client.flush(0)
"""
    for n in range(8):
        with program(receiver.url, tmp_path / str(n), text) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.05 + n / 100)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def test_a_signal_handler_that_ends_the_program_costs_what_it_interrupts_at_most(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXIT_TIMEOUT", "15")
    text = """
import signal
def end(*_):
    raise SystemExit
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
n = 0
try:
    while True:
        client.gauge("m", n, tags={"queue": sys.argv[2]})
        n += 1
        client.flush(0)
finally:
    print(n, flush=True)
"""
    for n in range(8):
        with program(receiver.url, tmp_path / str(n), text) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.05 + n / 100)
            process.send_signal(signal.SIGTERM)
            recorded = int(process.stdout.readline())
            assert process.wait(60) == 0
        sent = {v for key, v in receiver.stored.items() if f'{tmp_path / str(n)}"' in key[2]}
        assert set(range(recorded - 1)) <= sent, "only what it was just about to write may be gone"
        assert list((tmp_path / str(n)).rglob("*.seg")) == []
