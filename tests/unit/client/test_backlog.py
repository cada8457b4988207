"""What waits: on disk across processes, bounded, never mixed between keys."""

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wedsync_apm.client.backlog import Backlog, Entry
from wedsync_apm.client.folder import Folder, fingerprint
from wedsync_apm.client.samples import Packed

Make = Callable[..., Backlog]


@pytest.fixture
def drops() -> dict[str, int]:
    return {}


@pytest.fixture
def make(tmp_path: Path, drops: dict[str, int]) -> Iterator[Make]:
    opened = []

    def made(key: str = "key", *, older: tuple[str, ...] = (), disk: int = 2**20) -> Backlog:
        def on_drop(count: int, reason: str) -> None:
            drops[reason] = drops.get(reason, 0) + count

        backlog = Backlog(
            Folder(tmp_path / "queue", key, older),
            most_memory_bytes=1_000,
            most_disk_bytes=disk,
            on_drop=on_drop,
        )
        backlog.open()
        opened.append(backlog)
        return backlog

    yield made
    for backlog in opened:
        backlog.abandon()


def batch(number: int, size: int = 20) -> Packed:
    return Packed(1, random.Random(number).randbytes(size))  # noqa: S311 - the same each time


def first(backlog: Backlog, most_samples: int = 1) -> tuple[Entry, ...]:
    return backlog.first(most_samples, 0, lambda: True)


def drain(backlog: Backlog) -> list[Packed]:
    found = []
    while entries := first(backlog):
        one = backlog.read(*entries)
        if one is not None:
            found.append(one)
            backlog.settle(*entries)
    return found


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.seg"))


def test_in_the_order_in_which_they_came_and_the_disk_is_empty_afterwards(
    make: Make, tmp_path: Path
) -> None:
    backlog = make()
    for n in range(5):
        backlog.append(batch(n))
    assert backlog.waiting()[0] == 5
    assert backlog.is_on_disk
    assert drain(backlog) == [batch(n) for n in range(5)]
    assert files(tmp_path) == []
    assert backlog.waiting() == (0, 0)


def test_the_next_process_finds_what_was_left_and_a_torn_end_costs_nothing_else(
    make: Make, tmp_path: Path
) -> None:
    before = make()
    for n in range(3):
        before.append(batch(n))
    before.abandon()  # as the kernel does at kill -9
    (left,) = files(tmp_path)
    with left.open("ab") as file:
        file.write(b"WSQ1\x10\x00")
    second = make()
    second.append(batch(3))
    assert drain(second) == [batch(n) for n in range(4)]
    assert files(tmp_path) == []


def test_what_was_settled_of_a_segment_is_sent_again_after_a_crash_at_most(make: Make) -> None:
    left = make()
    for n in range(3):
        left.append(batch(n))
    left.settle(*first(left))
    left.abandon()
    assert drain(make()) == [batch(n) for n in range(3)]


def test_processes_have_a_slot_each_and_take_over_what_ended_ones_left(make: Make) -> None:
    one, two, three = make(), make(), make()
    assert len({backlog.instance for backlog in (one, two, three)}) == 3
    for n, backlog in enumerate((one, two, three)):
        backlog.append(batch(n))
    three.abandon()
    assert drain(two) == [batch(1), batch(2)], "its own first, then the orphan's; not the living's"
    assert drain(one) == [batch(0)]
    four = make()
    assert four.instance == three.instance
    assert drain(four) == []


def test_what_one_key_queued_is_not_sent_with_another_unless_it_is_named(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    old = make("old key")
    old.append(batch(1))
    old.abandon()
    other = make("another organization's key")
    assert drain(other) == []
    assert fingerprint("old key") in caplog.text
    assert "old key" not in caplog.text.replace(fingerprint("old key"), "")
    by_key, by_name = make("new", older=("old key",)), make("new", older=(fingerprint("old key"),))
    assert drain(by_key) == [batch(1)]
    assert drain(by_name) == []


def test_over_the_limit_the_oldest_goes_and_is_counted(
    make: Make, drops: dict[str, int], tmp_path: Path
) -> None:
    backlog = make()
    for n in range(300):
        backlog.append(batch(n, 10_000))
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 2**20
    kept = drain(backlog)
    assert kept == [batch(n, 10_000) for n in range(300 - len(kept), 300)]
    assert drops == {"queue_full": 300 - len(kept)}
    assert len(kept) > 80, "no more is dropped than the limit makes necessary"


def test_what_is_being_sent_is_not_dropped(make: Make, drops: dict[str, int]) -> None:
    backlog = make()
    backlog.append(batch(0, 10_000))
    (entry,) = first(backlog)
    for n in range(1, 300):
        backlog.append(batch(n, 10_000))
    assert drops
    assert backlog.read(entry) == batch(0, 10_000)
    backlog.settle(entry)


def test_small_batches_go_together_up_to_a_number_of_samples(make: Make) -> None:
    backlog = make()
    for count in (3, 3, 3, 10, 1):
        backlog.append(Packed(count, b"x"))
    taken = []
    while entries := first(backlog, 7):
        taken.append([entry.count for entry in entries])
        backlog.settle(*entries)
    assert taken == [[3, 3], [3], [10], [1]]


def test_a_lower_limit_at_the_next_start_holds_at_once(make: Make, drops: dict[str, int]) -> None:
    before = make(disk=2**22)
    for n in range(300):
        before.append(batch(n, 10_000))
    before.abandon()
    assert drops == {}
    second = make()
    assert second.waiting()[1] <= 2**20
    assert drops["queue_full"] + second.waiting()[0] == 300


def test_on_a_full_disk_samples_wait_in_memory_the_oldest_going_first(
    make: Make, monkeypatch: pytest.MonkeyPatch, drops: dict[str, int]
) -> None:
    backlog = make()
    backlog.append(batch(0))
    write, is_full = os.write, True

    def half(descriptor: int, data: bytes) -> int:
        if not is_full or len(data) < 30:
            return write(descriptor, data)
        if len(data) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:50])

    monkeypatch.setattr(os, "write", half)
    for n in range(1, 11):
        backlog.append(batch(n, 120))
    assert not backlog.is_on_disk
    is_full = False
    backlog.append(batch(11))
    assert drops == {"queue_full": 2}, "a thousand bytes are eight of them"
    assert drain(backlog) == [batch(0), *(batch(n, 120) for n in range(3, 11)), batch(11)]


def test_half_a_record_of_a_full_disk_hides_nothing_from_the_next_process(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make()
    before.append(batch(0))
    with monkeypatch.context() as patch:
        write = os.write
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "gone")))
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
        before.append(batch(1), batch(2))
    before.append(batch(3), batch(4))
    before.abandon()
    assert drain(make()) == [batch(0), batch(3), batch(4)]


def test_a_folder_that_cannot_be_made_costs_the_disk_only(
    tmp_path: Path, drops: dict[str, int]
) -> None:
    (tmp_path / "queue").write_text("a file where a folder should be")
    backlog = Backlog(
        Folder(tmp_path / "queue", "key", ()),
        most_memory_bytes=1_000,
        most_disk_bytes=2**20,
        on_drop=lambda count, reason: None,
    )
    backlog.open()
    backlog.append(batch(1))
    assert backlog.instance is None
    assert drain(backlog) == [batch(1)]


def test_a_file_that_somebody_damages_or_removes_is_counted(
    make: Make, tmp_path: Path, drops: dict[str, int]
) -> None:
    backlog = make()
    backlog.append(batch(1))
    files(tmp_path)[0].write_bytes(b"rubbish" * 20)
    assert drain(backlog) == []
    backlog.append(batch(2))
    files(tmp_path)[0].unlink()
    assert drain(backlog) == []
    assert drops == {"unreadable": 2}


def test_nobody_else_may_read_the_queue(make: Make, tmp_path: Path) -> None:
    make().append(batch(1))
    (segment,) = files(tmp_path)
    assert segment.stat().st_mode & 0o777 == 0o600
    assert segment.parent.stat().st_mode & 0o777 == 0o700


class Crashes(RuleBasedStateMachine):
    """One process after the other, each killed in the middle, its last write torn or not."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.recorded: list[Packed] = []
        self.waiting: list[Packed] = []
        self.settled: list[Packed] = []
        self.start()

    def start(self) -> None:
        self.backlog = Backlog(
            Folder(self.folder.name, "key", ()),
            most_memory_bytes=1_000,
            most_disk_bytes=2**23,
            on_drop=lambda count, reason: pytest.fail(f"{count} dropped: {reason}"),
        )
        self.backlog.open()

    @rule(sizes=st.lists(st.sampled_from([1, 50, 70_000]), min_size=1, max_size=3))
    def append(self, sizes: list[int]) -> None:
        some = [batch(len(self.recorded) + n, size) for n, size in enumerate(sizes)]
        self.recorded += some
        self.waiting += some
        self.backlog.append(*some)

    @precondition(lambda self: self.waiting)
    @rule(most_samples=st.integers(1, 3))
    def send(self, most_samples: int) -> None:
        entries = first(self.backlog, most_samples)
        assert [self.backlog.read(entry) for entry in entries] == self.waiting[: len(entries)]
        self.backlog.settle(*entries)
        self.settled += self.waiting[: len(entries)]
        del self.waiting[: len(entries)]

    @rule(torn=st.binary(max_size=30))
    def crash(self, torn: bytes) -> None:
        self.backlog.abandon()
        left = files(Path(self.folder.name))
        if left:
            with left[-1].open("ab") as file:
                file.write(torn)
        self.start()
        found = [self.backlog.read(entry) for entry in self.backlog._entries]
        again = found[: len(found) - len(self.waiting)]
        assert found[len(again) :] == self.waiting, "all that was not sent, in its order"
        assert again == self.settled[len(self.settled) - len(again) :], "nothing but the latest"
        self.waiting = again + self.waiting  # type: ignore[assignment]

    @invariant()
    def disk_is_empty_when_nothing_waits(self) -> None:
        assert bool(files(Path(self.folder.name))) == bool(self.waiting)

    def teardown(self) -> None:
        self.backlog.abandon()
        self.folder.cleanup()


Crashes.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy disk takes its time to sync
)
TestCrashes = Crashes.TestCase
