"""Weddings from files, shared ones, and who sees whose names: by the API, as a script asks."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

IMPORT = "/api/v1/weddings/import"
CALENDAR = {"content-type": "text/calendar; charset=utf-8"}
TABLE = {"content-type": "text/csv"}


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


def event(uid: str, start: str, *lines: str) -> str:
    return "\r\n".join(("BEGIN:VEVENT", f"UID:{uid}", f"DTSTART{start}", *lines, "END:VEVENT"))


def calendar(*events: str) -> bytes:
    parts = ("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//t//EN", *events, "END:VCALENDAR", "")
    return "\r\n".join(parts).encode()


async def send(
    client: httpx.AsyncClient, body: bytes, headers: dict[str, str] = CALENDAR, **params: Any
) -> dict[str, Any]:
    answer = await client.post(IMPORT, content=body, headers=headers, params=params, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def counts(report: dict[str, Any]) -> dict[str, int]:
    names = ("created", "updated", "moved", "cancelled", "unchanged", "skipped", "refused")
    return {name: report[name] for name in names if report[name]}


async def weddings(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    items = (await client.get("/api/v1/weddings")).json()["items"]
    return {one["couple_names"]: one for one in items}


async def test_a_calendar_is_imported_once_and_followed_from_then_on(api: Running) -> None:
    london = ";TZID=Europe/London:20300608T143000"
    first = calendar(
        event("a@x", london, "SUMMARY:Wedding: Amelia & James", "LOCATION:The Barn", "SEQUENCE:1"),
        event("b@x", ";VALUE=DATE:20300615", "SUMMARY:Cleo & Dan"),
        event("c@x", ":20300622T140000", "SUMMARY:Hopeful", "STATUS:TENTATIVE"),
        event("d@x", ":20300629T140000", "SUMMARY:Bomb", "RRULE:FREQ=SECONDLY"),
    )
    async with api.as_person("alice") as alice:
        shown = await send(alice, first, dry_run=True)
        assert counts(shown) == {"created": 2, "skipped": 1, "refused": 1}
        assert shown["items"][0]["day"] == "Saturday 8 June 2030"
        assert shown["faults"][0]["field"] == "RRULE"
        assert await weddings(alice) == {}, "a dry run changes nothing"

        assert counts(await send(alice, first)) == counts(shown)
        made = (await weddings(alice))["Amelia & James"]
        assert (made["source"], made["venue_name"], made["time_zone"]) == (
            "import",
            "The Barn",
            "Europe/London",
        )
        assert made["windows"][1]["starts_local"] == "2030-06-08T14:30:00"
        assert made["windows"][1]["starts_at"] == "2030-06-08T13:30:00Z"

        again = await send(alice, first)
        assert counts(again) == {"unchanged": 2, "skipped": 1, "refused": 1}

        # What people enter here stays, until the entry itself says something else.
        url = f"/api/v1/weddings/{made['id']}"
        contacts = [{"name": "Nora", "role": "planner", "phone": "+44 1"}]
        changed = await alice.patch(url, json={"contacts": contacts, "venue_name": "Big Barn"})
        assert changed.status_code == 200, changed.text
        assert counts(await send(alice, first)) == counts(again)
        assert (await alice.get(url)).json()["venue_name"] == "Big Barn"

        moved = calendar(
            event(
                "a@x",
                ";TZID=Europe/London:20300609T150000",
                "SUMMARY:Wedding: Amelia & James",
                "SEQUENCE:2",
            ),
            event("b@x", ";VALUE=DATE:20300615", "SUMMARY:Cleo & Dan", "STATUS:CANCELLED"),
        )
        shown = await send(alice, moved, dry_run=True)
        assert counts(shown) == {"moved": 1, "cancelled": 1}
        assert {"field": "wedding_date", "before": "2030-06-08", "after": "2030-06-09"} in shown[
            "items"
        ][0]["changes"]
        assert (await alice.get(url)).json()["wedding_date"] == "2030-06-08"
        assert counts(await send(alice, moved)) == counts(shown)
        now = (await alice.get(url)).json()
        assert (now["wedding_date"], now["venue_name"], now["contacts"]) == (
            "2030-06-09",
            "Big Barn",
            contacts,
        )
        assert now["windows"][1]["starts_local"] == "2030-06-09T15:00:00"
        days = [
            (await alice.get("/api/v1/wedding-day", params={"date": f"2030-06-{day}"})).json()
            for day in ("08", "09", "15")
        ]
        assert [day["is_wedding_day"] for day in days] == [False, True, False]

        # An older file, found in a mailbox: nothing goes back.
        old = await send(alice, first)
        assert old["items"][0]["reason"] == "an older version of what is here already"
        assert (await alice.get(url)).json()["wedding_date"] == "2030-06-09"


async def test_two_imports_at_once_make_each_wedding_once(api: Running) -> None:
    body = calendar(*[event(f"{n}", ":20300608T140000", f"SUMMARY:Pair {n}") for n in range(20)])
    async with api.as_person("alice") as alice, api.as_person("carol") as carol:
        ours: dict[str, Any] = {"organization_id": str(api.world.here)}
        first, second = await asyncio.gather(send(alice, body), send(carol, body, **ours))
        assert {(r["created"], r["unchanged"]) for r in (first, second)} == {(20, 0), (0, 20)}
        assert len(await weddings(alice)) == 20


async def test_phases_entered_by_hand_move_with_an_all_day_event(api: Running) -> None:
    def whole_day(day: str) -> bytes:
        return calendar(event("a@x", f";VALUE=DATE:{day}", "SUMMARY:A & B"))

    async with api.as_person("alice") as alice:
        made = (await send(alice, whole_day("20300608")))["items"][0]["wedding_id"]
        url = f"/api/v1/weddings/{made}"
        ceremony = {
            "phase": "ceremony",
            "starts_local": "2030-06-08T11:00:00",
            "ends_local": "2030-06-08T12:00:00",
        }
        assert (await alice.patch(url, json={"windows": [ceremony]})).status_code == 200
        assert counts(await send(alice, whole_day("20300831"))) == {"moved": 1}
        (window,) = (await alice.get(url)).json()["windows"]
        assert window["starts_local"] == "2030-08-31T11:00:00"


async def test_occurrences_that_go_from_their_event_are_cancelled(
    api: Running, database: Database
) -> None:
    with psycopg.connect(database.owner) as owner:
        row = owner.execute("select current_date + 10").fetchone()
    assert row is not None
    days = [row[0] + timedelta(days=7 * n) for n in range(4)]
    start = f";VALUE=DATE:{days[0]:%Y%m%d}"

    def fairs(*more: str) -> bytes:
        return calendar(event("a@x", start, "SUMMARY:A & B", *more))

    async with api.as_person("alice") as alice:
        assert counts(await send(alice, fairs("RRULE:FREQ=WEEKLY;COUNT=4"))) == {"created": 4}
        fewer = fairs("RRULE:FREQ=WEEKLY;COUNT=3", f"EXDATE;VALUE=DATE:{days[1]:%Y%m%d}")
        report = await send(alice, fewer)
        assert counts(report) == {"unchanged": 2, "cancelled": 2}
        gone = {one["wedding_date"] for one in report["items"] if one["action"] == "cancelled"}
        assert gone == {days[1].isoformat(), days[3].isoformat()}
        assert counts(await send(alice, fewer)) == {"unchanged": 2}


async def test_a_table_in_the_organizations_own_habit(api: Running, database: Database) -> None:
    text = (
        b"Ref,Date,Couple,Venue,Ceremony,Status\n"
        b"1,3/4/2030,<b>Ann</b> & Ben,Barn,14:30,booked\n"
        b"2,31/2/2030,C & D,Barn,,booked\n"
        b"3,,E & F,,,lead\n"
    )
    async with api.as_person("alice") as alice:
        answer = await alice.post(IMPORT, content=text[: text.index(b"2,31")], headers=TABLE)
        assert answer.status_code == 422
        assert "3 Apr or 4 Mar" in answer.json()["errors"][0]["reason"]
        with psycopg.connect(database.owner) as owner:
            owner.execute(
                "update organizations set settings = jsonb_set(settings, '{locale}', '\"en-GB\"')"
                " where id = %s",
                (api.world.here,),
            )
        report = await send(alice, text, TABLE)
        assert counts(report) == {"created": 1, "refused": 1}
        assert report["items"][0]["day"] == "Wednesday 3 April 2030"
        assert report["faults"] == [
            {"place": 3, "field": "wedding_date", "reason": "is a day that no calendar has"}
        ]
        assert (report["date_order"], report["date_order_from"]) == ("dmy", "organization")
        assert counts(await send(alice, text, TABLE)) == {"unchanged": 1, "refused": 1}
        moved = text.replace(b"3/4/2030", b"10/4/2030")
        assert counts(await send(alice, moved, TABLE)) == {"moved": 1, "refused": 1}
        months_first = await send(alice, text, TABLE, date_order="mdy", dry_run=True)
        assert months_first["items"][0]["wedding_date"] == "2030-03-04"
        # what looks like HTML is text, and a page shows it as text
        assert (await weddings(alice)).keys() == {"<b>Ann</b> & Ben"}
        page = await alice.get("/weddings")
        assert "<b>Ann</b>" not in page.text


async def test_only_admins_import_and_only_for_themselves(api: Running) -> None:
    body = calendar(event("a@x", ":20300608T140000", "SUMMARY:A & B"))
    for person, status in (("bob", 403), ("vera", 403), ("nora", 403), ("oscar", 200)):
        async with api.as_person(person) as client:
            answer = await client.post(IMPORT, content=body, headers=CALENDAR, timeout=60)
            assert answer.status_code == status, (person, answer.text)
    async with api.as_person("oscar") as oscar:
        foreign = await oscar.post(
            IMPORT, content=body, headers=CALENDAR, params={"organization_id": str(api.world.here)}
        )
        assert foreign.status_code == 404
    async with api.as_key("ingest") as sender, api.as_key("read") as reader:
        for client in (sender, reader):
            assert (await client.post(IMPORT, content=body, headers=CALENDAR)).status_code == 403
    async with api.as_person("alice") as alice:
        assert await weddings(alice) == {}, "what oscar imported is his"
        # the same UID is another entry in another organization
        assert counts(await send(alice, body)) == {"created": 1}


BOMBS = [
    (b"BEGIN:VCALENDAR\r\n" * 30_000, 422, "deeper"),
    (calendar(*[event(f"{n}", ":20300608T140000") for n in range(1001)]), 422, "more than 1000"),
    # reads until its 10 s are over
    (
        calendar(
            *[
                event(f"{n}", ";VALUE=DATE:19900608", "RRULE:FREQ=WEEKLY;BYMONTHDAY=31;BYMONTH=2")
                for n in range(1000)
            ]
        ),
        422,
        "within the time and memory",
    ),
    (calendar("SUMMARY:" + "x" * 1_100_000), 413, ""),
    (b"", 400, "empty"),
    (b"\x00\xff" * 1000, 422, "UTF-8"),
]


@pytest.mark.parametrize(("body", "status", "words"), BOMBS, ids=range(len(BOMBS)))
async def test_a_bomb_takes_its_own_process_along_and_nothing_else(
    api: Running, body: bytes, status: int, words: str
) -> None:
    async with api.as_person("alice") as alice:
        answer = await alice.post(IMPORT, content=body, headers=CALENDAR, timeout=90)
        assert answer.status_code == status, answer.text
        assert words in answer.text
        assert (await alice.get("/healthz")).status_code == 200
        assert await weddings(alice) == {}


async def test_what_is_no_file_of_weddings_is_refused(api: Running) -> None:
    async with api.as_person("alice") as alice:
        for headers in ({"content-type": "application/json"}, {"content-type": "text/html"}, {}):
            answer = await alice.post(IMPORT, content=b"x", headers=headers)
            assert answer.status_code == 415, answer.text
        packed = await alice.post(
            IMPORT, content=b"x", headers=TABLE | {"content-encoding": "gzip"}
        )
        assert packed.status_code == 415
        odd = await alice.post(IMPORT, content=b"x", headers=TABLE, params={"date_order": "dym"})
        assert odd.status_code == 422


async def test_times_by_the_venues_clock(api: Running) -> None:
    window = {
        "phase": "ceremony",
        "starts_local": "2030-06-08T14:30:00",
        "ends_local": "2030-06-08T15:30:00",
    }
    body = {"wedding_date": "2030-06-08", "time_zone": "Europe/Rome", "windows": [window]}
    async with api.as_person("alice") as alice:
        made = (await alice.post("/api/v1/weddings", json=body)).json()
        assert made["windows"][0]["starts_at"] == "2030-06-08T12:30:00Z"
        url = f"/api/v1/weddings/{made['id']}"
        moved = (await alice.patch(url, json={"time_zone": "America/New_York"})).json()
        assert moved["windows"][0]["starts_local"] == "2030-06-08T14:30:00"
        assert moved["windows"][0]["starts_at"] == "2030-06-08T18:30:00Z"
        wrong: list[tuple[dict[str, Any], str]] = [
            (window | {"starts_at": "2030-06-08T14:30:00Z"}, "starts_local"),
            ({"phase": "ceremony", "starts_local": "2030-06-08T14:30:00"}, "starts_at"),
            ({"phase": "ceremony", "starts_at": "2030-06-08T14:30:00Z"}, "ends_at"),
            ({"phase": "ceremony"}, "starts_at"),
            (window | {"starts_local": "2030-06-08T14:30:00+02:00"}, "starts_local"),
            (window | {"ends_local": "2030-06-08T14:30:00"}, "ends_at"),
        ]
        for one, field in wrong:
            answer = await alice.patch(url, json={"windows": [one]})
            assert answer.status_code == 422, one
            assert answer.json()["errors"][0]["field"] == f"windows[0].{field}", one
        found = await alice.get(
            "/api/v1/wedding-phases",
            params={"from": "2030-06-07T00:00:00Z", "to": "2030-06-09T00:00:00Z"},
        )
        names = [one["phase"] for one in found.json()["items"]]
        assert names == [
            "days_before",
            "evening_before",
            "day",
            "set_up",
            "ceremony",
            "reception",
        ]
        for bad in ({"to": "2030-06-01T00:00:00Z"}, {"to": "2032-06-01T00:00:00Z"}):
            answer = await alice.get(
                "/api/v1/wedding-phases", params={"from": "2030-06-07T00:00:00Z"} | bad
            )
            assert answer.status_code == 422
    async with api.as_person("oscar") as oscar:
        theirs = await oscar.get(
            "/api/v1/wedding-phases",
            params={"from": "2030-06-07T00:00:00Z", "to": "2030-06-09T00:00:00Z"},
        )
        assert theirs.json()["items"] == []


async def test_vendors_of_one_wedding_each_see_their_own_part(api: Running) -> None:
    body = {"wedding_date": "2030-06-08", "couple_names": "Amelia & James"}
    async with api.as_person("alice") as alice, api.as_person("oscar") as oscar:
        ours = (await alice.post("/api/v1/weddings", json=body)).json()
        theirs = (await oscar.post("/api/v1/weddings", json=body)).json()
        assert (ours["is_shared"], ours["other_vendors"]) == (False, None)
        assert (await oscar.post(f"/api/v1/weddings/{ours['id']}/share")).status_code == 404
        async with api.as_person("bob") as bob:
            assert (await bob.post(f"/api/v1/weddings/{ours['id']}/share")).status_code == 403
        code = (await alice.post(f"/api/v1/weddings/{ours['id']}/share")).json()["code"]
        join = f"/api/v1/weddings/{theirs['id']}/join"
        assert (await oscar.post(join, json={"code": "no code"})).status_code == 422
        joined = await oscar.post(join, json={"code": code})
        assert joined.status_code == 200, joined.text
        assert (joined.json()["other_vendors"], joined.json()["is_date_agreed"]) == (1, True)
        moved = await alice.patch(
            f"/api/v1/weddings/{ours['id']}", json={"wedding_date": "2030-06-15"}
        )
        assert moved.json()["is_date_agreed"] is False
        seen = (await oscar.get("/api/v1/weddings")).json()["items"]
        assert [one["id"] for one in seen] == [theirs["id"]]
        assert seen[0]["wedding_date"] == "2030-06-08"
        assert (await oscar.get(f"/api/v1/weddings/{ours['id']}")).status_code == 404
        assert (await oscar.delete(f"/api/v1/weddings/{theirs['id']}/share")).status_code == 204
        alone = (await alice.get(f"/api/v1/weddings/{ours['id']}")).json()
        assert (alone["is_shared"], alone["other_vendors"]) == (True, 0)


async def test_names_are_for_members_and_for_operators_with_a_reason(api: Running) -> None:
    body = {
        "wedding_date": "2030-06-08",
        "couple_names": "Amelia & James",
        "contacts": [{"name": "Nora", "phone": "+44 1"}],
    }
    async with api.as_person("alice") as alice:
        made = (await alice.post("/api/v1/weddings", json=body)).json()
        quiet = (await alice.post("/api/v1/weddings", json=body | {"visible_to": "ADMIN"})).json()
    url = f"/api/v1/weddings/{made['id']}"
    why = {"reason": "incident 4711: the florist does not answer"}
    async with api.as_person("vera") as vera:
        seen = (await vera.get(url)).json()
        assert (seen["couple_names"], seen["contacts"], seen["couple_initials"]) == (
            None,
            None,
            "A & J",
        )
    async with api.as_person("bob") as bob:
        assert (await bob.get(url)).json()["couple_names"] == "Amelia & James"
        hidden = (await bob.get(f"/api/v1/weddings/{quiet['id']}")).json()
        assert (hidden["couple_names"], hidden["contacts"]) == (None, None)
        assert (await bob.get(f"{url}/details", params=why)).status_code == 404
    async with api.as_person("olga") as olga:
        assert (await olga.get(url)).status_code == 404
        assert (await olga.get(f"{url}/details")).status_code == 422
        assert (await olga.get(f"{url}/details", params={"reason": "because"})).status_code == 422
        found = (await olga.get(f"{url}/details", params=why)).json()
        assert (found["couple_names"], found["contacts"][0]["phone"]) == ("Amelia & James", "+44 1")
    async with api.as_person("alice") as alice:
        log = (await alice.get("/api/v1/audit-log")).json()["items"]
        (entry,) = [one for one in log if one["action"] == "reveal"]
        assert entry["object_id"] == made["id"]
        assert entry["actor"] == "Olga"
        assert entry["new_values"]["reason"] == why["reason"]
