"""Which time is shown, which earlier one beside it, and what variables stand for."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.dashboards.calendar import Part, Wedding, next_part
from wedsync_apm.dashboards.model import Compare, Figure, Span, Variable, Window
from wedsync_apm.dashboards.tables import safe_cell, write_csv
from wedsync_apm.dashboards.variables import choose, fill, filled, names_in
from wedsync_apm.dashboards.window import back_to, show
from wedsync_apm.errors import NotValid
from wedsync_apm.metrics.ranges import Aggregation

LONDON = ZoneInfo("Europe/London")
HOUR = timedelta(hours=1)


def wedding(number: int, begins: datetime, ceremony: datetime | None = None) -> Wedding:
    parts = [Part("set_up", begins, begins + HOUR)]
    if ceremony:
        parts.append(Part("ceremony", ceremony, ceremony + HOUR))
    parts.append(Part("tear_down", begins + 9 * HOUR, begins + 10 * HOUR))
    day: date = begins.astimezone(LONDON).date()
    return Wedding(UUID(int=number), "A & R", None, "", "Europe/London", day, tuple(parts))


@given(st.sampled_from([*Span]), st.floats(1.7e9, 1.9e9))
def test_a_range_ends_with_the_step_that_goes_on(span: Span, at: float) -> None:
    now = datetime.fromtimestamp(at, UTC)
    shown = show(Window(span=span), now)
    assert now < shown.end <= now + shown.step
    assert shown.end - shown.begin == span.length
    assert shown.begin.timestamp() % shown.step.total_seconds() == 0
    assert shown.count <= 300


def test_a_range_of_ones_own_has_whole_steps() -> None:
    begin = datetime(2026, 6, 20, 12, 0, 7, tzinfo=UTC)
    shown = show(Window(), begin + 9 * HOUR, fixed=(begin, begin + 2 * HOUR))
    assert shown.step == timedelta(seconds=30)
    assert shown.begin <= begin
    assert shown.end >= begin + 2 * HOUR
    with pytest.raises(NotValid):
        show(Window(), begin, fixed=(begin, begin))


@pytest.mark.parametrize(
    ("now", "then"),
    [
        # a Wednesday, and a Saturday itself
        (datetime(2026, 6, 24, 15, 0, tzinfo=LONDON), datetime(2026, 6, 20, 15, 0, tzinfo=LONDON)),
        (datetime(2026, 6, 27, 15, 0, tzinfo=LONDON), datetime(2026, 6, 20, 15, 0, tzinfo=LONDON)),
        # the clocks went back on Sunday 25 October
        (datetime(2026, 10, 27, 9, 0, tzinfo=LONDON), datetime(2026, 10, 24, 9, 0, tzinfo=LONDON)),
    ],
)
def test_last_saturday_is_the_same_hour_by_the_clock(now: datetime, then: datetime) -> None:
    shown = show(Window(span=Span.HOUR, compare=Compare.LAST_SATURDAY), now)
    assert back_to(shown, now, "Europe/London", []) == now.astimezone(UTC) - then.astimezone(UTC)


def test_a_ceremony_is_laid_upon_the_one_before() -> None:
    before = datetime(2026, 6, 13, 11, 0, tzinfo=LONDON)
    today = datetime(2026, 6, 20, 9, 0, tzinfo=LONDON)
    weddings = [
        wedding(1, before, before + 3 * HOUR),
        wedding(2, today, today + 4 * HOUR + timedelta(minutes=30)),
    ]
    now = today + 2 * HOUR
    shown = show(Window(span=Span.SIX_HOURS, compare=Compare.LAST_WEDDING), now)
    between = (today + timedelta(hours=4, minutes=30)) - (before + 3 * HOUR)
    assert back_to(shown, now, "Europe/London", weddings) == between
    # on any other day the same hour of the wedding's day
    wednesday = datetime(2026, 6, 24, 15, 0, tzinfo=LONDON)
    shown = show(Window(span=Span.HOUR, compare=Compare.LAST_WEDDING), wednesday)
    assert back_to(shown, wednesday, "Europe/London", weddings) == timedelta(days=4)
    assert back_to(shown, wednesday, "Europe/London", []) is None
    assert back_to(shown, wednesday, "Europe/London", weddings[1:]) == timedelta(days=4)
    first = show(Window(span=Span.HOUR, compare=Compare.LAST_WEDDING), before + 2 * HOUR)
    assert back_to(first, before + 2 * HOUR, "Europe/London", weddings) is None


def test_the_part_that_begins_next() -> None:
    begins = datetime(2026, 6, 20, 9, 0, tzinfo=LONDON)
    one = wedding(1, begins, begins + 4 * HOUR)
    found = next_part([one], begins + 2 * HOUR)
    assert found is not None
    assert found[1].phase == "ceremony"
    assert next_part([one], begins + 11 * HOUR) is None


VARIABLES = (
    Variable(name="region", tag="region"),
    Variable(name="what", values=("time", "errors"), default="time"),
)


def test_variables_stand_for_what_was_chosen() -> None:
    figure = Figure(
        metric="forms.$what", agg=Aggregation.P95, tags={"region": "$region", "is": "a$$b"}
    )
    everything = filled(figure, choose(VARIABLES, {}))
    assert (everything.metric, everything.tags) == ("forms.time", {"is": "a$b"})
    narrow = filled(figure, choose(VARIABLES, {"region": "eu", "what": "errors"}))
    assert (narrow.metric, narrow.tags) == ("forms.errors", {"region": "eu", "is": "a$b"})
    assert choose(VARIABLES, {"what": "zoo", "more": "x"}) == {"region": "", "what": "time"}


@given(st.text(max_size=40), st.text(max_size=20))
def test_what_was_chosen_is_never_read_as_a_variable(text: str, value: str) -> None:
    assert fill("$region", {"region": value}) == value
    assert names_in(text.replace("$", "$$")) == set()
    assert fill(text.replace("$", "$$"), {"region": value}) == text


@given(st.text(max_size=20))
def test_no_cell_is_a_formula(text: str) -> None:
    cell = safe_cell(text)
    assert cell in (text, f"'{text}")
    if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
        float(cell)


def test_a_table_is_written_as_csv() -> None:
    assert write_csv([["time", "=x"], ["1", "-4.5"]]) == "time,'=x\r\n1,-4.5\r\n"
