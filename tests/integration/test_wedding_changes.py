"""A wedding that is changed over the API: its phases, its bounds, and two people at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest
from psycopg import sql

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for

URL: Final = "/api/v1/weddings"
ENTERED: Final = {"ceremony": ("14:30", "15:30"), "reception": ("18:00", "23:30")}
CLOCKS_GO_FORWARD: Final = "2030-03-31"
"""In London, in the night before."""
SECONDS: Final = 60.0


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(settings_for(database, tmp_path), populate(database)) as process:
        yield process


def windows_on(day: str) -> list[dict[str, str]]:
    return [
        {"phase": phase, "starts_local": f"{day}T{a}:00", "ends_local": f"{day}T{b}:00"}
        for phase, (a, b) in ENTERED.items()
    ]


async def enter(client: httpx.AsyncClient, day: str, **more: Any) -> str:
    body = {"wedding_date": day, "time_zone": "Europe/London", "windows": windows_on(day), **more}
    answer = await client.post(URL, json=body)
    assert answer.status_code == 201, answer.text
    return f"{URL}/{answer.json()['id']}"


async def phases_on(client: httpx.AsyncClient, day: str) -> dict[str, str]:
    """The phases that begin on the date, with their instants."""
    span = {"from": f"{day}T00:00:00Z", "to": f"{day}T23:59:00Z"}
    items = (await client.get("/api/v1/wedding-phases", params=span)).json()["items"]
    return {one["phase"]: one["starts_at"] for one in items if one["starts_at"][:10] == day}


@pytest.mark.parametrize("days", [["2030-02-11", "2030-02-12"], ["2030-02-23"], ["2031-08-02"]])
async def test_entered_phases_move_with_their_wedding(api: Running, days: list[str]) -> None:
    async with api.as_person("alice") as alice:
        url = await enter(alice, "2030-02-10")
        for day in days:
            answer = await alice.patch(url, json={"wedding_date": day})
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert found["wedding_date"] == day
            assert {w["phase"]: w["starts_local"] for w in found["windows"]} == {
                phase: f"{day}T{starts}:00" for phase, (starts, _) in ENTERED.items()
            }
            assert {"ceremony", "reception"} <= (await phases_on(alice, day)).keys()
        assert "ceremony" not in await phases_on(alice, "2030-02-10")


async def test_a_move_over_a_change_of_the_clock_keeps_the_venues_time(api: Running) -> None:
    async with api.as_person("alice") as alice:
        url = await enter(alice, "2030-03-30")
        assert (await phases_on(alice, "2030-03-30"))["ceremony"] == "2030-03-30T14:30:00Z"
        answer = await alice.patch(url, json={"wedding_date": CLOCKS_GO_FORWARD})
        assert answer.json()["windows"][0]["starts_local"] == f"{CLOCKS_GO_FORWARD}T14:30:00"
        found = await phases_on(alice, CLOCKS_GO_FORWARD)
        assert found["ceremony"] == f"{CLOCKS_GO_FORWARD}T13:30:00Z", (
            "half past two, an hour earlier"
        )
        # to another day and another zone in one go
        away = {"wedding_date": "2030-06-08", "time_zone": "Europe/Rome"}
        (ceremony, _) = (await alice.patch(url, json=away)).json()["windows"]
        assert ceremony["starts_local"] == "2030-06-08T14:30:00"
        assert ceremony["starts_at"] == "2030-06-08T12:30:00Z"


async def test_phases_that_are_sent_along_are_taken_as_sent_and_refused_by_name(
    api: Running,
) -> None:
    async with api.as_person("alice") as alice:
        url = await enter(alice, "2030-02-10")
        sent = {"wedding_date": "2030-03-09", "windows": windows_on("2030-03-09")[:1]}
        (window,) = (await alice.patch(url, json=sent)).json()["windows"]
        assert window["starts_local"] == "2030-03-09T14:30:00"
        before = (await alice.get(url)).json()
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"windows": windows_on("2030-04-01")}, "windows[0]"),
            ({"wedding_date": "2030-05-04", "windows": windows_on("2030-03-09")}, "windows[0]"),
            (
                {
                    "windows": [
                        {
                            "phase": "ceremony",
                            "starts_at": "2030-04-01T12:00:00Z",
                            "ends_at": "2030-04-01T13:00:00Z",
                        }
                    ]
                },
                "windows",
            ),
        ]
        for body, field in wrong:
            answer = await alice.patch(url, json=body)
            assert answer.status_code == 422, body
            assert answer.json()["errors"][0]["field"] == field, body
        assert (await alice.get(url)).json() == before


@pytest.mark.parametrize("day", ["0001-01-01", "1989-12-31", "2101-01-01", "9999-12-31"])
async def test_a_date_that_files_may_not_have_the_api_may_not_have_either(
    api: Running, day: str
) -> None:
    async with api.as_person("alice") as alice:
        url = await enter(alice, "2030-02-10")
        answers = [
            await alice.post(URL, json={"wedding_date": day}),
            await alice.patch(url, json={"wedding_date": day}),
            await alice.patch(url, json={"wedding_date": day, "windows": []}),
        ]
        for answer in answers:
            assert answer.status_code == 422, answer.text
            assert [one["field"] for one in answer.json()["errors"]] == ["wedding_date"]
        span = {"from": f"{day}T00:00:00Z", "to": f"{day}T00:00:00Z"}
        found = await alice.get("/api/v1/wedding-phases", params=span)
        assert (found.status_code, found.json()) == (200, {"items": []})
        found = await alice.get("/api/v1/wedding-day", params={"date": day})
        assert found.json()["is_wedding_day"] is False


async def test_the_first_and_the_last_date_are_weddings(api: Running) -> None:
    async with api.as_person("alice") as alice:
        for day in ("1990-01-01", "2100-12-31"):
            url = await enter(alice, day)
            assert (await alice.get(url)).json()["wedding_date"] == day
            assert "ceremony" in await phases_on(alice, day)


async def test_of_two_changes_at_once_neither_takes_the_other_back(
    database: Database, tmp_path: Path
) -> None:
    """Both wait for a third one, so both are under way before either has changed anything."""
    owner = await psycopg.AsyncConnection.connect(database.owner, autocommit=True)
    async with owner, asyncio.timeout(2 * SECONDS):
        for limit in ("lock_timeout", "statement_timeout"):
            # however long a busy machine needs until the second one waits, too
            await owner.execute(
                sql.SQL("alter role apm_api in database {} set {} = '60s'").format(
                    sql.Identifier(owner.info.dbname), sql.Identifier(limit)
                )
            )
        world = populate(database)
        async with (
            running(settings_for(database, tmp_path), world) as api,
            api.as_person("alice") as alice,
        ):
            url = await enter(alice, "2030-02-10")
            async with owner.transaction():
                await owner.execute(
                    "select from apm_weddings where id = %s for update", (url.rsplit("/", 1)[1],)
                )
                changes = [
                    asyncio.create_task(alice.patch(url, json=body, timeout=SECONDS))
                    for body in ({"wedding_date": "2030-03-09"}, {"venue_name": "The Barn"})
                ]
                while await _waiting(owner) < len(changes):
                    await asyncio.sleep(0.05)
            answers = [await one for one in changes]
            assert [one.status_code for one in answers] == [200, 200]
            found = (await alice.get(url)).json()
    assert (found["wedding_date"], found["venue_name"]) == ("2030-03-09", "The Barn")
    assert found["windows"][0]["starts_local"] == "2030-03-09T14:30:00"


async def _waiting(cx: psycopg.AsyncConnection[Any]) -> int:
    cursor = await cx.execute(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
