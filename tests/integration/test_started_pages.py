"""The first five minutes and the operators' list, as people read and post them, and by the API."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.browser.stage import Stage, open_stage
from tests.support.pages import surfing
from tests.support.postgres import Database, PostgresServer
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.simulate.vendors import OPERATORS, STAR, VENDORS

ROSA, TOM, INES = STAR.people
STRANGER = VENDORS[1].people[0]
ONCALL = OPERATORS[0]


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("started")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.let_the_engine_breathe()
        yield opened


@pytest.fixture(autouse=True)
def afresh(stage: Stage) -> None:
    stage.execute("delete from apm_skipped_steps")
    stage.execute("delete from apm_monitoring")
    stage.execute("update apm_incidents set status = 'closed' where status <> 'closed'")


def test_a_step_that_is_done_elsewhere_is_done_here_and_nothing_was_clicked(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa:
        stage.execute("delete from apm_contact_methods where user_id = %(u)s", u=ROSA.id)
        page = rosa.get("/start")
        assert "We have no number of yours." in page
        assert "Back to Getting started" in rosa.get("/contacts/new?channel=sms")
        assert "Back to Getting started" not in rosa.get("/")
        stage.execute(
            "insert into apm_contact_methods (organization_id, user_id, name, channel, address, "
            "verified_at) values (%(o)s, %(u)s, 'Rosa', 'sms', '+447700900123', now())",
            o=STAR.id,
            u=ROSA.id,
        )
        assert "Proved on" in rosa.get("/start")


def test_a_step_is_left_out_with_its_reason_and_taken_up_again(stage: Stage) -> None:
    with surfing(stage, ROSA) as rosa, surfing(stage, TOM) as tom, surfing(stage, INES) as ines:
        stage.execute("delete from apm_contact_methods where channel = 'push'")
        rosa.post("/start/install/skip", reason="One <b>tablet</b> in the van")
        assert "Left out: One <b>tablet</b> in the van" in rosa.get("/start")
        assert "<b>tablet" not in rosa.http.get("/start").text
        # a person's own: another one still has it to do
        assert "Left out" not in tom.get("/start").replace("Leave this out", "")
        rosa.post("/start/install/take-up")
        assert stage.execute("select 1 from apm_skipped_steps") == []
        ines.post("/start/calendar/skip", 403, reason="no")
        rosa.post("/start/card/skip", 404, reason="no step")
        rosa.post("/start/nonsense/skip", 404)
        assert rosa.http.post("/start/install/skip", data={"reason": "no token"}).status_code == 403
        rosa.post("/start/rules/skip", reason="We make our own")
        (row,) = stage.execute("select * from apm_skipped_steps")
        assert (row["user_id"], row["organization_id"]) == (None, STAR.id)
    with surfing(stage, STRANGER) as stranger:
        assert "We make our own" not in stranger.get("/start")


def test_the_card_on_today_goes_for_this_person_and_nobody_else(stage: Stage) -> None:
    stage.execute("delete from apm_contact_methods where channel = 'push'")
    with surfing(stage, ROSA) as rosa, surfing(stage, INES) as ines:
        assert "Getting started:" in rosa.get("/")
        assert "Getting started:" not in ines.get("/")
        rosa.post("/start/card")
        assert "Getting started:" not in rosa.get("/")
        assert "Getting started" in rosa.get("/more")
        (row,) = stage.execute("select step, user_id from apm_skipped_steps")
        assert (row["step"], row["user_id"]) == ("card", ROSA.id)


def test_an_operator_switches_and_the_vendor_reads_it_in_plain_words(stage: Stage) -> None:
    words = "WedSync does not watch this business yet"
    with surfing(stage, ONCALL) as oncall, surfing(stage, ROSA) as rosa:
        assert words not in rosa.get("/")
        listed = oncall.get("/platform/tenants")
        assert STAR.name in listed
        form = {"organization": [str(STAR.id)], "to": "off", "reason": "the beta begins"}
        refused = oncall.post("/platform/tenants", 200, **form)
        assert "a wedding is within 48 hours" in refused.text
        wrong = oncall.post("/platform/tenants", 422, **(form | {"reason": " "}))
        assert "Tick at least one business" in wrong.text
        done = oncall.post("/platform/tenants", 200, **form, near_ok="yes", group="Devon")
        assert "1 switched." in done.text
        for path in ("/", "/start", "/incidents"):
            assert words in rosa.get(path)
        assert STAR.name in oncall.get("/platform/tenants?state=off")
        assert STAR.name not in oncall.get("/platform/tenants?state=beta")
        oncall.post("/platform/tenants", 200, **(form | {"to": "beta"}))
        assert words not in rosa.get("/")
        rosa.get("/platform/tenants", 403)
        rosa.post("/platform/tenants", 403, **form)
    (row,) = stage.execute("select * from apm_monitoring where organization_id = %(o)s", o=STAR.id)
    assert (row["state"], row["group_name"], row["changed_by_name"]) == (
        "beta",
        "Devon",
        ONCALL.name,
    )


@pytest.fixture
async def api(database: Database, tmp_path: Path) -> AsyncIterator[Running]:
    world = populate(database)
    async with running(settings_for(database, tmp_path), world) as served:
        yield served


async def test_the_api_tells_the_steps_and_lets_operators_alone_switch(api: Running) -> None:
    here, there = str(api.world.here), str(api.world.there)
    async with api.as_person("alice") as alice, api.as_person("olga") as olga:
        started = (await alice.get("/api/v1/getting-started")).json()
        assert started["organization_id"] == here
        assert started["is_watched"] is True
        assert [one["step"] for one in started["steps"]] == [
            "calendar", "phone", "rules", "test", "install",
        ]  # fmt: skip
        params = {"organization_id": there}
        foreign = await alice.get("/api/v1/getting-started", params=params)
        assert foreign.status_code == 404
        skipped = await alice.put("/api/v1/getting-started/install/skip", json={"reason": "no"})
        assert skipped.json()["steps"][4]["state"] == "skipped"
        again = await alice.delete("/api/v1/getting-started/install/skip")
        assert again.status_code == 204
        switch = {"organization_ids": [here], "state": "off", "reason": "the beta begins"}
        assert (await alice.get("/api/v1/monitoring")).status_code == 403
        assert (await alice.post("/api/v1/monitoring/switch", json=switch)).status_code == 403
        default = {"state": "off", "reason": "the beta begins"}
        assert (await alice.put("/api/v1/monitoring/default", json=default)).status_code == 403
        came = await olga.post("/api/v1/monitoring/switch", json={**switch, "is_near_ok": True})
        assert came.status_code == 200, came.text
        assert came.json()["items"][0]["outcome"] in ("switched", "incident")
        page = await olga.get("/api/v1/monitoring", params={"limit": 1})
        assert page.status_code == 200, page.text
        found = page.json()
        assert found["counts"]["all"] >= 2
        assert found["default"] == "on"
        following = await olga.get(
            "/api/v1/monitoring", params={"limit": 1, "cursor": found["next_cursor"]}
        )
        assert (
            following.json()["items"][0]["organization_id"]
            != (found["items"][0]["organization_id"])
        )
        forged = await olga.get("/api/v1/monitoring", params={"cursor": "forged"})
        assert forged.status_code == 422
        both = {**switch, "group": "Devon"}
        assert (await olga.post("/api/v1/monitoring/switch", json=both)).status_code == 422
        assert (await olga.get("/api/v1/monitoring/groups")).json() == {"items": []}
