"""Incidents on their pages: a word to those who were told, joining, looking back, reports."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.pages import plain, surfing
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR, VENDORS

ROSA, TOM, INES = STAR.people
STRANGER = VENDORS[1].people[0]


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("incidents")
    with server.clone() as database, open_stage(database, folder) as opened:
        yield opened


@pytest.fixture(autouse=True)
def calm(stage: Stage) -> None:
    stage.execute("delete from apm_incidents")


def organization(stage: Stage) -> UUID:
    (row,) = stage.execute("select id from organizations where name = %(name)s", name=STAR.name)
    found: UUID = row["id"]
    return found


def opened(stage: Stage, title: str, severity: str = "critical", minutes: int = 5) -> UUID:
    (row,) = stage.execute(
        "insert into apm_incidents (organization_id, title, severity, priority, dedup_key, "
        "detected_at, last_seen_at) values (%(o)s, %(title)s, %(severity)s, 'low', %(title)s, "
        "%(at)s, %(at)s) returning id",
        o=organization(stage),
        title=title,
        severity=severity,
        at=datetime.now(UTC) - timedelta(minutes=minutes),
    )
    found: UUID = row["id"]
    return found


def row_of(stage: Stage, incident: UUID) -> dict[str, Any]:
    (row,) = stage.execute("select * from apm_incidents where id = %(id)s", id=incident)
    return row


def test_a_word_to_those_who_were_told_promises_the_next_one(stage: Stage) -> None:
    incident = opened(stage, "Order form is slow")
    path = f"/incidents/{incident}?view=engineer"
    with surfing(stage, ROSA) as rosa:
        rosa.post(f"/incidents/{incident}/acknowledge")
        assert "The next word comes" in rosa.get(path)
        done = rosa.post(f"/incidents/{incident}/updates", body="It is the host.", choice="5")
        assert "Sent to everyone who was told" in rosa.get(done.headers["location"])
        promised = row_of(stage, incident)["next_update_at"] - datetime.now(UTC)
        assert timedelta(minutes=4) < promised <= timedelta(minutes=5)
        refused = rosa.post(f"/incidents/{incident}/updates", 422, body=" ", choice="5")
        assert "Write a word first" in plain(refused.text)
        rosa.post(f"/incidents/{incident}/resolve", body="Restarted it")
        late = rosa.post(f"/incidents/{incident}/updates", body="Over", choice="5")
        assert "has moved on" in rosa.get(late.headers["location"])
    with surfing(stage, INES) as ines:
        ines.post(f"/incidents/{incident}/updates", 403, body="Hello", choice="5")
    with surfing(stage, STRANGER) as stranger:
        stranger.post(f"/incidents/{incident}/updates", 404, body="Hello", choice="5")


def test_two_of_them_become_one(stage: Stage) -> None:
    first, second = opened(stage, "The host is down"), opened(stage, "Order form is slow")
    with surfing(stage, ROSA) as rosa:
        done = rosa.post(f"/incidents/{second}/merge", choice=str(first))
        assert "Joined" in rosa.get(done.headers["location"])
        assert "It goes on in another problem" in rosa.get(f"/incidents/{second}")
        again = rosa.post(f"/incidents/{second}/merge", choice=str(first))
        assert "has moved on" in rosa.get(again.headers["location"])
    assert row_of(stage, second)["merged_into"] == first
    with surfing(stage, STRANGER) as stranger:
        stranger.post(f"/incidents/{first}/merge", 404, choice=str(second))


def test_the_list_says_how_fast_we_were(stage: Stage) -> None:
    incident = opened(stage, "Order form is slow")
    with surfing(stage, ROSA) as rosa:
        rosa.post(f"/incidents/{incident}/acknowledge")
        rosa.post(f"/incidents/{incident}/resolve", body="Restarted it")
        page = rosa.get("/incidents")
    assert "How fast we were, in the last 30 days" in page
    assert "In hand after 5 min" in page


def test_a_review_begins_with_the_timeline_and_keeps_what_was_decided(stage: Stage) -> None:
    incident = opened(stage, "Order form is slow")
    with surfing(stage, ROSA) as rosa:
        rosa.post(f"/incidents/{incident}/acknowledge")
        rosa.post(f"/incidents/{incident}/resolve", body="Restarted it")
        path = f"/incidents/{incident}/postmortem"
        draft = rosa.get(path)
        assert "Nobody has written this yet" in draft
        assert "What ended it: Restarted it" in draft
        lacking = rosa.post(path, 422, summary="Kept", action_title_0="Buy a host")
        assert "each line needs what, who and a date" in plain(lacking.text)
        assert "Kept" in lacking.text
        done = rosa.post(
            path,
            summary="The host was full",
            went_well="We noticed at once\nTom answered",
            customers_affected="12",
            action_title_0="Buy a host",
            action_owner_0="Tom",
            action_due_0="2026-01-02",
            is_approved="yes",
        )
        assert "Approved by Rosa" in rosa.get(done.headers["location"])
        still = rosa.get("/reviews")
        assert "Buy a host" in still
        assert "Overdue" in still
    (action,) = stage.execute("select * from apm_postmortem_actions")
    with surfing(stage, TOM) as tom:
        tom.post(
            path,
            summary="The host was full",
            action_id_0=str(action["id"]),
            action_title_0="Buy a host",
            action_owner_0="Tom",
            action_due_0="2026-01-02",
            action_done_0="yes",
        )
        assert "Nothing is left to do" in tom.get("/reviews")
        changed = tom.get(path)
        assert "Not approved yet" in changed, "what is changed has to be approved again"
    with surfing(stage, INES) as ines:
        ines.post(path, 403, summary="Theirs")
        assert "The host was full" in ines.get(path)
    with surfing(stage, STRANGER) as stranger:
        stranger.post(path, 404, summary="Theirs")


def test_a_day_and_a_wedding_have_their_reports(stage: Stage) -> None:
    now = datetime.now(UTC)
    (wedding,) = stage.execute(
        "select id, wedding_date from apm_weddings where organization_id = %(o)s "
        "order by abs(wedding_date - current_date) limit 1",
        o=organization(stage),
    )
    with surfing(stage, ROSA) as rosa:
        calm_day = rosa.get("/reports/day?date=2020-06-06")
        assert "Nothing went wrong" in calm_day
        assert "This is the last word" in calm_day
        opened(stage, "Order form is slow")
        day = now.date()
        assert "Order form is slow" in rosa.get(f"/reports/day?date={day}")
        assert "How this wedding went" in rosa.get(f"/weddings/{wedding['id']}/report")
    with surfing(stage, STRANGER) as stranger:
        assert "Order form is slow" not in stranger.get(f"/reports/day?date={day}")


def test_a_wedding_has_its_own_emergency_contacts(stage: Stage) -> None:
    o = organization(stage)
    (wedding,) = stage.execute(
        "select id from apm_weddings where organization_id = %(o)s limit 1", o=o
    )
    (contact,) = stage.execute(
        "insert into apm_contact_methods (organization_id, name, channel, address) "
        "values (%(o)s, 'Second shooter', 'email', 's@example.org') returning id",
        o=o,
    )
    path = f"/weddings/{wedding['id']}"
    with surfing(stage, ROSA) as rosa:
        assert "Second shooter" in rosa.get(path)
        done = rosa.post(f"{path}/emergency", contact=str(contact["id"]))
        assert "they are called in this wedding's hours" in rosa.get(done.headers["location"])
    (kept,) = stage.execute("select * from apm_wedding_emergency_contacts")
    assert kept["contact_method_id"] == contact["id"]
    with surfing(stage, INES) as ines:
        assert "Second shooter" not in ines.get(path)
        ines.post(f"{path}/emergency", 403)
        ines.post(f"{path}/emergency", 403, contact=str(contact["id"]))
    with surfing(stage, STRANGER) as stranger:
        stranger.post(f"{path}/emergency", 404, contact=str(contact["id"]))


def test_whom_it_was_told_to_stands_beside_who_is_next(stage: Stage) -> None:
    incident = opened(stage, "Order form is slow")
    stage.execute(
        "insert into apm_deliveries (organization_id, incident_id, channel, kind, reason, "
        "recipient, idempotency_key, state) values (%(o)s, %(i)s, 'email', 'page', 'first', "
        "'{\"name\": \"Tom Ashby\"}', 'told', 'sent')",
        o=organization(stage),
        i=incident,
    )
    with surfing(stage, ROSA) as rosa:
        assert "Called already: Tom Ashby." in rosa.get(f"/incidents/{incident}/calls")
    with surfing(stage, INES) as ines:
        assert "Tom Ashby" not in ines.get(f"/incidents/{incident}/calls")
