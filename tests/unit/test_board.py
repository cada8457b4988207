"""What processes that serve together see of each other, without processes."""

import os
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wedsync_apm.api.published import Published
from wedsync_apm.board import MOST_PUBLISHED_BYTES, Board
from wedsync_apm.ingest.shared_budget import SharedBudget
from wedsync_apm.telemetry import Counter, Gauge, Histogram, render_prometheus

WORK = Counter("test_board_work_total", "For these tests", ("kind",))
WAITING = Gauge("test_board_waiting", "For these tests")
WHOLE = Gauge("test_board_whole", "For these tests", of_all=True)
TOOK = Histogram("test_board_seconds", "For these tests", buckets=(1.0, 2.0))


class Accepting(RuleBasedStateMachine):
    """Two processes that accept whenever it is their turn, in any order."""

    def __init__(self) -> None:
        super().__init__()
        board = Board(2)
        self.seats = [board.seat(0), board.seat(1)]
        for seat in self.seats:
            seat.own.beat()

    @rule(which=st.integers(0, 1))
    def accept(self, which: int) -> None:
        seat = self.seats[which]
        seat.own.beat()
        seat.others[0].beat()
        if not seat.is_ahead:
            seat.own.connections += 1

    @invariant()
    def differs_by_one_at_most(self) -> None:
        first, second = (seat.own.connections for seat in self.seats)
        assert abs(first - second) <= 1


TestAccepting = Accepting.TestCase


def test_nobody_waits_for_a_process_that_has_left() -> None:
    board = Board(2)
    assert [place.is_new for place in board.places] == [True, True]
    board.places[1].beat()
    board.places[0].connections = 1
    assert board.seat(0).is_ahead
    board.places[1].leave()
    assert not board.seat(0).is_ahead
    assert [place.is_new for place in board.places] == [True, False]


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_what_is_published_last_is_read(texts: list[bytes]) -> None:
    place = Board(1).places[0]
    for text in texts:
        place.publish(text)
    assert place.published() == (texts[-1] if texts else b"")


def test_another_process_reads_what_this_one_published() -> None:
    board = Board(2)
    board.places[1].publish(b"x" * MOST_PUBLISHED_BYTES)
    pid = os.fork()
    if pid == 0:
        os._exit(int(board.places[1].published() != b"x" * MOST_PUBLISHED_BYTES))
    assert os.waitpid(pid, 0)[1] == 0
    with pytest.raises(ValueError, match="there is room for"):
        board.places[1].publish(b"x" * (MOST_PUBLISHED_BYTES + 1))


def test_a_publication_cut_short_by_death_leaves_the_one_before() -> None:
    place = Board(1).places[0]
    place.publish(b"whole")
    place._halves[0][:4] = b"half"  # the process died before it turned the page
    assert place.published() == b"whole"


def test_telemetry_adds_up_what_several_have_done() -> None:
    board = Board(2)
    first, second = Published(board.seat(0)), Published(board.seat(1))
    WORK.inc(2, kind="a")
    WAITING.set(5)
    WHOLE.set(1)
    TOOK.observe(1.5)
    second.tick(dict)  # in this test both have the same registry
    lines = render_prometheus(first.snapshots_elsewhere()).splitlines()
    assert 'test_board_work_total{kind="a"} 4' in lines
    assert "test_board_waiting 10" in lines
    assert "test_board_whole 1" in lines
    assert 'test_board_seconds_bucket{le="1"} 0' in lines
    assert 'test_board_seconds_bucket{le="2"} 2' in lines
    assert "test_board_seconds_sum 3" in lines
    board.places[1].leave()
    lines = render_prometheus(first.snapshots_elsewhere()).splitlines()
    assert 'test_board_work_total{kind="a"} 4' in lines, "what it did stays done"
    assert "test_board_waiting 5" in lines, "what waited in it is gone"


def test_streams_elsewhere_are_counted_while_their_process_is_heard() -> None:
    board, organization = Board(2), uuid4()
    Published(board.seat(1)).tick(lambda: {organization: 3})
    here = Published(board.seat(0))
    assert here.streams_elsewhere(organization) == 3
    assert here.streams_elsewhere(uuid4()) == 0
    board.places[1].leave()
    assert here.streams_elsewhere(organization) == 0


def test_revocations_only_grow_and_are_everybodys() -> None:
    board = Board(2)
    board.seat(0).note_revocation()
    board.seat(1).note_revocation()
    board.places[0].leave()
    assert board.seat(0).revocations == board.seat(1).revocations == 2


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_shared_budget_is_one_for_all_processes() -> None:
    clock, organization = Clock(), uuid4()
    budget = SharedBudget(100, 500, clock)
    pid = os.fork()
    if pid == 0:
        os._exit(int(budget.take(organization, 550) != 0))
    assert os.waitpid(pid, 0)[1] == 0
    assert budget.take(organization, 1) == pytest.approx(0.5)
    assert budget.take(uuid4(), 1) == 0
    clock.now += 0.6
    assert budget.take(organization, 1) == 0


@given(st.lists(st.integers(0, 40), max_size=200))
def test_no_organization_is_ever_charged_for_another(order: list[int]) -> None:
    clock = Clock()
    budget = SharedBudget(1, 10, clock, entries=16)  # too small for all of them
    spent: dict[int, int] = {}
    for number in order:
        taken = budget.take(UUID(int=number + 1), 1) == 0
        spent[number] = spent.get(number, 0) + taken
        assert taken or spent[number] >= 10


def test_a_bucket_that_is_full_again_makes_room() -> None:
    clock = Clock()
    budget = SharedBudget(1, 1, clock, entries=1)
    first, second = uuid4(), uuid4()
    assert budget.take(first, 5) == 0
    assert budget.take(second, 5) == 0  # no room to remember it
    assert budget.take(first, 1) == pytest.approx(4)
    clock.now += 6
    assert budget.take(second, 5) == 0
    assert budget.take(second, 1) == pytest.approx(4)
