"""Incidents through the API: merging, updates, looking back, and what is refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


async def opened(client: httpx.AsyncClient, title: str, severity: str = "critical") -> str:
    made = await client.post("/api/v1/incidents", json={"title": title, "severity": severity})
    assert made.status_code == 201, made.text
    found: str = made.json()["id"]
    return found


async def test_merging_updates_and_what_is_refused(api: Running) -> None:
    async with api.as_person("bob") as bob:
        first, second = await opened(bob, "The host is down"), await opened(bob, "Slow", "warning")
        urgent = (await bob.get("/api/v1/incidents", params={"sort": "urgency"})).json()["items"]
        assert [one["title"] for one in urgent] == ["The host is down", "Slow"]
        path = f"/api/v1/incidents/{second}"
        told = await bob.post(f"{path}/updates", json={"message": "We have found it."})
        assert told.status_code == 200, told.text
        soon = (datetime.now(UTC) + timedelta(minutes=20)).isoformat()
        promised = await bob.put(f"{path}/promise", json={"next_update_at": soon})
        assert promised.json()["next_update_at"].startswith(soon[:16])
        past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        refused = await bob.put(f"{path}/promise", json={"next_update_at": past})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "next_update_at"
        texts = {"engineer_text": "p95 up", "vendor_text": {"subject": "Form", "problem": "slow"}}
        assert (await bob.put(f"{path}/texts", json=texts)).json()["engineer_text"] == "p95 up"
        merged = await bob.post(f"{path}/merge", json={"into": first})
        assert (merged.json()["status"], merged.json()["merged_into"]) == ("closed", first)
        detail = (await bob.get(path)).json()
        assert detail["timeline"][-1]["kind"] == "merged"
        assert detail["blast_radius"]["weddings"] == 0
        assert detail["parts"] == []
        for act, body in (
            ("merge", {"into": first}),
            ("reopen", {}),
            ("acknowledge", {}),
            ("resolve", {}),
            ("updates", {"message": "x"}),
        ):
            answer = await bob.post(f"{path}/{act}", json=body)
            assert answer.status_code == 409, (act, answer.text)
        assert (
            await bob.post(f"/api/v1/incidents/{first}/merge", json={"into": str(uuid4())})
        ).status_code == 404
    async with api.as_person("vera") as vera:
        for act, body in (("updates", {"message": "x"}), ("merge", {"into": second})):
            answer = await vera.post(f"/api/v1/incidents/{first}/{act}", json=body)
            assert answer.status_code == 403, (act, answer.text)


POSTMORTEM: dict[str, Any] = {
    "summary": "The host was full.",
    "root_cause": "No disk limit",
    "contributing_factors": ["No alarm"],
    "went_well": ["Answered at once"],
    "went_wrong": ["No second host"],
    "preventive_measures": ["Alarm at 80 %"],
    "customers_affected": 12,
    "data_loss": "",
    "financial_impact_pounds": 120.5,
    "actions": [{"title": "Alarm at 80 %", "owner": "Bob", "due_on": "2026-01-02"}],
}


async def test_a_postmortem_from_the_timeline_to_the_last_action(api: Running) -> None:
    async with api.as_person("bob") as bob, api.as_person("alice") as alice:
        incident = await opened(bob, "The host is down")
        base = f"/api/v1/incidents/{incident}"
        await bob.post(f"{base}/acknowledge")
        await bob.post(f"{base}/resolve", json={"message": "Deleted old logs"})
        draft = (await bob.get(f"{base}/postmortem")).json()
        assert draft["is_draft"]
        assert "What ended it: Deleted old logs." in draft["summary"]
        assert draft["measured"]["acknowledge"] < 60
        assert draft["measured"]["times_back"] == 0
        written = await bob.put(f"{base}/postmortem", json=POSTMORTEM)
        assert written.status_code == 200, written.text
        found = written.json()
        for name, value in POSTMORTEM.items():
            if name != "actions":
                assert found[name] == value, name
        (action,) = found["actions"]
        assert action["is_overdue"]
        refused = await bob.put(f"{base}/postmortem", json=POSTMORTEM | {"is_approved": True})
        assert refused.status_code == 403
        kept = [{key: action[key] for key in ("id", "title", "owner", "due_on")}]
        approved = await alice.put(
            f"{base}/postmortem", json=POSTMORTEM | {"is_approved": True, "actions": kept}
        )
        assert approved.json()["is_approved"], approved.text
        listed = (await bob.get("/api/v1/postmortem-actions")).json()["items"]
        assert [one["id"] for one in listed] == [action["id"]]
        done = [kept[0] | {"is_done": True}]
        changed = (await bob.put(f"{base}/postmortem", json=POSTMORTEM | {"actions": done})).json()
        assert not changed["is_approved"], "what was changed has to be approved again"
        assert (await bob.get("/api/v1/postmortem-actions")).json()["items"] == []
        everything = await bob.get("/api/v1/postmortem-actions", params={"status": "all"})
        assert [one["is_done"] for one in everything.json()["items"]] == [True]
    async with api.as_person("vera") as vera:
        assert (await vera.get(f"{base}/postmortem")).status_code == 200
        assert (await vera.put(f"{base}/postmortem", json=POSTMORTEM)).status_code == 403
    async with api.as_person("oscar") as oscar:
        assert (await oscar.get("/api/v1/postmortem-actions")).json()["items"] == []


async def test_figures_come_from_the_timeline(api: Running) -> None:
    async with api.as_person("bob") as bob:
        incident = await opened(bob, "The host is down")
        await bob.post(f"/api/v1/incidents/{incident}/acknowledge")
        await bob.post(f"/api/v1/incidents/{incident}/resolve")
        await opened(bob, "Still open")
        found = (await bob.get("/api/v1/incident-figures")).json()["figures"]
        assert [(one["scope"], one["spells"]) for one in found] == [
            ("all", 2),
            ("in_window", 0),
            ("outside", 2),
        ]
        assert found[0]["acknowledge"]["count"] == found[0]["resolve"]["count"] == 1
        today = datetime.now(UTC).date().isoformat()
        report = (await bob.get("/api/v1/day-report", params={"date": today})).json()
        assert len(report["spells"]) == 2
        assert not report["is_final"]
        assert (await bob.get("/api/v1/day-report")).status_code == 422
    async with api.as_person("oscar") as oscar:
        theirs = (await oscar.get("/api/v1/incident-figures")).json()["figures"]
        assert theirs[0]["spells"] == 0


async def test_emergency_contacts_of_a_wedding(api: Running) -> None:
    async with api.as_person("alice") as alice, api.as_person("oscar") as oscar:
        wedding = {"wedding_date": "2030-06-08", "couple_names": "Amelia Hart & James Moss"}
        made = (await alice.post("/api/v1/weddings", json=wedding)).json()["id"]
        contact = {"name": "Second", "channel": "email", "address": "s@example.org"}
        mine = (await alice.post("/api/v1/contact-methods", json=contact)).json()["id"]
        theirs = (await oscar.post("/api/v1/contact-methods", json=contact)).json()["id"]
        path = f"/api/v1/weddings/{made}/emergency-contacts"
        stored = await alice.put(path, json={"contact_method_ids": [mine]})
        assert [one["contact_method_id"] for one in stored.json()["items"]] == [mine]
        foreign = await alice.put(path, json={"contact_method_ids": [mine, theirs]})
        assert foreign.status_code == 422, foreign.text
        assert len((await alice.get(path)).json()["items"]) == 1, "and nothing was changed"
    async with api.as_person("bob") as bob:
        assert (await bob.put(path, json={"contact_method_ids": []})).status_code == 403
        assert len((await bob.get(path)).json()["items"]) == 1
