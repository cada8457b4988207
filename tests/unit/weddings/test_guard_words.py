"""The guard mode as a page tells it."""

from datetime import UTC, datetime, timedelta

from wedsync_apm.web.build.report import build_guard

NOW = datetime(2026, 6, 19, 20, tzinfo=UTC)


def test_the_calendar_is_told_without_a_name_and_an_order_with_one() -> None:
    found = {
        "mode": "enhanced",
        "source": "calendar",
        "who": "calendar",
        "why": "it is Friday 21:00 in Europe/London",
        "until": NOW + timedelta(hours=3),
    }
    told = build_guard(found, NOW, "Europe/London")
    assert told.startswith("Guard mode enhanced until ")
    assert told.endswith("00:00: it is Friday 21:00 in Europe/London")
    ordered = found | {"source": "override", "who": "Olga", "why": "a rumour", "until": None}
    assert build_guard(ordered, NOW, "UTC") == "Guard mode enhanced, by Olga: a rumour"
