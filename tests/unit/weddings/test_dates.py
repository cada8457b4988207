"""Dates and times as people type them."""

import contextlib
from datetime import date, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.weddings.imports.dates import order_of_file, order_of_locale, read_date, read_time
from wedsync_apm.weddings.imports.model import DateOrder, Unreadable, state_date

DMY, MDY, YMD = DateOrder.DMY, DateOrder.MDY, DateOrder.YMD
FIFTH = date(2027, 6, 5)
DATES = st.dates(date(1990, 1, 1), date(2100, 12, 31))


@pytest.mark.parametrize(
    "text",
    [
        "2027-06-05",
        "2027/6/5",
        "20270605",
        "2027-06-05T14:30:00Z",
        "2027-06-05 14:30",
        "5 June 2027",
        "5th June 2027",
        "June 5, 2027",
        "Sat 5 Jun 2027",
        "Saturday, 5-Jun-27",
        "5.6.2027",
        " 05.06.27 ",
        "2027 June 5",
    ],
)
def test_what_can_only_be_one_date_is_that_date(text: str) -> None:
    assert read_date(text, None) == FIFTH
    assert read_date(text, DMY) == FIFTH


def test_the_order_decides_what_could_be_two() -> None:
    assert read_date("5/6/2027", DMY) == FIFTH
    assert read_date("6/5/2027", MDY) == FIFTH
    assert read_date("6-5-27", MDY) == FIFTH
    assert read_date("27-06-05", YMD) == FIFTH
    with pytest.raises(Unreadable, match=r"5 Jun or 6 May"):
        read_date("5/6/2027", None)
    # nobody needs to ask here
    assert read_date("25/6/2027", None) == date(2027, 6, 25)
    assert read_date("6/25/2027", None) == date(2027, 6, 25)
    assert read_date("6/6/2027", None) == date(2027, 6, 6)


@pytest.mark.parametrize(
    ("text", "order", "words"),
    [
        ("25/6/2027", MDY, "in the order month, day, year"),
        ("6/25/2027", DMY, "in the order day, month, year"),
        ("31/2/2027", DMY, "no calendar has"),
        ("2027-02-29", None, "no calendar has"),
        ("46178", None, "day number"),
        ("5 Juny 2027", None, "understood"),
        ("next Saturday", None, "understood"),
        ("5/6/1027", DMY, "is in 1027"),
        ("٠٥/٠٦/٢٠٢٧", DMY, ""),
        ("", DMY, "understood"),
        ("5/6", DMY, "understood"),
    ],
)
def test_what_is_none_is_told(text: str, order: DateOrder | None, words: str) -> None:
    if not words:
        # digits of another script are digits
        assert read_date(text, order) == FIFTH
        return
    with pytest.raises(Unreadable, match=words):
        read_date(text, order)


@given(DATES, st.sampled_from(DateOrder), st.sampled_from("/-"))
def test_every_date_is_read_in_the_order_that_it_was_written_in(
    day: date, order: DateOrder, mark: str
) -> None:
    parts = {DMY: "%d{0}%m{0}%Y", MDY: "%m{0}%d{0}%Y", YMD: "%Y{0}%m{0}%d"}
    assert read_date(day.strftime(parts[order].format(mark)), order) == day
    assert read_date(state_date(day), None) == day


@given(st.text(max_size=40), st.sampled_from([None, *DateOrder]))
def test_any_text_is_a_date_or_refused(text: str, order: DateOrder | None) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(read_date(text, order), date)
    with contextlib.suppress(Unreadable):
        assert isinstance(read_time(text), time)


def test_the_order_of_a_locale_and_of_a_file() -> None:
    orders = {
        "en-GB": DMY,
        "en_US": MDY,
        "en-US.UTF-8": MDY,
        "hu-HU": YMD,
        "en": None,
        "en-CA": None,
    }
    assert {locale: order_of_locale(locale) for locale in orders} == orders
    assert order_of_locale(None) is None
    assert order_of_file(["1/2/2027", "25/6/2027"]) is DMY
    assert order_of_file(["1/2/2027", "6/25/2027", "", "x"]) is MDY
    assert order_of_file(["25/6/2027", "6/25/2027"]) is None
    assert order_of_file(["1/2/2027"]) is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("14:30", time(14, 30)),
        ("2:30 pm", time(14, 30)),
        ("2.30PM", time(14, 30)),
        ("1430", time(14, 30)),
        ("14h30", time(14, 30)),
        ("2pm", time(14)),
        ("12am", time(0)),
        ("12pm", time(12)),
        ("24:00", time(0)),
        ("14:30:00", time(14, 30)),
    ],
)
def test_times(text: str, at: time) -> None:
    assert read_time(text) == at


@pytest.mark.parametrize("text", ["25:00", "14:60", "13pm", "0pm", "noon", "", "14:3"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(Unreadable, match="14:30"):
        read_time(text)
