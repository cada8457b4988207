"""Drills through the doors: the mail that goes out, its link, the pages, the API, the command."""

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.outbox import AT, BASE_URL, outbox_of, world_of
from tests.support.pages import field_in, surfing
from tests.support.postgres import Database, PostgresServer
from tests.support.serving import Running, populate, running, settings_for
from tests.support.worst_mail import worst_mail
from wedsync_apm.db.pool import open_pool
from wedsync_apm.drills import store
from wedsync_apm.simulate.vendors import STAR, VENDORS
from wedsync_apm.types import Channel

ROSA, TOM, INES = STAR.people
STRANGER = VENDORS[1].people[0]
PATIENCE = 120.0


async def test_the_mail_says_in_its_first_word_what_it_is_and_its_link_answers(
    database: Database,
) -> None:
    async with (
        world_of(database) as world,
        worst_mail() as mail,
        outbox_of(database, mail_port=mail.port) as outbox,
        await open_pool(database.api, name="api", min_size=1, max_size=1) as api,
    ):
        vendor = await world.organization()
        await world.contact(vendor, Channel.EMAIL)
        await world.run(
            "select apm_private.ask_drill(%(o)s, '', null, null, 'Priya', %(at)s)", o=vendor, at=AT
        )
        assert await outbox.run_once(AT) == 1
        await outbox.drain()
        (raw,) = mail.mails
        sent = message_from_bytes(raw, policy=policy.default)
        assert sent["subject"].split()[0] == "EXERCISE:"
        plain = sent.get_body(("plain",))
        assert plain is not None
        text = plain.get_content()
        assert text.split()[0] == "EXERCISE"
        (token,) = set(re.findall(rf"{BASE_URL}/drill/([\w-]+)", text))
        async with api.connection() as cx:
            found = await store.look_up_link(cx, token)
        assert found is not None
        assert found["name"] == "Priya"
        (row,) = await world.run(
            "select state, sent_at from apm_deliveries where organization_id = %(o)s", o=vendor
        )
        assert row["state"] == "sent"


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("drills")
    with server.clone() as database, open_stage(database, folder) as opened:
        yield opened


@pytest.fixture
def calm(stage: Stage) -> None:
    for table in (
        "apm_drills", "apm_drill_schedules", "apm_escalation_policies", "apm_contact_methods",
        "apm_weddings", "apm_deliveries",
    ):  # fmt: skip
        stage.execute(f"delete from {table} where organization_id = %(o)s", o=STAR.id)
    for name, user_id in (("Rosa’s mail", ROSA.id), ("Tom’s mail", TOM.id)):
        stage.execute(
            "insert into apm_contact_methods (organization_id, user_id, name, channel, address, "
            "verified_at) values (%(o)s, %(u)s, %(n)s, 'email', 'p@fern.example', now())",
            o=STAR.id,
            u=user_id,
            n=name,
        )
    for table in ("apm_memberships", "user_profiles"):
        stage.execute(f"update {table} set role = 'VIEWER' where user_id = %(u)s", u=INES.id)


def drills(stage: Stage) -> list[dict[str, Any]]:
    return stage.execute("select * from apm_drills where organization_id = %(o)s", o=STAR.id)


@pytest.mark.usefixtures("calm")
def test_a_drill_is_started_watched_and_answered_without_scripts(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa, surfing(stage, INES) as ines:
        assert "There was no drill yet" in rosa.get("/drills")
        rosa.post("/drills/start", reason="Before <b>June</b>")
        page = rosa.get("/drills")
        assert "2 people have not answered yet" in page
        assert "Before &lt;b&gt;June" in rosa.http.get("/drills").text
        again = rosa.post("/drills/start", None)
        assert again.status_code == 409
        assert "A drill is under way already." in again.text
        (first, _) = stage.execute(
            "select delivery_id from apm_drill_calls where organization_id = %(o)s order by name",
            o=STAR.id,
        )
        token = "k" * 43
        stage.execute(
            "insert into apm_private.drill_links values (sha256(%(t)s::text::bytea), %(o)s, %(d)s)",
            t=token,
            o=STAR.id,
            d=first["delivery_id"],
        )
        # A scanner of mail looks, and looks again.
        for _ in range(3):
            assert "Nothing is wrong" in rosa.get(f"/drill/{token}")
        assert stage.execute("select 1 from apm_drill_calls where answered_at is not null") == []
        assert "Thank you. You answered after" in rosa.http.post(f"/drill/{token}").text
        assert "You have answered this drill." in rosa.http.post(f"/drill/{token}").text
        assert "You have answered this drill." in rosa.get(f"/drill/{token}")
        assert rosa.http.post("/drill/forged").status_code == 404
        assert rosa.http.get("/drill/" + "x" * 5000).status_code in {404, 414}
        assert "1 person has not answered yet" in rosa.get("/drills")
        # It ends; who did not answer is told, to a viewer without names.
        stage.execute(
            "select apm_private.end_drills(clock_timestamp() + interval '16 minutes', '2 minutes')"
        )
        page = rosa.get("/drills")
        assert "1 of 2 people answered too late or not at all" in page
        assert "could not be called" in page
        assert "Rosa’s mail" in page
        (drill,) = drills(stage)
        assert "Tom’s mail" in rosa.get(f"/drills/{drill['id']}")
        seen = ines.get("/drills")
        assert "1 of 2 people answered too late" in seen
        assert "Rosa’s mail" not in seen
        assert "Names are for members." in seen
        assert rosa.post("/drills/start", None).status_code == 429
        with surfing(stage, STRANGER) as stranger:
            stranger.get(f"/drills/{drill['id']}", 404)


@pytest.mark.usefixtures("calm")
def test_a_schedule_is_offered_kept_and_ended_and_faults_keep_what_was_typed(stage: Stage) -> None:
    form = {"every": "week", "weekday": "2", "local_time": "09:15", "time_zone": "Europe/Rome"}
    with surfing(stage, ROSA) as rosa, surfing(stage, INES) as ines:
        assert "No drill is held by itself." in rosa.get("/drills")
        for wrong, said in (
            ({"time_zone": "Europe/Nowhere"}, "That is no time zone that we know"),
            ({"local_time": "25:00"}, "Enter a time like 10:30"),
            ({"weekday": "8"}, "Choose one of these"),
        ):
            answer = rosa.post("/drills/schedule", 422, **(form | wrong))
            assert said in answer.text
            assert field_in(answer.text, "time_zone") == (form | wrong)["time_zone"]
        rosa.post("/drills/schedule", **form)
        assert "The next one is on" in rosa.get("/drills")
        for path in ("/drills/start", "/drills/schedule", "/drills/schedule/off"):
            ines.post(path, 403, **form)
        assert len(stage.execute("select 1 from apm_drill_schedules")) == 1
        assert drills(stage) == []
        assert rosa.http.post("/drills/start", data={"reason": "no token"}).status_code == 403
        rosa.post("/drills/schedule/off")
        assert stage.execute("select 1 from apm_drill_schedules") == []


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    world = populate(database)
    async with running(settings_for(database, tmp_path), world) as served:
        yield served


async def test_the_api_starts_shows_and_plans_for_those_who_may(
    api: Running, database: Database
) -> None:
    async with (
        api.as_person("alice") as alice,
        api.as_person("bob") as bob,
        api.as_person("vera") as vera,
        api.as_person("oscar") as oscar,
    ):
        for person in (bob, vera):
            assert (await person.post("/api/v1/drills", json={})).status_code == 403
        theirs = await alice.post(
            "/api/v1/drills", json={}, params={"organization_id": str(api.world.there)}
        )
        assert theirs.status_code == 404
        foreign = await alice.post("/api/v1/drills", json={"wedding_id": str(uuid4())})
        assert foreign.status_code == 404
        made = await alice.post("/api/v1/drills", json={"reason": "June"})
        assert made.status_code == 201, made.text
        drill = made.json()
        assert (drill["cause"], drill["reason"], drill["ended_at"]) == ("asked", "June", None)
        again = await alice.post("/api/v1/drills", json={"reason": "July"})
        assert again.status_code == 409
        with psycopg.connect(database.engine, autocommit=True) as engine:
            engine.execute(
                "select apm_private.end_drills(clock_timestamp() + interval '1 hour', '2 minutes')"
            )
        limited = await alice.post("/api/v1/drills", json={"reason": "July"})
        assert limited.status_code == 429
        path = f"/api/v1/drills/{drill['id']}"
        read = (await bob.get(path)).json()
        assert [(one["name"], one["result"]) for one in read["people"]] == [
            ("Alice", "unreached"),
        ]
        assert (read["called"], read["answered"]) == (1, 0)
        assert (await vera.get(path)).json()["people"] == []
        assert (await oscar.get(path)).status_code == 404
        assert [one["id"] for one in (await vera.get("/api/v1/drills")).json()["items"]] == [
            drill["id"]
        ]
        assert (await oscar.get("/api/v1/drills")).json()["items"] == []
        plan = {"every": "month", "weekday": 3, "local_time": "10:30", "time_zone": "Europe/Rome"}
        schedule = "/api/v1/drills/schedule"
        assert (await bob.put(schedule, json=plan)).status_code == 403
        assert (await alice.put(schedule, json=plan | {"time_zone": "Rome"})).status_code == 422
        assert (await alice.put(schedule, json=plan | {"local_time": "24:00"})).status_code == 422
        kept = await alice.put(schedule, json=plan)
        assert kept.status_code == 200, kept.text
        assert {name: kept.json()[name] for name in plan} == plan
        assert (await oscar.get(schedule)).json()["every"] is None
        assert (await bob.delete(schedule)).status_code in {204, 403}
        assert (await vera.get(schedule)).json()["every"] == "month"
        assert (await alice.delete(schedule)).status_code == 204
        assert (await vera.get(schedule)).json()["next_at"] is None


async def test_the_command_waits_for_the_answers_and_ends_with_what_they_were(
    api: Running, database: Database, tmp_path: Path
) -> None:
    for vendor, name, is_answered in (
        (api.world.here, "Alice", True),
        (api.world.there, "Oscar", False),
    ):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "wedsync_apm", "drill", "--organization", str(vendor),
            "--json", "--reason", "Trial", "--data-dir", str(tmp_path),
            "--database-url", database.owner,
            env={k: v for k, v in os.environ.items() if not k.startswith("WEDSYNC_APM_")},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                delivery = await first_call(database, vendor, process)
                with psycopg.connect(database.owner, autocommit=True) as owner:
                    if is_answered:
                        owner.execute(
                            "select apm_private.answer_drill(%s, 'link', clock_timestamp())",
                            (delivery,),
                        )
                    else:
                        owner.execute(
                            "update apm_drills set ends_at = started_at + interval '1 ms' "
                            "where organization_id = %s",
                            (vendor,),
                        )
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == (0 if is_answered else 1), err.decode()
        told = json.loads(out)
        (person,) = told["people"]
        assert (person["name"], told["called"], told["in_time"]) == (name, 1, int(is_answered))
        assert (person["answered_seconds"] is not None) == is_answered


async def first_call(database: Database, vendor: UUID, process: Process) -> UUID:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        while True:
            if process.returncode is not None:
                pytest.fail(str(await process.communicate()))
            row = owner.execute(
                "select delivery_id from apm_drill_calls where organization_id = %s", (vendor,)
            ).fetchone()
            if row:
                found: UUID = row[0]
                return found
            await asyncio.sleep(0.05)
