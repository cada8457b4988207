"""The calendar's words: days, zones, guard, phases on a bar, forms."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.browser.preview_weddings import HERE, NOW, guard, month, row, shown
from tests.support.rules import a_rule
from wedsync_apm.web.build.bars import both_clocks, build_bar
from wedsync_apm.web.build.calendar import (
    build_month,
    days_of,
    guard_words,
    now_words,
    read_day,
    read_month,
    season_words,
)
from wedsync_apm.web.build.guard import read_order
from wedsync_apm.web.build.imports import kind_of, read_sent
from wedsync_apm.web.build.readiness import MENDED_AT
from wedsync_apm.web.build.wedding_form import empty_form, form_of, read_form
from wedsync_apm.web.build.wedding_page import build_tightening
from wedsync_apm.web.pages.weddings import is_evening
from wedsync_apm.web.routes import HANDLERS
from wedsync_apm.weddings.imports.model import FileKind
from wedsync_apm.weddings.model import Phase, WeddingStatus
from wedsync_apm.weddings.store import draft_of

ROME = "Europe/Rome"


def entries(view: Any, on: date) -> list[Any]:
    return next(list(day.entries) for week in view.weeks for day in week if day.on == on)


def test_a_wedding_abroad_names_both_clocks() -> None:
    at = datetime(2026, 6, 17, 14, 30, tzinfo=ZoneInfo(ROME))
    assert both_clocks(at, ROME, HERE) == "14:30 at the venue, Rome; 13:30 here"
    assert both_clocks(at, ROME, "Europe/Paris") == "14:30"
    assert both_clocks(at, ROME, "Pacific/Auckland") == "14:30 at the venue, Rome; Thu 00:30 here"
    (found,) = entries(month(), date(2026, 6, 17))
    assert (found.time, found.zone_note) == ("14:30", "14:30 at the venue, Rome; 13:30 here")


def test_cancelled_and_moved_ones_are_told_apart() -> None:
    view = month()
    (cancelled,) = entries(view, date(2026, 6, 13))
    assert (cancelled.is_off, cancelled.status.word) == (True, "Cancelled")
    (gone,) = entries(view, date(2026, 6, 11))
    assert (gone.is_off, gone.status.word) == (True, "Moved to Thu 25 June")
    (here,) = entries(view, date(2026, 6, 25))
    assert (here.is_off, here.status.word) == (False, "Moved here from Thu 11 June")


def test_a_twin_is_shown_once_and_told() -> None:
    (one,) = entries(month(), date(2026, 6, 27))
    assert one.twin
    assert one.id == row(8, "", date(2026, 6, 27))["id"]


def test_several_weddings_of_a_day_stand_in_their_order() -> None:
    assert [one.time for one in entries(month(), date(2026, 6, 20))] == ["14:30", "16:00"]
    opened = month().opened
    assert opened is not None
    assert [len(one.bar.parts) for one in opened.weddings if one.bar] == [4, 4]


@pytest.mark.parametrize(
    ("on", "words"),
    [
        (date(2026, 6, 18), []),
        (date(2026, 6, 19), ["Close watch from 20:00", "Releases stop at 18:00"]),
        (date(2026, 6, 20), ["Closest watch", "No releases"]),
        (date(2026, 6, 21), ["No releases"]),
    ],
)
def test_guard_over_the_weekend(on: date, words: list[str]) -> None:
    assert [one.words for one in guard_words(guard().spans, on, HERE)] == words


def test_guard_by_the_readers_own_clock() -> None:
    found = guard_words(guard().spans, date(2026, 6, 20), ROME)
    assert [one.words for one in found] == ["Closest watch from 01:00", "No releases"]
    found = guard_words(guard().spans, date(2026, 6, 21), ROME)
    assert next(one.words for one in found) == "Closest watch until 01:00"


def test_an_order_says_who_and_why() -> None:
    mode = {"mode": "maximum", "source": "override", "until": NOW + timedelta(hours=2)}
    text = now_words(mode | {"who": "Priya Shah", "why": "<b>down</b>"}, NOW, HERE)
    assert text == "Now: Closest watch until 15:13, ordered by Priya Shah: &lt;b&gt;down&lt;/b&gt;"
    calm = {"mode": "normal", "source": "calendar", "until": None, "who": "calendar", "why": "so"}
    assert now_words(calm, NOW, HERE) == "Now: Usual watch, because so."


def test_season_is_of_the_month_shown() -> None:
    assert "1.6 times" in season_words(guard().settings, date(2026, 6, 1))
    assert season_words(guard().settings, date(2026, 7, 1)) == ""


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)))
def test_every_month_has_whole_weeks(on: date) -> None:
    first = read_month(f"{on:%Y-%m}", on)
    weeks = days_of(first)
    assert all(len(week) == 7 and week[0].weekday() == 0 for week in weeks)
    assert 4 <= len(weeks) <= 6
    assert first in weeks[0]


@given(st.text(max_size=20))
def test_what_is_no_month_or_day_is_never_an_error(text: str) -> None:
    assert read_month(text, date(2026, 6, 20)).day == 1
    found = read_day(text)
    assert found is None or isinstance(found, date)


def test_bars_past_midnight_and_over_a_change_of_clocks() -> None:
    on = date(2026, 10, 24)
    one = shown(row(2, "A & B", on), "17:00")
    bar = build_bar(one.windows, on=on, zone=HERE, here=HERE, now=NOW, is_assumed=False)
    assert bar is not None
    assert [part.times for part in bar.parts][2:] == ["18:00–Sun 04:00", "Sun 04:00–05:00"]
    assert all(0 <= p.left <= 1000 and p.left + p.width <= 1004 for p in bar.parts)
    lefts = [hour.left for hour in bar.hours]
    assert lefts == sorted(lefts)


@given(
    st.integers(0, 23),
    st.sampled_from(["Pacific/Auckland", "America/New_York", "Asia/Kolkata", HERE]),
    st.dates(date(2026, 1, 1), date(2027, 12, 31)),
)
def test_bars_stay_inside(hour: int, zone: str, on: date) -> None:
    one = shown(row(2, "A & B", on), f"{hour:02}:15", zone)
    bar = build_bar(one.windows, on=on, zone=zone, here=HERE, now=NOW, is_assumed=False)
    assert bar is not None
    assert all(0 <= p.left < 1000 and 0 < p.left + p.width <= 1004 for p in bar.parts)


def test_a_month_without_weddings_says_so() -> None:
    assert month(empty=True).is_empty


def test_names_of_the_hostile_are_text() -> None:
    one = shown(row(2, "<script>x</script>", date(2026, 6, 20)))
    view = build_month(
        month=date(2026, 6, 1), opened=None, weddings=[one], moved=[], guard=guard(), now=NOW,
        here=HERE, may_edit=True, are_names_hidden=False,
    )  # fmt: skip
    assert entries(view, date(2026, 6, 20))[0].couple == "<script>x</script>"


def sent(**changes: str) -> dict[str, str]:
    return {"on": "2027-06-19", "couple": "Amara & Ruth", "venue": "", **changes}


def test_a_form_becomes_the_day_around_the_ceremony() -> None:
    draft, typed = read_form(
        empty_form(HERE), None, sent(ceremony="14:30", reception="17:00", ends="01:30")
    )
    assert typed.errors == {}
    assert draft is not None
    spans = {w.phase: (w.starts_at, w.ends_at) for w in draft.windows}
    assert spans[Phase.RECEPTION] == (
        datetime.fromisoformat("2027-06-19T17:00"),
        datetime.fromisoformat("2027-06-20T01:30"),
    )
    assert spans[Phase.CEREMONY][0].isoformat() == "2027-06-19T14:30:00"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"on": "19/6/27"}, "on"),
        ({"ceremony": "tea"}, "ceremony"),
        ({"reception": "17:00"}, "ceremony"),
        ({"time_zone": "Mars/Base"}, "time_zone"),
        ({"couple": "x" * 401}, "couple"),
        ({"couple": "", "name_0": "Dan"}, "couple"),
        ({"name_0": "", "phone_0": "123"}, "name_0"),
        ({"name_0": "x" * 201}, "name_0"),
    ],
)
def test_faults_stand_beside_their_fields_and_all_is_kept(
    changes: dict[str, str], field: str
) -> None:
    draft, typed = read_form(empty_form(HERE), None, sent(venue="The Barn", **changes))
    assert draft is None
    assert list(typed.errors) == [field]
    assert typed.venue == "The Barn"


def test_the_form_of_a_wedding_changes_nothing_by_itself() -> None:
    one = shown(row(4, "Amara & Ruth", date(2026, 6, 17), status="completed"))
    present = draft_of(one.row)
    form = form_of(one.row, present, HERE)
    back = {
        "couple": form.couple, "venue": form.venue, "time_zone": form.time_zone,
        "status": form.status, "visible_to": form.visible_to,
        **{f"starts_{p.key}": p.starts for p in form.phases},
        **{f"ends_{p.key}": p.ends for p in form.phases},
        **{
            f"{part}_{n}": getattr(contact, part)
            for n, contact in enumerate(form.contacts)
            for part in ("name", "role", "phone")
        },
    }  # fmt: skip
    draft, _ = read_form(form, present, back)
    assert draft is not None
    assert draft.status is WeddingStatus.COMPLETED
    assert list(draft.windows) == list(present.windows)
    assert list(draft.contacts) == list(present.contacts)


def test_half_a_phase_is_a_fault() -> None:
    one = shown(row(4, "Amara & Ruth", date(2026, 6, 17)))
    form = form_of(one.row, draft_of(one.row), HERE)
    draft, typed = read_form(
        form, draft_of(one.row), {"couple": "A & R", "starts_ceremony": "2026-06-17T14:30"}
    )
    assert draft is None
    assert "ends_ceremony" in typed.errors


def test_the_evening_before_begins_and_ends() -> None:
    day = datetime(2026, 6, 20, tzinfo=UTC)
    phases = [
        {"phase": "evening_before", "starts_at": day - timedelta(hours=6)},
        {"phase": "day", "starts_at": day},
        {"phase": "set_up", "starts_at": day + timedelta(hours=8)},
    ]
    at = {hours: is_evening(phases, day + timedelta(hours=hours)) for hours in (-7, -6, 7, 8)}
    assert at == {-7: False, -6: True, 7: True, 8: False}
    assert not is_evening([], day)


def test_tightening_is_what_the_engine_would_hold_to() -> None:
    rule = a_rule(threshold_value=800, wedding_day_threshold_value=None)
    found = build_tightening(rule, "ms")
    assert (found.normal, found.evening, found.day) == ("800 ms", "600 ms", "400 ms")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"BEGIN:VCALENDAR\r\n", FileKind.CALENDAR),
        (b"\xef\xbb\xbf\r\nbegin:vcalendar", FileKind.CALENDAR),
        ("BEGIN:VCALENDAR".encode("utf-16"), FileKind.CALENDAR),
        (b"Date,Couple\n", FileKind.TABLE),
        (b"", FileKind.TABLE),
    ],
)
def test_a_file_says_what_it_is(body: bytes, kind: FileKind) -> None:
    assert kind_of(body) is kind


@given(st.text(max_size=60))
def test_a_carried_file_is_never_an_error(text: str) -> None:
    assert isinstance(read_sent({"body": text, "date_order": text}, b"").body, bytes)


def test_each_thing_to_put_right_leads_to_a_page_of_ours() -> None:
    paths = {path for handler in HANDLERS for path in getattr(handler, "paths", ())}
    assert set(MENDED_AT.values()) - {"/docs"} <= paths


def test_an_order_with_faults_keeps_what_was_typed() -> None:
    draft, form = read_order(
        {"mode": "normal", "reason": "no", "minutes": "500", "emergency": "payment"}
    )
    assert draft is None
    assert set(form.errors) == {"reason", "minutes", "rollback_plan"}
    assert (form.reason, form.minutes, form.emergency) == ("no", "500", "payment")
