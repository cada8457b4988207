"""Times, lengths, figures and names as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from wedsync_apm.web import say

NOW = datetime(2026, 6, 20, 12, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 min"), (0, "0 min"), (40, "40 s"), (60, "1 min"), (75, "75 s"), (180, "3 min"),
        (119 * 60, "119 min"), (7200, "120 min"), (7260, "2 h 1 min"), (12000, "3 h 20 min"),
        (86399, "23 h 59 min"), (86400, "1 day"), (4 * 86400, "4 days"),
    ],
)  # fmt: skip
def test_length(seconds: int, text: str) -> None:
    assert say.length(timedelta(seconds=seconds)) == text


def test_clock_is_the_venue_s() -> None:
    assert say.clock(NOW, "Europe/London") == "13:13"
    assert say.clock(NOW, "Pacific/Auckland") == "00:13"
    assert say.when(NOW + timedelta(days=2), NOW, "Europe/London") == "Mon 22 June 13:13"


def test_ahead() -> None:
    assert say.ahead(NOW + timedelta(minutes=47), NOW, "Europe/London") == "in 47 min"
    assert say.ahead(NOW + timedelta(days=7), NOW, "Europe/London") == "on Saturday at 13:13"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ms", "no data"), (850, "ms", "850 ms"), (9100, "ms", "9.1 s"), (0, "ms", "0 s"),
        (0.25, "s", "250 ms"), (1260, "s", "21 min"), (1.2e9, "bytes", "1.2 GB"),
        (99.95, "%", "99.95 %"), (0.9995, "ratio", "99.95 %"), (1204, "", "1,204"),
        (12.5, "orders", "12.5 orders"), (float("nan"), "", "not a number"), (3, None, "3"),
        (0.000002, "s", "2 µs"),
    ],
)  # fmt: skip
def test_figure(value: float | None, unit: str | None, text: str) -> None:
    assert say.figure(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(850, "ms", "0.85 s"), (9140, "ms", "9.1 s"), (20, "ms", "under 0.1 s"), (5, "%", "5 %")],
)
def test_vendors_read_seconds(value: float, unit: str, text: str) -> None:
    assert say.plain_figure(value, unit) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("wedding_forms", "wedding forms"), ("photo-gallery", "photo gallery"),
        ("orderForm", "order form"), ("api_latency", "API latency"), ("__x__", "x"), ("", ""),
    ],
)  # fmt: skip
def test_noun(name: str, text: str) -> None:
    assert say.noun(name) == text


def test_initials() -> None:
    assert say.initials("Amara & Ruth") == "A & R"
    assert say.initials("Zoë and Max") == "Z & M"
    assert say.initials("") == ""
