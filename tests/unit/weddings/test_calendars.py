"""Weddings from iCalendar."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from wedsync_apm.errors import FieldError, NotValid
from wedsync_apm.weddings.imports.calendars import MOST_OCCURRENCES, read_calendar
from wedsync_apm.weddings.imports.model import MOST_ENTRIES, Entry, Habits, Reading
from wedsync_apm.weddings.model import Phase, WeddingStatus

HERE = Habits(time_zone="Europe/London", today=date(2027, 1, 1))
ROME = """BEGIN:VTIMEZONE
TZID:Customized Rome
BEGIN:STANDARD
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
END:DAYLIGHT
END:VTIMEZONE"""


def clock(*parts: int) -> datetime:
    """A time of the venue's clock, which has no zone by itself."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


def event(*lines: str, uid: str = "a@b") -> str:
    return "\n".join(("BEGIN:VEVENT", f"UID:{uid}", *lines, "END:VEVENT"))


def calendar(*parts: str) -> bytes:
    whole = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//t//EN", *parts, "END:VCALENDAR", "")
    return "\n".join(whole).replace("\n", "\r\n").encode()


def read(*parts: str, **habits: Any) -> Reading:
    return read_calendar(calendar(*parts), replace(HERE, **habits))


def one(*parts: str, **habits: Any) -> Entry:
    reading = read(*parts, **habits)
    assert reading.faults == []
    (entry,) = reading.entries
    return entry


def ceremony(entry: Entry) -> datetime:
    (found,) = [w.starts for w in entry.windows if w.phase is Phase.CEREMONY]
    return found


def test_a_wedding_with_its_zone_and_times() -> None:
    entry = one(
        event(
            "DTSTART;TZID=Europe/Rome:20270605T143000",
            "DTEND;TZID=Europe/Rome:20270606T020000",
            "SUMMARY:Wedding: Amelia Hart & James Moss",
            "LOCATION:Villa Cora\\, Viale Machiavelli",
            "SEQUENCE:3",
        )
    )
    assert (entry.external_uid, entry.recurrence, entry.sequence) == ("a@b", "", 3)
    assert (entry.wedding_date, entry.time_zone) == (date(2027, 6, 5), "Europe/Rome")
    assert entry.couple_names == "Amelia Hart & James Moss"
    assert entry.venue_name == "Villa Cora, Viale Machiavelli"
    assert [(w.phase.value, w.starts, w.ends) for w in entry.windows] == [
        ("set_up", clock(2027, 6, 5, 9, 30), clock(2027, 6, 5, 14, 30)),
        ("ceremony", clock(2027, 6, 5, 14, 30), clock(2027, 6, 5, 17, 30)),
        ("reception", clock(2027, 6, 5, 17, 30), clock(2027, 6, 6, 2, 0)),
        ("tear_down", clock(2027, 6, 6, 2, 0), clock(2027, 6, 6, 4, 0)),
    ]


@pytest.mark.parametrize(
    ("start", "zone", "at", "day"),
    [
        # floating: the organization's clock, whatever it is
        ("DTSTART:20270605T143000", None, (14, 30), 5),
        # an instant: half past two in London's summer
        ("DTSTART:20270605T133000Z", None, (14, 30), 5),
        # an instant on the evening before in New York
        ("DTSTART;TZID=America/New_York:20270605T193000", "America/New_York", (19, 30), 5),
        # Outlook's own names
        ("DTSTART;TZID=W. Europe Standard Time:20270605T143000", "Europe/Berlin", (14, 30), 5),
        # a common name behind a maker's prefix
        (
            "DTSTART;TZID=/citadel.org/20250101_1/Europe/Rome:20270605T143000",
            "Europe/Rome",
            (14, 30),
            5,
        ),
    ],
)
def test_times_are_the_venues_clock(
    start: str, zone: str | None, at: tuple[int, int], day: int
) -> None:
    entry = one(event(start, "SUMMARY:A & B"))
    assert ceremony(entry) == clock(2027, 6, day, *at)
    assert entry.time_zone == zone


@pytest.mark.parametrize("rule", [(), ("RRULE:FREQ=WEEKLY;COUNT=1",)], ids=["once", "series"])
@pytest.mark.parametrize("start", [":20270605T123000Z", ":20270605T143000"])
def test_a_calendars_own_zone_is_for_events_that_name_none(
    start: str, rule: tuple[str, ...]
) -> None:
    ends = "DTEND:20270605T223000Z" if start.endswith("Z") else "DTEND:20270606T003000"
    entry = one("X-WR-TIMEZONE:Europe/Rome", event(f"DTSTART{start}", ends, *rule))
    assert (ceremony(entry), entry.time_zone) == (clock(2027, 6, 5, 14, 30), "Europe/Rome")
    assert entry.windows[2].ends == clock(2027, 6, 6, 0, 30)
    day = one("X-WR-TIMEZONE:Europe/Rome", event("DTSTART;VALUE=DATE:20270605", *rule))
    assert day.time_zone == "Europe/Rome"
    unknown = one("X-WR-TIMEZONE:Mars/Olympus", event("DTSTART:20270605T123000Z"))
    assert (ceremony(unknown), unknown.time_zone) == (clock(2027, 6, 5, 13, 30), None)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (":20270605T143000", ":20270605T140000", "is before DTSTART"),
        (":20270605T123000Z", ":20270605T120000Z", "is before DTSTART"),
        (";VALUE=DATE:20270605", ";VALUE=DATE:20270601", "is before DTSTART"),
        (":20270605T143000", ";VALUE=DATE:20270606", "is a day, where DTSTART is a time"),
        (";VALUE=DATE:20270605", ":20270606T020000", "is a time, where DTSTART is a day"),
        (":20270605T143000", ":20270606T020000Z", "has a zone, where DTSTART has none"),
        (":20270605T123000Z", ":20270606T020000", "has no time zone, where DTSTART has one"),
    ],
)
def test_an_end_that_contradicts_its_beginning_is_refused(start: str, end: str, words: str) -> None:
    reading = read(event(f"DTSTART{start}", f"DTEND{end}"))
    assert reading.entries == []
    assert [(one.field, one.reason) for one in reading.faults] == [("DTEND", words)]


def test_what_is_assumed_of_an_end_is_said() -> None:
    short = one(event("DTSTART:20270605T143000", "DTEND:20270605T160000"))
    assert "half-way, at 15:15" in short.notes[0]
    none = one(event("DTSTART:20270605T143000", "DTEND:20270605T143000"))
    assert "no length" in none.notes[0]
    assert one(event("DTSTART:20270605T143000", "DTEND:20270606T020000")).notes == ()
    # half past one, and again half past one an hour later
    back = one(event("DTSTART:20271031T003000Z", "DTEND:20271031T013000Z"))
    assert back.windows[2].ends - ceremony(back) == timedelta(hours=1)


def test_no_day_of_an_event_is_beyond_the_calendar() -> None:
    reading = read(event("DTSTART;VALUE=DATE:21001230", "DTEND;VALUE=DATE:21010102"))
    assert [one.field for one in reading.faults] == ["DTSTART"]
    reading = read(event("DTSTART:20270605T143000", "DURATION:P9999999D"))
    assert reading.entries == []
    assert len(reading.faults) == 1


def test_a_zone_of_the_files_own_making_keeps_the_instant() -> None:
    entry = one(ROME, event("DTSTART;TZID=Customized Rome:20270605T143000"))
    assert (ceremony(entry), entry.time_zone) == (clock(2027, 6, 5, 13, 30), None)
    assert "no common name" in entry.notes[0]
    unknown = one(event("DTSTART;TZID=Nowhere:20270605T143000"))
    assert (ceremony(unknown), unknown.time_zone) == (clock(2027, 6, 5, 14, 30), None)
    assert "not known" in unknown.notes[0]


def test_whole_days_are_a_wedding_each() -> None:
    three = read(event("DTSTART;VALUE=DATE:20270605", "DTEND;VALUE=DATE:20270608")).entries
    assert [(e.wedding_date.day, e.recurrence, e.windows) for e in three] == [
        (5, "", ()),
        (6, "+1", ()),
        (7, "+2", ()),
    ]
    assert len(read(event("DTSTART;VALUE=DATE:20270605")).entries) == 1
    assert len(read(event("DTSTART;VALUE=DATE:20270605", "DURATION:P2D")).entries) == 2
    (fault,) = read(event("DTSTART;VALUE=DATE:20270605", "DTEND;VALUE=DATE:20270705")).faults
    assert (fault.field, fault.reason) == ("DTEND", "makes this 30 days long; 7 are possible")


def test_repeating_events_with_exceptions_and_a_moved_one() -> None:
    reading = read(
        event(
            "DTSTART;TZID=Europe/London:20270605T143000",
            "RRULE:FREQ=WEEKLY;COUNT=4",
            "EXDATE;TZID=Europe/London:20270612T143000",
            "SUMMARY:A & B",
        ),
        event(
            "RECURRENCE-ID;TZID=Europe/London:20270619T143000",
            "DTSTART;TZID=Europe/London:20270620T120000",
            "SUMMARY:C & D",
        ),
        event(
            "RECURRENCE-ID;TZID=Europe/London:20270626T143000",
            "DTSTART;TZID=Europe/London:20270626T143000",
            "STATUS:CANCELLED",
            "SUMMARY:E & F",
        ),
    )
    assert [(e.recurrence, e.wedding_date, e.couple_names, e.status) for e in reading.entries] == [
        ("20270605T133000Z", date(2027, 6, 5), "A & B", WeddingStatus.BOOKED),
        ("20270619T133000Z", date(2027, 6, 20), "C & D", WeddingStatus.BOOKED),
        ("20270626T133000Z", date(2027, 6, 26), "E & F", WeddingStatus.CANCELLED),
    ]
    assert reading.complete_uids == ["a@b"]


def test_a_wall_clock_repeats_across_the_change_of_clocks() -> None:
    entries = read(
        event(
            "DTSTART;TZID=Europe/London:20270320T140000", "RRULE:FREQ=WEEKLY;UNTIL=20270403T235959Z"
        )
    ).entries
    assert [ceremony(e).hour for e in entries] == [14, 14, 14]
    assert [e.recurrence[8:] for e in entries] == ["T140000Z", "T140000Z", "T130000Z"]


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=SECONDLY",
        "FREQ=MINUTELY;COUNT=5",
        "FREQ=HOURLY;UNTIL=20990101T000000Z",
        "FREQ=DAILY;BYSECOND=0,1,2,3",
        "FREQ=DAILY;BYHOUR=1,2;BYMINUTE=1,2",
        "FREQ=DAILY;COUNT=1000000",
        "FREQ=DAILY",
        "FREQ=NEVER",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=WEEKLY;INTERVAL=0",
    ],
)
def test_a_bomb_of_recurrences_is_refused_and_the_rest_is_kept(rule: str) -> None:
    reading = read(
        event("DTSTART:20270605T140000", f"RRULE:{rule}", "SUMMARY:Bomb", uid="bomb"),
        event("DTSTART:20270605T140000", "SUMMARY:A & B", uid="good"),
    )
    assert [e.external_uid for e in reading.entries] == ["good"]
    (fault,) = reading.faults
    assert (fault.place, fault.field) == (1, "RRULE")
    assert "bomb" not in reading.complete_uids


def test_what_repeats_is_bounded_by_number_and_time() -> None:
    weekly = read(event("DTSTART;VALUE=DATE:20200104", "RRULE:FREQ=WEEKLY"))
    assert 0 < len(weekly.entries) <= MOST_OCCURRENCES
    assert min(e.wedding_date for e in weekly.entries) >= date(2025, 11, 1)
    assert max(e.wedding_date for e in weekly.entries) <= HERE.today + timedelta(days=1101)


def test_a_series_without_a_wedding_says_so() -> None:
    reading = read(event("DTSTART;VALUE=DATE:20150606", "RRULE:FREQ=WEEKLY;COUNT=3"))
    assert [f.reason for f in reading.faults] == ["makes no wedding from 2025-11-27 to 2030-01-05"]
    assert reading.complete_uids == ["a@b"]


def test_states_of_an_event() -> None:
    assert one(event("DTSTART:20270605T140000", "STATUS:TENTATIVE")).skipped is not None
    cancelled = one(event("DTSTART:20270605T140000", "STATUS:CANCELLED"))
    assert cancelled.status is WeddingStatus.CANCELLED
    assert one("METHOD:CANCEL", event("DTSTART:20270605T140000")).status is WeddingStatus.CANCELLED


def test_faults_cost_their_own_event() -> None:
    reading = read(
        event("DTSTART:2027", uid="1"),
        event("SUMMARY:no date", uid="2"),
        event("DTSTART:20270605T140000", uid=""),
        event("DTSTART:20270605T140000", "SUMMARY:=HYPERLINK(1)", uid="4"),
        event("DTSTART:20270605T140000", "DTEND:20270609T140000", uid="5"),
        event("DTSTART:02270605T140000", uid="6"),
        event("DTSTART:20270605T140000", "SUMMARY:<script>alert(1)</script>", uid="7"),
    )
    assert [(f.place, f.field) for f in reading.faults] == [
        (3, "UID"),
        (1, "DTSTART"),
        (2, "DTSTART"),
        (4, "SUMMARY"),
        (5, "DTEND"),
        (6, "DTSTART"),
    ]
    # text is text: whoever shows it escapes it
    assert [e.couple_names for e in reading.entries] == ["<script>alert(1)</script>"]


def test_only_what_matches() -> None:
    reading = read(
        event("DTSTART:20270605T140000", "SUMMARY:Dentist", uid="1"),
        event("DTSTART:20270605T140000", "SUMMARY:WEDDING of A & B", uid="2"),
        event("DTSTART:20270606T140000", "SUMMARY:C & D", "CATEGORIES:Wedding,Gold", uid="3"),
        matching="wedding",
    )
    assert [e.couple_names for e in reading.entries] == ["A & B", "C & D"]


def test_the_newest_version_in_a_file_counts() -> None:
    entry = one(
        event("DTSTART:20270612T140000", "SEQUENCE:2"),
        event("DTSTART:20270605T140000", "SEQUENCE:1"),
    )
    assert entry.wedding_date == date(2027, 6, 12)


def test_the_same_content_has_the_same_hash_wherever_it_stands() -> None:
    lines = ("DTSTART:20270605T140000", "SUMMARY:A & B")
    first = one(event(*lines))
    second = read(event("DTSTART:20270101", uid="x"), event("DTSTAMP:20270101T000000Z", *lines))
    assert second.entries[-1].place == 2
    assert second.entries[-1].content_hash == first.content_hash
    other = one(event("DTSTART:20270605T150000", "SUMMARY:A & B"))
    assert other.content_hash != first.content_hash


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no iCalendar"),
        (event("DTSTART:20270605T140000").encode(), "no iCalendar"),
        (b"couple,date\n", "no iCalendar"),
        (b"\xff\xfe", "UTF-8"),
        (calendar(), "no event"),
        (b"BEGIN:VCALENDAR\r\n" + b"BEGIN:VEVENT\r\n" * 50_000, "deeper"),
        (calendar(*[event(uid=str(n)) for n in range(MOST_ENTRIES + 1)]), "more than 1000 events"),
    ],
    ids=["empty", "bare", "csv", "utf-16", "no-event", "deep", "many"],
)
def test_what_is_no_calendar_is_refused_as_a_whole(body: bytes, words: str) -> None:
    with pytest.raises(NotValid) as caught:
        read_calendar(body, HERE)
    assert words in caught.value.errors[0].reason


LINES = st.one_of(
    st.sampled_from(
        [
            "DTSTART:20270605T140000",
            "DTSTART;VALUE=DATE:20270605",
            "DTSTART;TZID=Europe/Rome:20270328T023000",
            "DTEND:20270606T020000Z",
            "DTEND;VALUE=DATE:20270606",
            "DURATION:PT5H",
            "DURATION:-PT5H",
            "RRULE:FREQ=WEEKLY;COUNT=3",
            "RRULE:FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30;COUNT=1",
            "RRULE:FREQ=WEEKLY;INTERVAL=-1",
            "RRULE:FREQ=YEARLY;BYDAY=1SA;BYMONTH=6;COUNT=5",
            "RDATE:20270701T140000",
            "EXDATE:20270605T140000",
            "RECURRENCE-ID:20270612T140000",
            "SEQUENCE:x",
            "STATUS:CANCELLED",
            "SUMMARY:A & B",
            "BEGIN:VALARM",
            "END:VALARM",
            "X-JUNK;=:",
        ]
    ),
    st.text(max_size=30).map(lambda text: text.replace("\n", " ").replace("\r", " ")),
)


@given(st.lists(st.lists(LINES, max_size=8), min_size=1, max_size=3), st.booleans())
def test_any_event_is_read_or_refused_by_name(events: list[list[str]], is_one: bool) -> None:
    parts = [event(*lines, uid="same" if is_one else str(n)) for n, lines in enumerate(events)]
    try:
        body = calendar(*parts)
    except UnicodeEncodeError:
        return
    refused: tuple[FieldError, ...] = ()
    reading = Reading()
    try:
        reading = read_calendar(body, HERE)
    except NotValid as exc:
        refused = exc.errors
    # Each event gave a wedding or a reason; none was lost without a word.
    assert refused or reading.entries or reading.faults
    assert all(f.field and f.reason for f in reading.faults)
    assert all(e.external_uid for e in reading.entries)
