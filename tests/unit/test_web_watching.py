"""Quiet times and checks in words."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from wedsync_apm.incidents.model import HeldBack
from wedsync_apm.silences.model import seen_mark
from wedsync_apm.web.build.checks import cadence, outages, strip
from wedsync_apm.web.build.holding import read_wall, wall, what_words
from wedsync_apm.web.build.maintenance import days_words, span_words
from wedsync_apm.web.build.silences import build_held, wedding_warning

NOW = datetime(2026, 6, 20, 12, 0, tzinfo=UTC)
LONDON = "Europe/London"
HOUR = timedelta(hours=1)


def matcher(label: str, operator: str, value: str) -> dict[str, str]:
    return {"label": label, "operator": operator, "value": value}


@pytest.mark.parametrize(
    ("matchers", "words"),
    [
        ([], "anything"),
        ([matcher("service", "=", "wedding_forms")], "‘Order form’"),
        ([matcher("service", "=", "till")], "‘till’"),
        ([matcher("service", "=~", "wedding_forms|till")], "‘Order form’ or ‘till’"),
        ([matcher("severity", "=~", "info|warning")], "what is info or what is warning"),
        ([matcher("service", "=~", "till.*(a|b)")], "‘whatever fits till.*(a|b)’"),
        ([matcher("rule", "!=", "Slow")], "not the rule ‘Slow’"),
        (
            [matcher("tag.region", "=", "eu"), matcher("metric", "=", "time")],
            "region eu, the figure ‘time’",
        ),
    ],
)
def test_what_it_is_about(matchers: list[dict[str, str]], words: str) -> None:
    assert what_words(matchers, {"wedding_forms": "Order form"}) == words


def test_a_hostile_value_stays_text() -> None:
    shown = what_words([matcher("service", "=", "<b>{x}")], {})
    assert "<b>" not in shown or not hasattr(shown, "__html__")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-06-20T18:00", datetime(2026, 6, 20, 17, 0, tzinfo=UTC)),
        ("2026-10-25T01:30", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),  # comes twice
        ("2026-03-29T01:30", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),  # never comes
        ("2026-06-20", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_time_of_the_wall(text: str, expected: datetime | None) -> None:
    assert read_wall(text, LONDON) == expected


def test_a_wall_is_read_as_it_is_written() -> None:
    assert read_wall(wall(NOW, LONDON), LONDON) == NOW


def test_nights_of_a_clock_change_have_their_own_length() -> None:
    spans = [
        {"starts_at": "2026-03-28T23:00:00+00:00", "ends_at": "2026-03-29T01:00:00+00:00"},
        {"starts_at": "2026-10-24T22:00:00+00:00", "ends_at": "2026-10-25T02:00:00+00:00"},
    ]
    assert span_words(spans, LONDON) == (
        "Sat 28 March 23:00 until Sun 02:00, 120 min",
        "Sat 24 October 23:00 until Sun 02:00, 4 h",
    )


@pytest.mark.parametrize(
    ("days", "weeks", "words"),
    [
        ([1], 1, "every Monday"),
        ([4, 1], 1, "every Monday and Thursday"),
        ([6], 2, "every second week on Saturday"),
        ([6, 7], 3, "every 3 weeks on Saturday and Sunday"),
        ([1, 2, 3, 4, 5, 6, 7], 1, "every day"),
    ],
)
def test_days_in_words(days: list[int], weeks: int, words: str) -> None:
    assert days_words(days, weeks) == words


def test_what_was_seen_is_what_it_is_about_and_the_weddings() -> None:
    one = [matcher("service", "=", "a")]
    seen = seen_mark(one, [UUID(int=1), UUID(int=2)])
    assert seen == seen_mark(one, [str(UUID(int=2)), str(UUID(int=1))])
    assert seen != seen_mark(one, [UUID(int=1)])
    assert seen != seen_mark([matcher("service", "=", "b")], [UUID(int=1), UUID(int=2)])


def test_a_wedding_in_the_way() -> None:
    row = {"wedding_id": UUID(int=1), "starts_at": NOW + 5 * HOUR, "initials": "A & B"}
    assert wedding_warning([], NOW, NOW + HOUR, NOW, LONDON) == ""
    short = wedding_warning([row], NOW, NOW + 6 * HOUR, NOW, LONDON)
    assert short.startswith("It lies over a wedding. It waits until a second person")
    two = wedding_warning([row, row], NOW, NOW + 6 * HOUR, NOW, LONDON)
    assert two.startswith("It lies over 2 weddings.")
    long = wedding_warning([row], NOW, NOW + 48 * HOUR, NOW, LONDON)
    assert "it ends at 18:00" in long
    now = wedding_warning([row], NOW + 6 * HOUR, NOW + 48 * HOUR, NOW, LONDON)
    assert "lasts 24 hours at most" in now


def held(kind: str, identity: int | None = 1) -> HeldBack:
    return HeldBack(
        kind, UUID(int=identity) if identity else None, NOW, NOW + HOUR, "Priya", "New till"
    )


@pytest.mark.parametrize(
    ("kind", "identity", "vendor", "href"),
    [
        ("silence", 1, "until 14:00: Priya asked for quiet, because “New till”", "/silences/"),
        ("maintenance", 1, "until 14:00: Priya. New till", "/planned-work/"),
        ("inhibition", 1, "it comes of another problem, ‘New till’", "/incidents/"),
        ("inhibition", None, "WedSync's own people are on it", ""),
    ],
)
def test_what_holds_an_incident_back(
    kind: str, identity: int | None, vendor: str, href: str
) -> None:
    said = build_held(held(kind, identity), NOW, LONDON, is_engineer=False)
    assert vendor in said.words.replace("&#39;", "'")
    assert said.href.startswith(href)
    assert bool(said.href) is bool(href)
    technical = build_held(held(kind, identity), NOW, LONDON, is_engineer=True)
    assert "People would have been told at 13:00." in technical.words


def check(**more: Any) -> dict[str, Any]:
    return {
        "id": UUID(int=7),
        "display_name": "Shop",
        "shared_key": None,
        "caused_by": None,
        "is_active": True,
        "check_interval": timedelta(minutes=5),
        "effective_interval": timedelta(seconds=30),
    } | more


@pytest.mark.parametrize(
    ("starts_in", "is_wedding", "is_guarded", "words"),
    [
        (None, True, False, "because a wedding is under way"),
        (HOUR, False, False, "because a wedding begins within a day"),
        (timedelta(days=3), False, False, "because a wedding begins within a week"),
        (timedelta(days=9), False, False, "because a wedding begins within a month"),
        (None, False, True, "because WedSync watches everything more closely now"),
    ],
)
def test_how_often_and_why(
    starts_in: timedelta | None, is_wedding: bool, is_guarded: bool, words: str
) -> None:
    said = cadence(check(), starts_in=starts_in, is_wedding=is_wedding, is_guarded=is_guarded)
    assert said == f"Looked at every 30 s, {words} (every 5 min on quiet days)."


def test_a_quiet_day_and_a_pause() -> None:
    quiet = check(effective_interval=timedelta(minutes=5))
    nothing: dict[str, Any] = {"starts_in": None, "is_wedding": False, "is_guarded": False}
    assert cadence(quiet, **nothing) == "Looked at every 5 min, as it asks for."
    assert cadence(check(is_active=False), **nothing) == "Paused: nobody looks at it."


def test_trouble_elsewhere_is_told_once() -> None:
    cause = f"check:{UUID(int=7)}"
    shared = {"shared_key": "stripe_payments", "caused_by": "service:stripe_payments"}
    rows = [check(), check(caused_by=cause), check(caused_by=cause), check(**shared)]
    (only,) = outages(rows)
    assert (only.words, only.href) == (
        "Shop has trouble; 2 of your checks depend on it.",
        f"/checks/{UUID(int=7)}",
    )
    both = outages([*rows, check(caused_by="service:stripe_payments")])
    assert both[1].words == "Stripe payments has trouble; 2 of your checks depend on it."
    assert outages([check(**shared, is_active=False)]) == ()


def test_a_strip_is_never_green_by_default() -> None:
    def hour(looks: int, failures: int, known: float, down: float) -> dict[str, Any]:
        return {
            "width": "hour",
            "starts_at": NOW,
            "looks": looks,
            "failures": failures,
            "known_seconds": known,
            "down_seconds": down,
        }

    rows = [
        hour(0, 0, 0, 0),
        hour(60, 0, 3600, 0),
        hour(60, 2, 3600, 0),
        hour(60, 2, 3600, 59),
        hour(60, 30, 3600, 60),
    ]
    drawn = strip([*rows, hour(1, 0, 1, 0) | {"width": "day"}], "hour", LONDON)
    assert [one.kind for one in drawn] == ["none", "ok", "warn", "warn", "crit"]
    assert drawn[0].title == "13:00: not known"
    assert drawn[2].title == "13:00: 2 of 60 looks failed"
    assert drawn[4].title == "13:00: not there for 1 min"
