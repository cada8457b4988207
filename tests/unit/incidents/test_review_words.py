"""The words of mails about the past: facts and times, and nothing that was not seen."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from wedsync_apm.incidents.model import VendorText
from wedsync_apm.incidents.reviews.mail.words import (
    MOST_LINES,
    Speech,
    mail_lines,
    mail_subject,
    report_payload,
)
from wedsync_apm.incidents.reviews.model import Spell, report
from wedsync_apm.types import Priority, Severity

AT = datetime(2026, 6, 20, 13, 10, tzinfo=UTC)
START, END = AT - timedelta(hours=2), AT + timedelta(hours=9)
LATER = END + timedelta(hours=36)
SPEECH = Speech(lambda at: f"{at:%H:%M}", lambda seconds: f"{round(seconds / 60)} min")


def spell(number: int = 1, *, minutes: int | None = 20, title: str = "It is slow") -> Spell:
    """Trouble that was taken after two minutes; None: it lasts."""
    began = AT + timedelta(minutes=number)
    return Spell(
        organization_id=UUID(int=number % 3),
        incident_id=UUID(int=number),
        number=number,
        title=title,
        severity=Severity.CRITICAL,
        priority=Priority.HIGH,
        vendor_text=VendorText(),
        phase="reception",
        began_at=began,
        acknowledged_at=began + timedelta(minutes=2),
        acknowledged_by="Priya",
        ended_at=None if minutes is None else began + timedelta(minutes=minutes),
        is_merged=False,
        called=1,
        held_before=timedelta(),
        held_during=timedelta(),
    )


def payload(*spells: Spell, word: str = "wedding") -> dict[str, Any]:
    found = report(spells, START, END, LATER)
    made = report_payload(found, date(2026, 6, 20), word=word, path="/x", zone="Europe/London")
    stored: dict[str, Any] = json.loads(json.dumps(made))
    return stored


def test_a_calm_wedding_says_what_was_seen_and_no_more() -> None:
    told = payload() | {"initials": "A & R"}
    assert mail_subject(told) == "The wedding on Saturday 20 June: we saw nothing go wrong"
    assert list(mail_lines(told, SPEECH)) == [
        "The wedding of A & R on Saturday 20 June, from 11:10 to 22:10.",
        "We saw nothing go wrong, and nobody had to be called.",
    ]


def test_trouble_is_told_with_its_length_and_who_was_called() -> None:
    told = payload(spell(1), spell(2, minutes=None))
    assert mail_subject(told) == "The wedding on Saturday 20 June: 2 problems at 2 businesses"
    assert list(mail_lines(told, SPEECH))[1:] == [
        f"Something was wrong for {9 * 60 - 1} min in all.",
        "People were called 2 times.",
        "Somebody had it in hand within 2 min half of the time, "
        "and within 2 min nine times in ten.",
        "- It is slow: 13:11 to 13:31, in hand after 2 min",
        "- It is slow: since 13:12, not over yet, in hand after 2 min",
    ]


def test_many_are_counted_and_the_platform_is_no_business() -> None:
    found = report([spell(n) for n in range(1, 41)], START, END, LATER)
    told = report_payload(
        found,
        date(2026, 6, 20),
        word="saturday",
        path="/x",
        zone="UTC",
        home=UUID(int=0),
    )
    assert mail_subject(told) == "Saturday 20 June: 40 problems at 2 businesses"
    lines = list(mail_lines(told, SPEECH))
    assert lines[-1] == f"- and {40 - MOST_LINES} others"
    assert sum(line.startswith("- It is slow") for line in lines) == MOST_LINES


@given(st.text(max_size=3000))
def test_whatever_a_title_holds_it_takes_a_line_of_bearable_length(title: str) -> None:
    (line,) = (one for one in mail_lines(payload(spell(title=title)), SPEECH) if one[:2] == "- ")
    assert len(line) < 300


def test_what_is_overdue_says_who_by_when_and_from_where() -> None:
    action = {
        "title": "Buy a host",
        "owner": "Tom",
        "due_on": "2026-06-19",
        "number": 12,
        "incident": "Order form is slow",
    }
    one = {"word": "overdue", "path": "/x", "actions": [action]}
    assert mail_subject(one) == "Still to be done: Buy a host"
    assert list(mail_lines(one, SPEECH)) == [
        "This was to be done by now, and it is not marked as done:",
        "- Buy a host: Tom, by Friday 19 June",
        "  From the review of #12 Order form is slow",
        "Mark it as done there, or give it another day or another person.",
    ]
    many = one | {"word": "still_overdue", "actions": [action] * 12}
    assert mail_subject(many) == "12 things from reviews are still to be done"
    said = list(mail_lines(many, SPEECH))
    assert said[0] == "A week ago we asked whoever was to do this, and they are not done:"
    assert said[-2] == "- and 2 others"
