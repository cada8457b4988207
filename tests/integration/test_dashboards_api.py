"""Dashboards over HTTP: kept, compared by version, read in one call, taken in and given out."""

import itertools
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import psycopg
import pytest
import pytest_asyncio

from tests.support.postgres import Database, PostgresServer
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.dashboards.model import SCHEMA

DASHBOARDS: Final = "/api/v1/dashboards"
YAML: Final = {"content-type": "application/yaml"}
NUMBERS: Final = itertools.count()


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Running, Database]]:
    """One server for all of these: each makes its own dashboards and its own metrics."""
    with server.clone() as database:
        settings = settings_for(database, tmp_path_factory.mktemp("dashboards"))
        async with running(settings, populate(database)) as process:
            yield process, database


@pytest.fixture
def end() -> int:
    """A whole minute of late, in seconds: what is drawn ends behind it."""
    return int(time.time()) // 60 * 60 - 60


@pytest.fixture
def api(world: tuple[Running, Database]) -> Running:
    return world[0]


@pytest.fixture
def database(world: tuple[Running, Database]) -> Database:
    return world[1]


def panel(key: str, place: int, **more: Any) -> dict[str, Any]:
    at = {"x": 0, "y": 4 * place, "w": 12, "h": 4}
    return {"key": key, "title": key.title(), "at": at} | more


def series(key: str, place: int, *metrics: str, agg: str = "p95", **more: Any) -> dict[str, Any]:
    queries = [{"metric": one, "agg": agg} for one in metrics]
    return panel(key, place, kind="series", queries=queries, **more)


async def send(
    client: httpx.AsyncClient,
    service: str,
    metric: str,
    unit: str,
    values: dict[int, float],
    **tags: str,
) -> None:
    samples = [
        {
            "service_name": service,
            "metric_name": metric,
            "unit": unit,
            "value": value,
            "timestamp": datetime.fromtimestamp(at, UTC).isoformat(),
            "tags": tags,
        }
        for at, value in values.items()
    ]
    answer = await client.post("/api/v1/metrics", json={"samples": samples})
    assert answer.status_code == 202, answer.text
    assert answer.json()["rejected"] == 0, answer.text


async def make(
    client: httpx.AsyncClient,
    *panels: dict[str, Any],
    name: str = "",
    variables: list[Any] | None = None,
    time: dict[str, Any] | None = None,
) -> Any:
    layout = {"panels": list(panels), **({"time": time} if time else {})}
    body = {
        "name": name or f"Saturday {next(NUMBERS)}",
        "layout": layout,
        "variables": variables or [],
    }
    answer = await client.post(DASHBOARDS, json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def read(client: httpx.AsyncClient, made: dict[str, Any], **asked: Any) -> Any:
    answer = await client.get(f"{DASHBOARDS}/{made['id']}/data", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_two_who_change_the_same_are_told(api: Running) -> None:
    async with api.as_person("alice") as alice, api.as_person("carol") as carol:
        made = await make(alice, panel("hello", 0, kind="text", text="Hello"))
        path = f"{DASHBOARDS}/{made['id']}"
        assert (made["version"], made["changed_by"]) == (1, "Alice")
        mine = await alice.patch(path, json={"name": "Sunday", "version": 1})
        assert (mine.status_code, mine.json()["version"]) == (200, 2)
        late = await carol.patch(path, json={"description": "late", "version": 1})
        assert late.status_code == 409
        assert "Alice changed this dashboard" in late.json()["detail"]
        assert (await carol.get(path)).json()["description"] == ""
        told = await carol.patch(path, json={"description": "seen", "version": 2})
        assert (told.json()["version"], told.json()["changed_by"]) == (3, "Carol")
        # whoever names no version changes what stands
        assert (await carol.patch(path, json={"name": "Monday"})).json()["version"] == 4


async def test_faults_come_with_their_paths_and_change_nothing(api: Running) -> None:
    async with api.as_person("alice") as alice:
        made = await make(alice)
        wrong = series("course", 0, "forms.time") | {"title": ""}
        path = f"{DASHBOARDS}/{made['id']}"
        for answer in (
            await alice.patch(path, json={"layout": {"panels": [wrong]}}),
            await alice.post(DASHBOARDS, json={"name": "x", "layout": {"panels": [wrong]}}),
        ):
            assert answer.status_code == 422
            assert [one["field"] for one in answer.json()["errors"]] == ["layout.panels[0].title"]
        assert (await alice.get(path)).json() == made
        # variables are checked against the panels that stand
        asking = series("course", 0, "forms.time")
        asking["queries"][0]["tags"] = {"region": "$region"}
        lacking = await alice.patch(path, json={"layout": {"panels": [asking]}})
        assert lacking.json()["errors"][0]["reason"] == "$region is no variable"
        region = {"variables": [{"name": "region", "tag": "region"}]}
        both = await alice.patch(path, json={"layout": {"panels": [asking]}, **region})
        assert both.status_code == 200
        alone = await alice.patch(path, json={"variables": []})
        assert alone.status_code == 422


async def test_others_and_viewers(api: Running) -> None:
    async with (
        api.as_person("alice") as alice,
        api.as_person("vera") as vera,
        api.as_person("bob") as bob,
        api.as_person("oscar") as oscar,
    ):
        made = await make(alice, series("course", 0, "forms.time"))
        path = f"{DASHBOARDS}/{made['id']}"
        for ending in ("", "/data", "/export"):
            assert (await oscar.get(path + ending)).status_code == 404
            assert (await vera.get(path + ending)).status_code == 200
        file = (await alice.get(f"{path}/export")).text
        for person in (vera, bob):
            assert (await person.patch(path, json={"name": "x"})).status_code == 403
            assert (await person.delete(path)).status_code == 403
            again = await person.post(f"{DASHBOARDS}/import", content=file, headers=YAML)
            assert again.status_code in (403, 409)
            new = file.replace("name: Saturday", "name: Other")
            assert (
                await person.post(f"{DASHBOARDS}/import", content=new, headers=YAML)
            ).status_code == 403
            there = {"replace": "true"}
            over = await person.post(
                f"{DASHBOARDS}/import", content=file, headers=YAML, params=there
            )
            assert over.status_code == 403, over.text
        # the same name at another business is another dashboard
        theirs = await oscar.post(
            f"{DASHBOARDS}/import", content=file, headers=YAML, params={"replace": "true"}
        )
        assert theirs.json()["is_new"] is True
        assert (await alice.get(path)).json() == made


async def test_data_of_all_panels_in_one_call(api: Running, database: Database, end: int) -> None:
    async with api.as_key("admin") as client:
        every = range(end - 3600, end + 60, 60)
        await send(client, "forms", "time", "ms", {at: 100.0 + at % 7 for at in every}, region="eu")
        await send(client, "forms", "time", "ms", dict.fromkeys(every, 900.0), region="us")
        await send(client, "forms", "errors", "%", dict.fromkeys(every, 2.5))
        made = await make(
            client,
            series("course", 0, "forms.time"),
            panel(
                "now",
                1,
                kind="stat",
                query={"metric": "forms.time", "agg": "max"},
                limits=[{"value": 800}],
            ),
            panel(
                "share",
                2,
                kind="gauge",
                query={"metric": "forms.errors", "agg": "max"},
                least=0,
                most=10,
            ),
            panel(
                "all",
                3,
                kind="table",
                queries=[
                    {"metric": "forms.time", "agg": "p95", "group_by": ["region"]},
                    {"metric": "forms.errors", "agg": "max", "name": "Errors"},
                ],
            ),
            panel(
                "heat",
                4,
                kind="heat",
                query={"metric": "forms.time", "agg": "max", "group_by": ["region"]},
            ),
            panel("watched", 5, kind="services"),
            panel("wrong", 6, kind="incidents"),
            panel("next", 7, kind="countdown"),
            panel("words", 8, kind="text", text="=1+1"),
            series("mixed", 9, "forms.time", "forms.errors"),
            series("nothing", 10, "forms.absent"),
            series("chosen", 11, "forms.time"),
            time={"span": "1h"},
        )
        data = await read(client, made)
    panels = data["panels"]
    assert [line["tags"] for line in panels["course"]["lines"]] == [
        {"region": "us"},
        {"region": "eu"},
    ]
    assert {len(line["values"]) for line in panels["course"]["lines"]} == {len(data["x"])} == {60}
    assert set(panels["course"]["lines"][0]["values"]) - {None} == {900.0}
    assert (panels["now"]["value"], panels["now"]["level"]) == (900.0, "critical")
    assert (panels["share"]["value"], panels["share"]["least"], panels["share"]["most"]) == (
        2.5,
        0,
        10,
    )
    assert [(row["name"], row["unit"]) for row in panels["all"]["rows"]] == [
        ("us", "ms"),
        ("eu", "ms"),
        ("Errors", "%"),
    ]
    assert [row["name"] for row in panels["heat"]["rows"]] == ["us", "eu"]
    assert panels["mixed"] == {
        "kind": "refused",
        "code": "mixed_units",
        "units": ["%", "ms"],
        "reason": "its figures are in % and ms; one panel has one unit",
    }
    assert panels["nothing"]["lines"] == []
    assert panels["watched"]["services"] == panels["wrong"]["incidents"] == []
    assert panels["next"] == {"kind": "countdown"}
    assert panels["words"]["text"] == "=1+1"


async def test_a_variable_narrows_what_is_read(api: Running, end: int) -> None:
    async with api.as_key("admin") as client:
        every = range(end - 600, end + 60, 60)
        await send(client, "shops", "time", "ms", dict.fromkeys(every, 100.0), region="eu")
        await send(client, "shops", "time", "ms", dict.fromkeys(every, 900.0), region="us")
        course = series("course", 0, "shops.$what")
        course["queries"][0]["tags"] = {"region": "$region"}
        made = await make(
            client,
            course,
            time={"span": "15m"},
            variables=[
                {"name": "region", "tag": "region"},
                {"name": "what", "values": ["time", "errors"], "default": "time"},
            ],
        )

        def lines(data: Any) -> list[str]:
            return [one["tags"]["region"] for one in data["panels"]["course"]["lines"]]

        assert lines(await read(client, made)) == ["us", "eu"]
        asked = await read(client, made, **{"var.region": "eu"})
        assert lines(asked) == ["eu"]
        assert asked["variables"] == {"region": "eu", "what": "time"}
        assert lines(await read(client, made, **{"var.what": "errors"})) == []
        # what is none of the values is not asked for
        strange = await read(client, made, **{"var.what": "time' or 1=1 --"})
        assert strange["variables"]["what"] == "time"


async def test_twenty_panels_cost_few_statements(
    api: Running, monkeypatch: pytest.MonkeyPatch, end: int
) -> None:
    async with api.as_key("admin") as client:
        every = range(end - 3600, end + 60, 60)
        for n in range(20):
            await send(client, "many", f"time{n}", "ms", {at: float(n) for at in every})
        panels = [series(f"p{n}", n, f"many.time{n}") for n in range(20)]
        few = await make(client, panels[0], name="Few")
        many = await make(client, *panels, name="Many")
        asked: list[Any] = []
        execute = psycopg.AsyncCursor.execute

        async def counted(self: Any, query: Any, *args: Any, **more: Any) -> Any:
            asked.append(query)
            return await execute(self, query, *args, **more)

        counts = []
        await read(client, few, span="24h")  # what a process asks for once
        with monkeypatch.context() as patched:
            patched.setattr(psycopg.AsyncCursor, "execute", counted)
            for made in (few, many):
                asked.clear()
                data = await read(client, made, span="24h")
                counts.append(len(asked))
        assert len(data["panels"]) == 20
        assert all(one["lines"] for one in data["panels"].values())
    assert counts[0] == counts[1] <= 16


async def test_compared_with_last_saturday(api: Running, end: int) -> None:
    async with api.as_key("admin") as client:
        made = await make(
            client,
            series("course", 0, "past.time"),
            time={"span": "1h", "compare": "last_saturday"},
        )
        back = (await read(client, made))["back_seconds"]
        assert 86_400 - 3600 <= back <= 7 * 86_400 + 3600
        at = end - 120 - int(back)
        await send(client, "past", "time", "ms", {at: 7.0})
        await send(client, "past", "time", "ms", {end - 120: 9.0})
        lines = (await read(client, made))["panels"]["course"]["lines"]
        assert [(one.get("is_before", False), set(one["values"]) - {None}) for one in lines] == [
            (False, {9.0}),
            (True, {7.0}),
        ]
        first, second = (one["values"] for one in lines)
        assert [n for n, v in enumerate(first) if v] == [n for n, v in enumerate(second) if v]
        assert (await read(client, made, compare="none"))["back_seconds"] is None


async def test_csv_of_a_panel_holds_no_formula(api: Running, end: int) -> None:
    async with api.as_key("admin") as client:
        await send(client, "sheets", "time", "ms", {end - 60: -4.5}, region="=cmd|' /C calc'!A0")
        made = await make(
            client, series("course", 0, "sheets.time", agg="last"), time={"span": "15m"}
        )
        answer = await client.get(
            f"{DASHBOARDS}/{made['id']}/data",
            params={"panel": "course"},
            headers={"accept": "text/csv"},
        )
        assert answer.headers["content-type"].startswith("text/csv")
        head, *rows = answer.text.splitlines()
        assert head.startswith("time,\"'=cmd") or head.startswith("time,'=cmd")
        assert [row.split(",")[1] for row in rows if row.split(",")[1]] == ["-4.5"]
        whole = await client.get(f"{DASHBOARDS}/{made['id']}/data", headers={"accept": "text/csv"})
        assert (whole.status_code, whole.json()["errors"][0]["field"]) == (422, "panel")
        absent = await client.get(f"{DASHBOARDS}/{made['id']}/data", params={"panel": "absent"})
        assert absent.status_code == 404


async def test_a_file_goes_out_and_comes_in_again(api: Running) -> None:
    async with api.as_person("alice") as alice, api.as_person("oscar") as oscar:
        body = {"name": "Flowers", "template_key": "florist"}
        made = (await alice.post(DASHBOARDS, json=body)).json()
        assert made["layout"]["panels"], made
        path = f"{DASHBOARDS}/{made['id']}/export"
        file, again = (await alice.get(path)).text, (await alice.get(path)).text
        assert file == again
        assert made["id"] not in file
        as_json = await alice.get(path, params={"form": "json"})
        assert list(as_json.json())[:2] == ["schema", "name"]
        there = await oscar.post(f"{DASHBOARDS}/import", content=file, headers=YAML)
        assert there.status_code == 200, there.text
        copy = there.json()["dashboard"]
        assert (copy["layout"], copy["name"]) == (made["layout"], "Flowers")
        assert (await oscar.get(f"{DASHBOARDS}/{copy['id']}/export")).text == file
        # a second time it is there already, unless it is to be replaced
        once_more = await oscar.post(f"{DASHBOARDS}/import", content=file, headers=YAML)
        assert once_more.status_code == 409
        replaced = await oscar.post(
            f"{DASHBOARDS}/import", json=as_json.json(), params={"replace": "true"}
        )
        assert replaced.json()["is_new"] is False
        assert replaced.json()["dashboard"]["id"] == copy["id"]
        assert replaced.json()["dashboard"]["version"] == copy["version"] + 1
        unknown = await alice.post(DASHBOARDS, json={"name": "x", "template_key": "zoo"})
        assert unknown.json()["errors"][0]["field"] == "template_key"
        offered = (
            await alice.get(f"{DASHBOARDS}/templates", params={"vendor_type": "florist"})
        ).json()
        assert [one["key"] for one in offered] == ["florist", "wedding-day", "couples"]
        assert SCHEMA in json.dumps(offered)
        assert "$defs" in (await alice.get(f"{DASHBOARDS}/schema")).json()


async def test_hostile_files_are_refused_and_leave_nothing(api: Running) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    many = {"schema": SCHEMA, "name": "Many", "panels": [{}] * 10_000}
    cases: list[tuple[bytes, dict[str, str], int]] = [
        (b"x" * 10_000_000, YAML, 413),
        (bomb.encode(), YAML, 400),
        (b"[" * 200_000, {"content-type": "application/json"}, 400),
        (b"schema: wedsync.dashboard/1", {"content-type": "text/html"}, 415),
        (json.dumps(many).encode()[:-9], {"content-type": "application/json"}, 400),
        (
            json.dumps(many).encode(),
            {"content-type": "application/json"},
            422,
        ),
        (
            json.dumps({"schema": SCHEMA, "name": "x\x00", "panels": []}).encode(),
            {"content-type": "application/json"},
            422,
        ),
    ]
    async with api.as_person("alice") as alice:
        before = (await alice.get(DASHBOARDS)).json()
        for body, headers, status in cases:
            begun = time.process_time()
            answer = await alice.post(f"{DASHBOARDS}/import", content=body, headers=headers)
            assert answer.status_code == status, (answer.status_code, answer.text[:300])
            assert time.process_time() - begun < 5
        assert (await alice.get(DASHBOARDS)).json() == before


async def test_rows_from_before_there_was_a_format_are_told_of(
    api: Running, database: Database
) -> None:
    async with api.as_person("alice") as alice:
        made = await make(alice)
        with psycopg.connect(database.engine, autocommit=True) as cx:
            cx.execute(
                "update apm_dashboards set layout = %s where id = %s",
                (json.dumps({"panels": [{"widget": 1}]}), made["id"]),
            )
        answer = await alice.get(f"{DASHBOARDS}/{made['id']}/data")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "layout.panels[0].kind"
        assert (await alice.get(f"{DASHBOARDS}/{made['id']}")).status_code == 200


async def test_a_range_of_ones_own(api: Running, end: int) -> None:
    async with api.as_key("admin") as client:
        made = await make(client, series("course", 0, "forms.time"))
        begin = datetime.fromtimestamp(end - 7200, UTC)
        asked = {"start": begin.isoformat(), "end": (begin + timedelta(hours=1)).isoformat()}
        data = await read(client, made, **asked)
        assert (data["begins"], data["step"]) == (begin.timestamp(), 30.0)
        path = f"{DASHBOARDS}/{made['id']}/data"
        for wrong, field in (
            ({"start": begin.isoformat()}, "end"),
            ({"start": asked["end"], "end": asked["start"]}, "end"),
            ({"start": "2001-01-01T00:00:00Z", "end": asked["end"]}, "end"),
            ({"span": "2h"}, "span"),
        ):
            answer = await client.get(path, params=wrong)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_link_is_made_and_ends_with_its_key(api: Running) -> None:
    async with api.as_person("alice") as alice, api.as_person("vera") as vera:
        made = await make(alice, series("course", 0, "forms.time"))
        path = f"{DASHBOARDS}/{made['id']}/share"
        shared = await alice.post(path, json={"days": 7})
        assert shared.status_code == 201, shared.text
        link = shared.json()
        assert link["path"].startswith("/shared/")
        assert (await alice.get(link["path"])).status_code == 200
        keys = (await alice.get("/api/v1/api-keys")).json()["items"]
        assert link["api_key_id"] in [one["id"] for one in keys]
        await alice.delete(f"/api/v1/api-keys/{link['api_key_id']}")
        assert (await alice.get(link["path"])).status_code == 404
        assert (await vera.post(path, json={})).status_code == 403
        assert (await alice.post(path, json={"days": 1000})).status_code == 422
