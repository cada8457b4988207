"""A rota's form and the rotations behind it, and a week as people read it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.browser.preview_reach import FERN, LONG, MO, PEOPLE, Typed, turn
from wedsync_apm.escalation.schedules.model import find_present
from wedsync_apm.web.build.on_call import Reader, gaps_of, join_turns
from wedsync_apm.web.build.readiness import build_readiness
from wedsync_apm.web.build.rota import (
    EVERY,
    WEEKENDS,
    build_preview,
    form_of,
    mark_of,
    new_form,
    read_rota,
    rota_lines,
    values_of,
)
from wedsync_apm.web.build.weeks import Week, read_week, week_words
from wedsync_apm.web.views.on_call import RotaForm

LONDON = "Europe/London"
NOW = datetime(2026, 6, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
people = st.lists(st.sampled_from([str(FERN), str(MO), str(LONG)]), min_size=1, max_size=5)
clocks = st.times().map(lambda at: f"{at:%H:%M}")
forms = st.builds(
    RotaForm,
    name=st.just("Week"),
    people=people.map(tuple),
    every=st.sampled_from(sorted(EVERY)),
    handover=clocks,
    starts_on=st.dates(date(2000, 1, 3), date(2099, 12, 31)).map(str),
    time_zone=st.just(LONDON),
    weekend=st.sampled_from(WEEKENDS),
    weekend_from=clocks,
    weekend_until=clocks,
    weekend_people=people.map(tuple),
)


@given(forms)
def test_a_rota_that_the_form_made_opens_in_it_again(form: RotaForm) -> None:
    values = values_of(form)
    again = form_of({**values, "layers": values["layers"]})
    assert again is not None
    assert values_of(again) == values
    assert mark_of(values_of(again)) == mark_of(values)
    assert rota_lines(again, PEOPLE) == rota_lines(form, PEOPLE)


@given(forms, st.sampled_from(["from_time", "shift_days", "weekdays", "starts_on"]))
def test_a_rota_of_another_shape_does_not(form: RotaForm, name: str) -> None:
    others: dict[str, Any] = {
        "from_time": "03:21", "shift_days": 14, "weekdays": [2], "starts_on": "1990-01-01",
    }  # fmt: skip
    values = values_of(form)
    changed = [dict(one) for one in values["layers"]]
    # the last one may begin on any day
    changed[0 if name == "starts_on" else -1][name] = others[name]
    again = form_of({**values, "layers": changed})
    assert again is None or values_of(again)["layers"] == changed


@given(st.dictionaries(st.sampled_from(sorted(RotaForm.__dataclass_fields__)), st.text()))
def test_no_text_is_an_error_of_ours(typed: dict[str, str]) -> None:
    fields = {name: [text] for name, text in typed.items()}
    form = read_rota(Typed(**fields), PEOPLE)
    assert form.errors, "a rota needs at least its people"


def test_whoever_has_a_weekend_has_all_of_it_over_the_clock_change() -> None:
    now = datetime(2026, 10, 19, 12, tzinfo=UTC)
    form = RotaForm(
        name="Week", people=(str(FERN),), starts_on="2026-01-05", time_zone=LONDON,
        weekend="long", weekend_people=(str(MO), str(LONG)),
    )  # fmt: skip
    preview = build_preview(values_of(form), PEOPLE, FERN, now)
    lines = [(who, span) for who, span, is_gap in preview.lines if not is_gap]
    assert len(lines) == len(preview.lines)
    assert lines[1] == (PEOPLE.names[LONG], "Fri 23 Oct 18:00 to Mon 26 Oct 09:00")
    assert lines[2] == ("You", "Mon 26 Oct 09:00 to Fri 30 Oct 18:00")
    assert lines[3][0] == PEOPLE.names[MO], "the weekends take turns, too"


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 6, 15, 0, 1, tzinfo=UTC),
        datetime(2026, 6, 15, 8, 0, tzinfo=UTC),
        datetime(2026, 6, 21, 22, 30, tzinfo=UTC),
        datetime(2026, 6, 21, 23, 30, tzinfo=UTC),
    ],
)
def test_a_new_rota_leaves_nobody_out_now(now: datetime) -> None:
    form = new_form(now, LONDON, FERN)
    preview = build_preview(values_of(form), PEOPLE, FERN, now)
    assert [is_gap for _, _, is_gap in preview.lines] == [False]


def test_a_week_of_the_clock_change_has_an_hour_more() -> None:
    week = Week(date(2026, 10, 19), LONDON)
    assert week.ends.timestamp() - week.begins.timestamp() == (7 * 24 + 1) * 3600
    assert (week.place(week.begins), week.place(week.ends)) == (0, 1000)
    assert week.clock(datetime(2026, 10, 25, 23, tzinfo=UTC)) == "Sun 23:00"
    assert week_words(week) == "Mon 19 to Sun 25 October"
    assert week_words(Week(date(2026, 6, 29), LONDON)) == "Mon 29 June to Sun 5 July"


@pytest.mark.parametrize("text", [None, "", "soon", "2026-13-01"])
def test_what_is_no_day_is_this_week(text: str | None) -> None:
    assert read_week(text, NOW, LONDON).monday == date(2026, 6, 15)


@pytest.mark.parametrize("text", ["0001-01-01", "9999-12-31"])
def test_the_calendar_has_ends(text: str) -> None:
    week = read_week(text, NOW, LONDON)
    assert week.monday.weekday() == 0
    assert week.begins < week.ends


def test_turns_that_follow_each_other_are_one_and_gaps_are_between_them() -> None:
    week = Week(date(2026, 6, 15), LONDON)
    begins = week.begins.astimezone(UTC)
    turns = [
        turn(FERN, begins - HOUR, begins + HOUR),
        turn(FERN, begins + HOUR, begins + 2 * HOUR),
        turn(MO, begins + 2 * HOUR, begins + 3 * HOUR),
        turn(MO, begins + 4 * HOUR, week.ends + HOUR),
    ]
    joined = join_turns(reversed(turns))
    assert [(one.user_id, one.ends_at - begins) for one in joined[:2]] == [
        (FERN, 2 * HOUR),
        (MO, 3 * HOUR),
    ]
    assert gaps_of(joined, week) == [(begins + 3 * HOUR, begins + 4 * HOUR)]


def test_one_who_follows_himself_has_not_been_relieved() -> None:
    turns = [
        turn(FERN, NOW - HOUR, NOW + HOUR),
        turn(FERN, NOW + HOUR, NOW + 2 * HOUR),
        turn(MO, NOW + 2 * HOUR, NOW + 3 * HOUR),
    ]
    present = find_present(turns, NOW, NOW + 5 * HOUR)
    assert [one.user_id for one in present.on_call] == [FERN]
    assert present.until == NOW + 2 * HOUR
    assert [one.user_id for one in present.following] == [MO]
    assert find_present(turns[:1], NOW, NOW + HOUR / 2).until is None
    nobody = find_present(turns, NOW - 2 * HOUR, NOW + HOUR)
    assert (nobody.on_call, nobody.until) == ([], NOW - HOUR)


def test_the_reader_is_you() -> None:
    reader = Reader(NOW, FERN, PEOPLE, may_cover=True)
    assert next(iter(reader.people.names)) == FERN, "and offered first"
    assert PEOPLE.name(UUID(int=99)) == "somebody"
    assert ZoneInfo(LONDON).key == LONDON


def test_a_line_that_is_not_ready_leads_to_the_week_of_its_wedding() -> None:
    lines = [
        {"key": key, "title": key, "outcome": "fail", "reason": "none"}
        for key in ("on_call", "contacts")
    ]
    report = {"id": None, "wedding_id": MO, "made_at": NOW, "lines": lines}
    near = build_readiness(report | {"wedding_date": date(2026, 7, 4)}, NOW, LONDON, may_ask=True)
    assert [one.mend for one in near.open_lines] == ["/on-call?week=2026-07-04", "/contacts"]
    hidden = build_readiness(report | {"wedding_date": None}, NOW, LONDON, may_ask=True)
    assert hidden.open_lines[0].mend == "/on-call"
