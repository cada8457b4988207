"""The status page through the API: who may, whose it is, and two who change it at once."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.support.postgres import Database
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.web.pages import status as pages

PATH = "/api/v1/status-page"


@pytest.fixture
async def api(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    monkeypatch.setattr(pages, "FRESH_SECONDS", 0.0)
    async with running(settings_for(database, tmp_path), populate(database)) as served:
        yield served


def add_check(database: Database, organization_id: UUID, *, is_shown: bool = True) -> str:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        row = owner.execute(
            "insert into service_health_checks (organization_id, service_name, display_name, "
            "endpoint_url, couple_facing, vendor_facing) values (%s, gen_random_uuid()::text, "
            "'Order form', 'https://example.com/', %s, false) returning id",
            (organization_id, is_shown),
        ).fetchone()
    assert row is not None
    return str(row[0])


def page(check_id: str, **more: Any) -> dict[str, Any]:
    return {
        "slug": "fern-field",
        "title": "Fern & Field",
        "intro": "",
        "is_public": True,
        "is_indexed": False,
        "check_ids": [check_id],
    } | more


async def test_it_is_set_up_read_spoken_on_and_closed(api: Running, database: Database) -> None:
    check = add_check(database, api.world.here)
    async with api.as_person("alice") as alice, api.client() as anybody:
        assert (await alice.get(PATH)).status_code == 404
        assert (await alice.delete(PATH)).status_code == 404
        made = await alice.put(PATH, json=page(check))
        assert made.status_code == 200, made.text
        body = made.json()
        assert {name: body[name] for name in page(check)} == page(check)
        assert (body["subscribers"], body["url"].endswith("/status/fern-field")) == (0, True)
        read = await alice.get(PATH)
        assert (read.json(), read.headers["etag"]) == (body, made.headers["etag"])
        assert (await anybody.get("/status/fern-field.json")).status_code == 200
        until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        said = {"body": "We are <b>on it</b>", "next_update_at": until}
        note = await alice.post(PATH + "/notes", json=said)
        assert note.status_code == 201, note.text
        listed = (await alice.get(PATH + "/notes")).json()["items"]
        assert [one["body"] for one in listed] == [said["body"]]
        assert (await alice.get(PATH + "/subscribers")).json()["items"] == []
        assert (await alice.delete(PATH)).status_code == 204
        assert (await alice.get(PATH)).json()["is_public"] is False
        assert (await anybody.get("/status/fern-field.json")).status_code == 404


async def test_members_and_viewers_read_and_change_nothing(
    api: Running, database: Database
) -> None:
    check = add_check(database, api.world.here)
    async with api.as_person("alice") as alice:
        made = (await alice.put(PATH, json=page(check))).json()
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(
            "insert into apm_status_subscribers (organization_id, address, confirmed_at) "
            "values (%s, 'guest@example.com', now())",
            (api.world.here,),
        )
    for name in ("bob", "vera"):
        async with api.as_person(name) as person:
            read = await person.get(PATH)
            assert read.json() == made | {"subscribers": 1}, name
            assert (await person.put(PATH, json=page(check, title="x"))).status_code == 403
            assert (await person.delete(PATH)).status_code == 403
            assert (await person.post(PATH + "/notes", json={"body": "x"})).status_code == 403
            assert (await person.get(PATH + "/notes")).json()["items"] == []
            # who gets mail is for owners and admins
            assert (await person.get(PATH + "/subscribers")).json()["items"] == []
    async with api.as_person("alice") as alice:
        assert (await alice.get(PATH)).json() == made | {"subscribers": 1}
        [guest] = (await alice.get(PATH + "/subscribers")).json()["items"]
        assert guest["address"] == "guest@example.com"
    async with api.client() as anybody:
        for path in (PATH, PATH + "/notes", PATH + "/subscribers"):
            assert (await anybody.get(path)).status_code == 401


async def test_another_vendor_finds_nothing_and_takes_nothing(
    api: Running, database: Database
) -> None:
    check = add_check(database, api.world.here)
    theirs = add_check(database, api.world.there)
    here = {"organization_id": str(api.world.here)}
    async with api.as_person("alice") as alice, api.as_person("oscar") as oscar:
        made = (await alice.put(PATH, json=page(check))).json()
        for path in (PATH, PATH + "/notes", PATH + "/subscribers"):
            assert (await oscar.get(path, params=here)).status_code == 404, path
        assert (await oscar.put(PATH, json=page(theirs), params=here)).status_code == 404
        assert (await oscar.delete(PATH, params=here)).status_code == 404
        said = await oscar.post(PATH + "/notes", json={"body": "x"}, params=here)
        assert said.status_code == 404
        assert (await oscar.get(PATH)).status_code == 404
        # An address is taken once; a check of another vendor is none of his.
        taken = await oscar.put(PATH, json=page(theirs))
        assert taken.status_code == 409, taken.text
        borrowed = await oscar.put(PATH, json=page(check, slug="oak-ivy"))
        assert borrowed.status_code == 422, borrowed.text
        own = await oscar.put(PATH, json=page(theirs, slug="oak-ivy"))
        assert own.status_code == 200, own.text
        assert (await alice.get(PATH)).json() == made


async def test_what_somebody_has_changed_meanwhile_is_not_undone(
    api: Running, database: Database
) -> None:
    check = add_check(database, api.world.here)
    async with api.as_person("alice") as one, api.as_person("alice") as two:
        nothing = await one.put(PATH, json=page(check), headers={"if-match": '"1"'})
        assert nothing.status_code == 412
        assert (await one.get(PATH)).status_code == 404
        seen = (await one.put(PATH, json=page(check))).headers["etag"]
        changed = await two.put(PATH, json=page(check, title="Two"), headers={"if-match": seen})
        assert changed.status_code == 200, changed.text
        refused = await one.put(PATH, json=page(check, intro="One"), headers={"if-match": seen})
        assert refused.status_code == 412
        assert "Somebody has changed it" in refused.json()["detail"]
        stands = await one.get(PATH)
        assert (stands.json()["title"], stands.json()["intro"]) == ("Two", "")
        both = f'"0", {stands.headers["etag"]}'
        for tag in (both, "*"):
            again = await one.put(PATH, json=page(check, intro=tag), headers={"if-match": tag})
            assert again.status_code == 200, again.text
        # without it, the last one counts
        assert (await two.put(PATH, json=page(check))).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"slug": "Not a slug"}, "slug"),
        ({"slug": "a--b"}, "slug"),
        ({"title": ""}, "title"),
        ({"intro": "x" * 501}, "intro"),
        ({"check_ids": []}, "check_ids"),
        ({"colour": "red"}, "colour"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_fault_is_named(
    api: Running, database: Database, wrong: dict[str, Any], field: str
) -> None:
    check = add_check(database, api.world.here)
    async with api.as_person("alice") as alice:
        answer = await alice.put(PATH, json=page(check) | wrong)
        assert answer.status_code == 422, answer.text
        assert field in answer.text
        twice = await alice.put(PATH, json=page(check, check_ids=[check, check]))
        assert twice.status_code == 422
        hidden = add_check(database, api.world.here, is_shown=False)
        assert (await alice.put(PATH, json=page(hidden))).status_code == 422
        assert (await alice.get(PATH)).status_code == 404
