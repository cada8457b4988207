"""Dashboards for others: drawn as PDF and PNG, and opened by links that nothing widens."""

import asyncio
import io
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import pypdfium2
import pytest
import pytest_asyncio
from PIL import Image

from tests.integration.test_dashboards_api import DASHBOARDS, make, panel, send, series
from tests.support.postgres import PostgresServer
from tests.support.serving import Running, populate, running, settings_for
from wedsync_apm.api import dashboard_pictures
from wedsync_apm.dashboards.pictures import desk as desks
from wedsync_apm.dashboards.pictures.desk import Desk
from wedsync_apm.dashboards.pictures.model import Form, Prose, Sheet, Tile
from wedsync_apm.errors import RateLimited, TooLarge
from wedsync_apm.web.counting import Minute
from wedsync_apm.web.pages import shared_boards

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHEET: Final = Sheet("Saturday", "", (), "foot", "Page {n} of {of}", ())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Running]:
    """One server for all of these: each makes its own dashboards and its own metrics."""
    with server.clone() as database:
        settings = settings_for(database, tmp_path_factory.mktemp("sharing"))
        async with running(settings, populate(database)) as process:
            yield process


def text_of(document: bytes) -> str:
    pdf = pypdfium2.PdfDocument(document)
    return "\n".join(page.get_textpage().get_text_range() for page in pdf)


def panels(metric: str, tags: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """One of each kind."""
    query = {"metric": metric, "agg": "max", **({"tags": tags} if tags else {})}
    more: list[dict[str, Any]] = [
        {"kind": "series", "queries": [query], "limits": [{"value": 400}]},
        {"kind": "stat", "query": query, "limits": [{"value": 100}]},
        {"kind": "gauge", "query": query, "least": 0, "most": 1000},
        {"kind": "table", "queries": [{**query, "group_by": ["region"]}]},
        {"kind": "heat", "query": {**query, "group_by": ["region"]}},
        {"kind": "services"},
        {"kind": "incidents"},
        {"kind": "countdown"},
        {"kind": "text", "text": "Ring Olga first."},
    ]
    return [panel(str(one["kind"]), n, **one) for n, one in enumerate(more)]


async def measured(client: httpx.AsyncClient, service: str, **regions: float) -> None:
    """A figure of each region, of this minute."""
    at = int(time.time()) - 5
    for region, value in regions.items():
        await send(client, service, "time", "ms", {at: value}, region=region)


async def test_a_dashboard_is_drawn_with_its_time_and_its_variables(api: Running) -> None:
    async with api.as_key("admin") as key:
        await measured(key, "drawn", eu=321.0, us=654.0)
    async with api.as_person("alice") as alice:
        made = await make(
            alice,
            *panels("drawn.time", {"region": "$region"}),
            variables=[{"name": "region", "tag": "region"}],
        )
        path = f"{DASHBOARDS}/{made['id']}/image"
        asked = {"span": "15m", "var.region": "us"}
        answer = await alice.get(f"{path}.pdf", params=asked)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.headers["cache-control"] == "no-store"
        said = text_of(answer.content)
        for words in (
            *(made["name"], "Last 15 min", "Europe/London time", "Measured at", "Page 1 of"),
            *("Region: us", "0.65 s", "Past the limit", "limit", "Ring Olga first."),
            *("No wedding is in the calendar.", "No services are watched.", "No problems."),
        ):
            assert words in said, words
        assert "0.32 s" not in said, "another region's figure"
        picture = await alice.get(f"{path}.png", params=asked)
        assert picture.headers["content-type"] == "image/png"
        image = Image.open(io.BytesIO(picture.content))
        assert image.width == 1684
        assert len(image.convert("L").resize((60, 60)).getcolors() or []) > 5, "it is not blank"
        wrong = await alice.get(f"{path}.pdf", params={"start": "2026-06-20T00:00:00Z"})
        assert wrong.status_code == 422
        page = await alice.get(f"/dashboards/{made['id']}", params=asked)
        assert page.status_code in (200, 303)


async def test_nobody_else_has_it_drawn(api: Running) -> None:
    async with api.as_person("alice") as alice:
        made = await make(alice, panel("text", 0, kind="text", text="Hello"))
    for form in ("pdf", "png"):
        path = f"{DASHBOARDS}/{made['id']}/image.{form}"
        async with api.as_person("oscar") as oscar, api.as_person("nora") as nora:
            assert (await oscar.get(path)).status_code == 404
            assert (await nora.get(path)).status_code == 404
        async with api.as_key("ingest") as sender, api.client() as nobody:
            assert (await sender.get(path)).status_code == 403
            assert (await nobody.get(path)).status_code == 401
            assert (await nobody.get(f"/dashboards/{made['id']}/image.{form}")).status_code == 303


async def test_one_at_a_time_for_an_organization(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, is_drawing, go_on = Desk(), asyncio.Event(), asyncio.Event()

    async def run(_: bytes) -> bytes:
        is_drawing.set()
        await go_on.wait()
        return b"%PDF"

    monkeypatch.setattr(desk, "_run", run)
    monkeypatch.setattr(dashboard_pictures, "desk_in", lambda _: desk)
    async with api.as_person("alice") as alice, api.as_person("oscar") as oscar:
        mine = await make(alice, series("course", 0, "forms.time"))
        his = await make(oscar, series("course", 0, "forms.time"))
        first = asyncio.create_task(alice.get(f"{DASHBOARDS}/{mine['id']}/image.pdf"))
        await is_drawing.wait()
        refused = await alice.get(f"{DASHBOARDS}/{mine['id']}/image.png")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        other = asyncio.create_task(oscar.get(f"{DASHBOARDS}/{his['id']}/image.pdf"))
        go_on.set()
        assert (await first).status_code == 200
        assert (await other).status_code == 200, "another organization is not held up"
        assert (await alice.get(f"{DASHBOARDS}/{mine['id']}/image.png")).status_code == 200
    async with api.client() as anybody:
        counted = (await anybody.get("/metrics")).text
    name = "wedsync_apm_dashboard_pictures_total"
    assert re.search(rf'{name}\{{form="png",outcome="busy"\}} [1-9]', counted)


async def test_a_drawing_that_takes_too_long_is_ended(api: Running) -> None:
    desk = Desk(longest_seconds=0.001)
    with pytest.raises(TooLarge):
        await desk.draw(SHEET, Form.PDF, api.world.here)
    assert (await Desk().draw(SHEET, Form.PDF, api.world.here)).startswith(b"%PDF")


async def test_a_bomb_ends_with_its_own_process(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "MOST_JOB_BYTES", 10_000)
    words = Prose(("x" * 20_000,))
    bomb = Sheet("Bomb", "", (), "", "", (Tile(0, 0, 12, 24, "x", "", words),))
    desk = Desk()
    with pytest.raises(TooLarge):
        await desk.draw(bomb, Form.PNG, api.world.here)
    monkeypatch.setattr(desks, "_PROGRAM", "wedsync_apm.dashboards.pictures.absent")
    with pytest.raises(TooLarge):
        await desk.draw(SHEET, Form.PNG, api.world.here)
    monkeypatch.undo()
    assert (await desk.draw(SHEET, Form.PNG, api.world.here)).startswith(b"\x89PNG")


@asynccontextmanager
async def there(api: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A sender of the other organization's."""
    async with api.as_person("oscar") as oscar:
        made = await oscar.post("/api/v1/api-keys", json={"name": "there", "scope": "ingest"})
    assert made.status_code == 201, made.text
    async with api.client({"x-api-key": made.json()["key"]}) as sender:
        yield sender


async def shared(client: httpx.AsyncClient, made: dict[str, Any], **asked: Any) -> str:
    answer = await client.post(f"{DASHBOARDS}/{made['id']}/share", json=asked)
    assert answer.status_code == 201, answer.text
    path: str = answer.json()["path"]
    return path


async def test_nothing_in_the_address_of_a_link_widens_it(api: Running) -> None:
    """Neither the values that others have, nor those of ours beside the locked one, are offered or
    work: on the page, in its figures, in what is drawn."""
    async with api.as_key("admin") as key:
        await measured(key, "locked", eu=111.0, us=222.0)
    async with there(api) as other:
        await measured(other, "locked", moss=333.0)
    async with api.as_person("alice") as alice:
        made = await make(
            alice,
            *panels("locked.time", {"region": "$region"}),
            variables=[
                {"name": "region", "tag": "region"},
                {"name": "size", "values": ["small", "large"], "default": "small"},
            ],
        )
        path = await shared(alice, made, variables={"region": "eu", "size": "small"})
    widenings: list[dict[str, str]] = [
        {},
        {"var.region": ""},
        {"var.region": "us"},
        {"var.region": "moss"},
        {"var.size": "large", "var.region": "$size"},
        {"region": "us", "variables": '{"region":"us"}', "organization_id": str(api.world.there)},
    ]
    async with api.client() as stranger:
        for more in widenings:
            asked = {"span": "15m", **more}
            page = await stranger.get(path, params=asked)
            feed = await stranger.get(f"{path}/feed", params=asked)
            assert (page.status_code, feed.status_code) == (200, 200)
            for nothing in ("<select", "<option", "moss", ">us<", "0.22 s", "0.33 s", "var."):
                assert nothing not in page.text, (asked, nothing)
            assert "0.11 s" in page.text
            lines = feed.json()["panels"]["series"]["lines"]
            values = {v for line in lines for v in line["values"] if v is not None}
            assert values == {111.0}, asked
        drawn = text_of((await stranger.get(f"{path}/image.pdf", params=widenings[2])).content)
        assert "Region: eu" in drawn
        assert "0.11 s" in drawn
        for nothing in ("moss", "Region: us", "0.22 s", "0.33 s"):
            assert nothing not in drawn
        picture = await stranger.get(f"{path}/image.png", params=widenings[3])
        assert picture.headers["content-type"] == "image/png"
        for page_of_members in (
            "/panels/series",
            "/panels/series/samples?at=1",
            "/edit",
            "/file",
            "/share",
        ):
            assert (await stranger.get(path + page_of_members)).status_code == 404


async def test_a_variable_that_is_locked_to_all_stays_within_the_organization(
    api: Running,
) -> None:
    async with api.as_key("admin") as key:
        await measured(key, "open", eu=111.0, us=222.0)
    async with there(api) as other:
        await measured(other, "open", moss=333.0)
    async with api.as_person("alice") as alice:
        made = await make(
            alice,
            *panels("open.time", {"region": "$region"}),
            variables=[{"name": "region", "tag": "region"}],
        )
        path = await shared(alice, made, variables={"region": ""})
        mine = (await alice.get(f"{DASHBOARDS}/{made['id']}/data")).json()
        assert mine["panels"]["table"]["rows"], "all of ours"
    async with api.client() as stranger:
        for asked in ({"var.region": "moss"}, {}):
            page = await stranger.get(path, params={"span": "15m", **asked})
            assert "0.22 s" in page.text
            assert "0.33 s" not in page.text
            assert "moss" not in page.text


async def test_a_link_is_framed_by_the_websites_that_were_named_and_no_other(
    api: Running,
) -> None:
    async with api.as_person("alice") as alice:
        made = await make(alice, panel("text", 0, kind="text", text="Hello"))
        plain = await shared(alice, made)
        named = ["https://www.fern.example", "https://shop.fern.example:8443/"]
        framed = await shared(alice, made, origins=named)
        for wrong in (
            "https://*.fern.example",
            "http://fern.example",
            "https://fern.example/page",
            "https://fern.example;script-src *",
            "https://fern.example https://evil.example",
            "'self'",
            "*",
            "https://fern.example\r\nx: y",
            "javascript:alert(1)",
            "https://" + "a" * 300 + ".example",
        ):
            path = f"{DASHBOARDS}/{made['id']}/share"
            refused = await alice.post(path, json={"origins": [wrong]})
            assert refused.status_code == 422, wrong
            assert refused.json()["errors"][0]["field"] == "origins"
        many = [f"https://{n}.example" for n in range(6)]
        assert (await alice.post(path, json={"origins": many})).status_code == 422
    async with api.client() as browser:
        answer = await browser.get(plain)
        assert answer.headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        answer = await browser.get(framed)
        assert "x-frame-options" not in answer.headers
        policy = answer.headers["content-security-policy"]
        ancestors = next(one for one in policy.split("; ") if one.startswith("frame-ancestors"))
        allowed = "frame-ancestors https://www.fern.example https://shop.fern.example:8443"
        assert ancestors == allowed
        rest = policy.replace(ancestors, "")
        assert rest == (await browser.get(plain)).headers["content-security-policy"].replace(
            "frame-ancestors 'none'", ""
        )
        said, _, signed = framed.removeprefix("/shared/").partition(".")
        forged = said[:-2] + ("A" if said[-2] != "A" else "B") + said[-1]
        assert (await browser.get(f"/shared/{forged}.{signed}")).status_code == 404


async def test_too_many_calls_by_links_are_refused_and_counted(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api.as_person("alice") as alice:
        made = await make(alice, panel("text", 0, kind="text", text="Hello"))
        one, other = await shared(alice, made), await shared(alice, made)
    gate = shared_boards.Gate()
    gate.links, gate.pictures = Minute("link", 3), Minute("picture of a link", 1)
    # the clock of the counting stands still, wherever in a minute the test begins
    monkeypatch.setattr(shared_boards, "monotonic", lambda: 6000.0)
    monkeypatch.setattr(shared_boards, "_gate_of", lambda _: gate)
    async with api.client() as browser:
        assert [(await browser.get(one)).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert (await browser.get(f"{one}/feed")).status_code == 429
        assert (await browser.get(other)).status_code == 200, "a link of its own"
        assert (await browser.get(f"{other}/image.png")).status_code == 200
        refused = await browser.get(f"{other}/image.pdf")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
        gate.addresses = Minute("address", 1)
        assert (await browser.get(f"{other}x")).status_code == 404
        assert (await browser.get(f"{other}x")).status_code == 429, "guessing is counted too"
        counted = (await browser.get("/metrics")).text
    for what in ("link", "address", "picture of a link"):
        name = "wedsync_apm_page_calls_refused_total"
        assert re.search(rf'{name}\{{of="{what}"\}} [1-9]', counted), what


async def test_a_minutes_calls_are_counted_for_each_alone() -> None:
    minute = Minute("address", 2)
    for _ in range(2):
        minute.count("one", 30.0)
    with pytest.raises(RateLimited) as refused:
        minute.count("one", 45.0)
    assert refused.value.retry_after == 15.0
    minute.count("other", 45.0)
    minute.count("one", 60.0)
