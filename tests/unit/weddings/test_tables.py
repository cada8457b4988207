"""Weddings from tables."""

import csv
import io
from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.errors import NotValid
from wedsync_apm.weddings.imports.model import MOST_ENTRIES, DateOrder, Fault, Habits, Reading
from wedsync_apm.weddings.imports.tables import read_table
from wedsync_apm.weddings.model import Phase, WeddingStatus

HERE = Habits(time_zone="Europe/London", today=date(2027, 1, 1), locale="en-GB")
UNKNOWN = Habits(time_zone="Europe/London", today=date(2027, 1, 1))


def clock(*parts: int) -> datetime:
    """A time of the venue's clock, which has no zone by itself."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


def test_columns_are_found_by_any_of_their_names() -> None:
    text = (
        "Booking Ref;WEDDING DATE;Bride;Groom;Venue;Ceremony;Finish;Time Zone;Phone;Package\r\n"
        'B-7;5/6/2027;Amelia Hart;"Moss; James";Villa Cora;14:30;02:00;Europe/Rome;'
        "+39 055 228790;Gold\r\n"
    )
    reading = read_table(text.encode("utf-8-sig"), HERE)
    assert reading.faults == []
    assert reading.ignored_columns == ["Package"]
    assert (reading.date_order, reading.date_order_from) == (DateOrder.DMY, "organization")
    (entry,) = reading.entries
    assert (entry.place, entry.external_uid) == (2, "csv:B-7")
    assert entry.wedding_date == date(2027, 6, 5)
    assert entry.couple_names == "Amelia Hart & Moss; James"
    assert (entry.venue_name, entry.time_zone) == ("Villa Cora", "Europe/Rome")
    assert entry.contacts == (
        {"name": "Amelia Hart & Moss; James", "role": "", "phone": "+39 055 228790"},
    )
    assert [(w.phase, w.starts, w.ends) for w in entry.windows[1:3]] == [
        (Phase.CEREMONY, clock(2027, 6, 5, 14, 30), clock(2027, 6, 5, 17, 30)),
        (Phase.RECEPTION, clock(2027, 6, 5, 17, 30), clock(2027, 6, 6, 2, 0)),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_spreadsheets_habits(delimiter: str, encoding: str) -> None:
    text = f"Date{delimiter}Couple\n2027-06-05{delimiter}Zoë & Añé\n"
    (entry,) = read_table(text.encode(encoding), HERE).entries
    assert (entry.couple_names, entry.wedding_date) == ("Zoë & Añé", date(2027, 6, 5))


def test_first_and_last_names_are_two_people() -> None:
    text = (
        "first_name,last_name,partner_first_name,partner_last_name,wedding_date,status\n"
        "Ann,Lund,Ben,Berg,2027-06-05,booked\nCy,,,,2027-06-06,\n"
    )
    reading = read_table(text.encode(), HERE)
    assert [one.couple_names for one in reading.entries] == ["Ann Lund & Ben Berg", "Cy"]


def test_faults_cost_their_own_line_and_are_told_by_field() -> None:
    text = (
        "date,couple,venue,time zone,ceremony,status,phone,ref\n"
        "2027-06-05,A & B,Barn,,14:30,booked,,1\n"
        "31/2/2027,C & D,Barn,,,booked,,2\n"
        ",E & F,Barn,,,booked,,3\n"
        "2027-06-05,=cmd|'/c calc'!A0,Barn,Mars/Olympus,25:00,perhaps,not-a-number,4\n"
        "2027-06-06,G & H,@SUM(A1),,,,,5\n"
        "2027-06-06,I & J,,,,,,1\n"
        "\n"
        "2027-06-07,K & L,,,,,,6\n"
    )
    reading = read_table(text.encode(), HERE)
    assert [one.place for one in reading.entries] == [2, 9]
    assert [(one.place, one.field) for one in reading.faults] == [
        (3, "wedding_date"),
        (4, "wedding_date"),
        (5, "couple_names"),
        (5, "status"),
        (5, "time_zone"),
        (5, "ceremony_time"),
        (5, "contact_phone"),
        (6, "venue_name"),
        (7, "reference"),
    ]
    assert "formula" in reading.faults[2].reason
    assert reading.faults[-1].reason == "is in line 2 already"


def test_times_that_contradict_or_miss_each_other_are_told_by_line_field_and_reason() -> None:
    text = (
        "date,ref,ceremony,reception,finish\n"
        "2027-06-05,1,,18:00,23:00\n"
        "2027-06-05,2,14:30,18:00,16:00\n"
        "2027-06-05,3,15:00,14:00,\n"
        "2027-06-05,4,15:00,,14:30\n"
        "2027-06-05,5,14:30,,16:00\n"
        "2027-06-05,6,14:30,18:00,02:00\n"
        "2027-06-05 14:30,7,,,\n"
        "2027-06-05 00:00:00,8,,,\n"
    )
    reading = read_table(text.encode(), HERE)
    assert [(one.place, one.field, one.reason) for one in reading.faults] == [
        (2, "reception_time", "needs the time of the ceremony, too"),
        (2, "end_time", "needs the time of the ceremony, too"),
        (3, "end_time", "at 16:00 is not after the reception at 18:00"),
        (4, "reception_time", "at 14:00 is not after the ceremony at 15:00"),
        (5, "end_time", "at 14:30 is not after the ceremony at 15:00"),
    ]
    assert [(one.place, one.notes) for one in reading.entries] == [
        (
            6,
            ("the day ends at 16:00, so the reception is taken to begin half-way, at 15:15",),
        ),
        (7, ()),
        (8, ("14:30 beside the date is not taken; times have columns of their own",)),
        (9, ()),
    ]


def test_leads_and_archived_ones_are_no_weddings() -> None:
    text = (
        "date,couple,status\n2027-06-05,A,Lead\n,B,quote_sent\n2027-06-06,C,ARCHIVED\n"
        "2027-06-07,D,Cancelled\n2027-06-08,E,completed\n"
    )
    reading = read_table(text.encode(), HERE)
    assert reading.faults == []
    assert [(one.couple_names, one.skipped, one.status) for one in reading.entries] == [
        ("A", "lead is no wedding", WeddingStatus.BOOKED),
        ("C", "archived is no wedding", WeddingStatus.BOOKED),
        ("D", None, WeddingStatus.CANCELLED),
        ("E", None, WeddingStatus.COMPLETED),
    ]


def test_an_ambiguous_date_is_never_guessed() -> None:
    text = b"date,couple\n3/4/2027,A\n"
    (fault,) = read_table(text, UNKNOWN).faults
    assert "3 Apr or 4 Mar" in fault.reason
    (entry,) = read_table(text + b"25/4/2027,B\n", UNKNOWN).entries[:1]
    assert entry.wedding_date == date(2027, 4, 3)
    # The organization writes the day first, the file the month: neither is believed.
    reading = read_table(text + b"4/25/2027,B\n", HERE)
    assert reading.date_order_from == "contradicted"
    assert [one.wedding_date for one in reading.entries] == [date(2027, 4, 25)]
    assert "not in your organization's order" in reading.faults[0].reason
    asked = Habits(time_zone="UTC", today=HERE.today, locale="en-GB", date_order=DateOrder.MDY)
    reading = read_table(text, asked)
    assert (reading.date_order_from, reading.entries[0].wedding_date) == ("asked", date(2027, 3, 4))


def test_what_is_no_table_of_weddings_is_refused_as_a_whole() -> None:
    for body, words in (
        (b"", "empty"),
        (b'""\n,,\n', "empty"),
        (b"couple,venue\nA,B\n", "there are: couple, venue"),
        (b"\xff\xfe\x00\xd8\x00", "no text"),
        (b"date\n" + b"2027-06-05\n" * (MOST_ENTRIES + 1), "rows"),
        (b"date" + b"," * 200 + b"\n", "columns"),
        (b'date,couple\n2027-06-05,"' + b"x" * 100_000, "cannot be read"),
    ):
        with pytest.raises(NotValid) as caught:
            read_table(body, HERE)
        assert words in caught.value.errors[0].reason, body[:30]


def test_without_a_reference_the_content_names_the_line() -> None:
    text = (
        b"date,couple,venue\n2027-06-05,A & B,Barn\n2027-06-05,C & D,Barn\n2027-06-05,a & b,barn\n"
    )
    reading = read_table(text, HERE)
    assert len({one.external_uid for one in reading.entries}) == len(reading.entries) == 2
    assert reading.faults[0].reason == "is in line 2 already"
    again = read_table(text, HERE)
    assert [one.content_hash for one in again.entries] == [
        one.content_hash for one in reading.entries
    ]


def test_marks_that_nobody_sees_are_taken_off() -> None:
    text = "date,couple\n2027-06-05,\u202eA\u200b\x07 &   B\u202c\n".encode()
    assert read_table(text, HERE).entries[0].couple_names == "A & B"


CELLS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["2027-06-05", "3/4/2027", "14:30", "booked", "lead", "", "=1+1", "Europe/Rome"]
    ),
)
NAMES = st.sampled_from(
    ["date", "couple", "Venue", "status", "TIME", "tz", "ref", "phone", "first name", "Ends", "x"]
)


@given(
    header=st.lists(NAMES, min_size=1, max_size=8),
    rows=st.lists(st.lists(CELLS, max_size=9), max_size=8),
    delimiter=st.sampled_from(",;\t"),
)
def test_any_table_is_read_or_refused_by_name(
    header: list[str], rows: list[list[str]], delimiter: str
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([header, *rows])
    _read(out.getvalue().encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_by_name(body: bytes) -> None:
    _read(body)


def _read(body: bytes) -> None:
    try:
        reading = read_table(body, HERE)
    except NotValid as exc:
        reading = Reading(faults=[Fault(0, one.field, one.reason) for one in exc.errors])
        assert reading.faults
    assert all(one.field and one.reason for one in reading.faults)
    keys = [one.external_uid for one in reading.entries]
    assert len(keys) == len(set(keys))
