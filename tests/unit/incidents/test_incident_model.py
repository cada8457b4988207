"""What is offered, whom it hits, and which incident comes first."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from wedsync_apm.incidents.model import (
    Action,
    AffectedWedding,
    Incident,
    VendorText,
    blast_radius,
    offers,
    read_vendor_text,
)
from wedsync_apm.types import EscalationLevel, IncidentStatus, Priority, Severity

AT = datetime(2026, 6, 20, 13, tzinfo=UTC)


def wedding(minutes: int | None, phase: str = "ceremony") -> AffectedWedding:
    moment = None if minutes is None else AT + timedelta(minutes=minutes)
    return AffectedWedding(UUID(int=5), date(2026, 6, 20), "A & R", phase, "Europe/London", moment)


INCIDENT = Incident(
    id=UUID(int=1),
    number=4127,
    organization_id=UUID(int=2),
    alert_id=None,
    title="Order form p95",
    status=IncidentStatus.OPEN,
    severity=Severity.WARNING,
    priority=Priority.HIGH,
    escalation_level=EscalationLevel.NONE,
    dedup_key="alert:1:x",
    generation=1,
    detected_at=AT,
    acknowledged_at=None,
    acknowledged_by=None,
    acknowledged_by_name=None,
    investigating_at=None,
    resolved_at=None,
    resolved_by=None,
    closed_at=None,
    reopened_at=None,
    next_update_at=None,
    metric_value=1.0,
    threshold_value=1.0,
    threshold_source="rule",
    repeat_count=0,
    last_seen_at=AT,
    was_wedding_day=False,
    wedding_date=None,
    wedding_phase=None,
    affected_weddings=(),
    vendor_text=VendorText(),
    merged_into=None,
    created_by=None,
    created_at=AT,
    updated_at=AT,
)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            IncidentStatus.OPEN,
            [Action.ACKNOWLEDGE, Action.INVESTIGATE, Action.RESOLVE, Action.CLOSE],
        ),
        (IncidentStatus.ACKNOWLEDGED, [Action.INVESTIGATE, Action.RESOLVE, Action.CLOSE]),
        (IncidentStatus.INVESTIGATING, [Action.RESOLVE, Action.CLOSE]),
        (IncidentStatus.RESOLVED, [Action.CLOSE, Action.REOPEN]),
        (IncidentStatus.CLOSED, []),
    ],
)
def test_offers(status: IncidentStatus, expected: list[Action]) -> None:
    assert list(offers(status)) == expected


def test_the_blast_radius_names_the_next_milestone_ahead() -> None:
    hit = replace(
        INCIDENT, affected_weddings=(wedding(90, "set_up"), wedding(47), wedding(-5), wedding(None))
    )
    found = blast_radius(hit, AT)
    assert (found.weddings, found.phase) == (4, "ceremony")
    assert found.time_left == timedelta(minutes=47)
    assert blast_radius(hit, AT + timedelta(hours=3)).time_left is None
    assert blast_radius(INCIDENT, AT).weddings == 0


def test_the_blast_radius_names_the_next_ceremony_of_any_of_them() -> None:
    later = replace(wedding(20, "set_up"), ceremony_at=AT + timedelta(minutes=50))
    sooner = replace(wedding(30, "set_up"), ceremony_at=AT + timedelta(minutes=47))
    begun = replace(wedding(10), ceremony_at=AT - timedelta(minutes=5))
    found = blast_radius(replace(INCIDENT, affected_weddings=(later, sooner, begun)), AT)
    assert (found.weddings, found.ceremony_at) == (3, sooner.ceremony_at)


def test_vendor_text_of_a_wrong_shape_counts_as_missing() -> None:
    words = read_vendor_text({"subject": " Your order form ", "problem": "is slow"})
    assert words.headline("x") == "Your order form is slow"
    assert read_vendor_text({"subject": 3, "problem": None, "what_to_do": "call"}) == VendorText()
    assert read_vendor_text({"what_to_do": ["call", 4]}).what_to_do == ("call",)
    assert VendorText(subject="Your form").headline("Order form p95") == "Order form p95"
