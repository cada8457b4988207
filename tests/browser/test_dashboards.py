"""Dashboards in a real browser: seen, changed by keys and by pointer, taken back, and kept."""

import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, Page, expect

from tests.browser.stage import Stage, open_stage
from tests.browser.test_accessibility import ALL, COLOURS, look_at
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("boards")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.measure_the_form()
        opened.let_the_engine_breathe()
        yield opened


def board(stage: Stage, name: str = "Flowers") -> dict[str, Any]:
    (row,) = stage.execute(
        "select * from apm_dashboards where organization_id = %(o)s and name = %(n)s",
        o=STAR.id,
        n=name,
    )
    return row


def places(row: dict[str, Any]) -> dict[str, tuple[int, int, int, int]]:
    return {
        one["key"]: (one["at"]["x"], one["at"]["y"], one["at"]["w"], one["at"]["h"])
        for one in row["layout"]["panels"]
    }


@pytest_asyncio.fixture(loop_scope="session", params=[375, 1280])
async def page(
    request: pytest.FixtureRequest, browser: Browser, stage: Stage
) -> AsyncIterator[Page]:
    """Signed in as the florist, on a phone and on a desk; silent to its end."""
    width = request.param
    context = await browser.new_context(
        viewport={"width": width, "height": 812}, is_mobile=width < 600, has_touch=width < 600
    )
    opened = await context.new_page()
    heard: list[str] = []
    opened.on(
        "console",
        # the stage has pages and no stream of events
        lambda message: (
            None if "404" in message.text else heard.append(f"{message.type}: {message.text}")
        ),
    )
    opened.on("pageerror", lambda error: heard.append(str(error)))
    await opened.goto(f"{stage.url}/sign-in")
    await opened.locator('button[value="florist"]').click()
    await opened.wait_for_url(f"{stage.url}/")
    yield opened
    assert await opened.evaluate("document.documentElement.scrollWidth") == width
    assert heard == []
    await context.close()


async def keep_picture(page: Page, name: str) -> None:
    """Where pictures are kept, so that people can look at them."""
    folder = os.environ.get("WEDSYNC_PICTURES")
    if folder:
        width = await page.evaluate("innerWidth")
        await page.screenshot(path=f"{folder}/{name}-{width}.png", full_page=True)


async def test_panels_are_there_and_their_courses_are_drawn(page: Page, stage: Stage) -> None:
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if "/feed" in one.url else None)
    await page.goto(f"{stage.url}/dashboards/{board(stage)['id']}?span=1h")
    await expect(page.locator(".panel")).to_have_count(11)
    drawn = page.locator("#panel-orders canvas")
    await expect(drawn).to_have_count(1)
    await expect(page.locator("#panel-order .v")).to_have_text(re.compile(r"\d s"))
    await expect(page.locator("#panel-orders .legend button")).to_have_count(2)
    # all drawings of the page share one answer
    assert len(asked) == 1
    boxes = [await one.bounding_box() for one in await page.locator(".panel").all()]
    known = [box for box in boxes if box is not None]
    for n, one in enumerate(known):
        for other in known[n + 1 :]:
            assert (
                one["x"] + one["width"] <= other["x"] + 1
                or other["x"] + other["width"] <= one["x"] + 1
                or one["y"] + one["height"] <= other["y"] + 1
                or other["y"] + other["height"] <= one["y"] + 1
            )
    await keep_picture(page, "dashboard")


async def test_a_panel_is_moved_by_keys_taken_back_and_kept(page: Page, stage: Stage) -> None:
    before = board(stage)
    await page.goto(f"{stage.url}/dashboards/{before['id']}/edit")
    card = page.locator("#edit-orders")
    await expect(card).to_be_visible()
    await card.focus()
    told = page.locator("#told")
    await page.keyboard.press("ArrowDown")
    await expect(told).to_have_text(re.compile("column 1, row 7, 6 wide"))
    await expect(card).to_be_focused()
    await page.keyboard.press("Shift+ArrowLeft")
    await expect(told).to_have_text(re.compile("row 7, 5 wide"))
    undo, redo = page.get_by_role("button", name="Undo"), page.get_by_role("button", name="Redo")
    await page.keyboard.press("Control+z")
    await expect(card).to_have_attribute("aria-label", re.compile("row 7, 6 wide"))
    await undo.click()
    await expect(card).to_have_attribute("aria-label", re.compile("row 3, 6 wide"))
    await expect(undo).to_be_disabled()
    await redo.click()
    await redo.click()
    await expect(redo).to_be_disabled()
    await expect(card).to_have_attribute("aria-label", re.compile("row 7, 5 wide"))
    await keep_picture(page, "dashboard-editor")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator(".notice")).to_have_text(re.compile("The dashboard is saved"))
    after = board(stage)
    assert after["version"] == before["version"] + 1
    assert places(after)["orders"] == (0, 6, 5, 5)
    stage.execute(
        "update apm_dashboards set layout = %(l)s::jsonb where id = %(id)s",
        l=json.dumps(before["layout"]),
        id=before["id"],
    )


async def test_a_panel_is_added_filled_in_and_taken_away(page: Page, stage: Stage) -> None:
    before = board(stage, "For your couples")
    await page.goto(f"{stage.url}/dashboards/{before['id']}/edit")
    await page.get_by_label("Add a panel", exact=True).select_option("stat")
    card = page.locator("#edit-stat-1")
    await expect(card).to_be_focused()
    await page.keyboard.press("Enter")
    sheet = page.locator("#sheet")
    title = sheet.get_by_label("Title", exact=True)
    await expect(title).to_be_focused()
    await title.fill("Messages go out in")
    await sheet.get_by_label("Metric", exact=True).fill(
        "client_communications.communication_response_time"
    )
    await sheet.locator("select").first.select_option("max")
    await expect(card.locator("b")).to_have_text("Messages go out in")
    await page.locator("#edit-contact").focus()
    await page.keyboard.press("Delete")
    await expect(page.locator("#edit-contact")).to_have_count(0)
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator("#panel-stat-1")).to_contain_text("Messages go out in")
    after = board(stage, "For your couples")
    made = next(one for one in after["layout"]["panels"] if one["key"] == "stat-1")
    assert made["query"] == {
        "metric": "client_communications.communication_response_time",
        "agg": "max",
    }
    assert "contact" not in places(after)
    stage.execute(
        "update apm_dashboards set layout = %(l)s::jsonb where id = %(id)s",
        l=json.dumps(before["layout"]),
        id=before["id"],
    )


@pytest.mark.parametrize("page", [1280], indirect=True)
async def test_a_panel_is_dragged_and_pulled_wider(page: Page, stage: Stage) -> None:
    row = board(stage)
    await page.goto(f"{stage.url}/dashboards/{row['id']}/edit")
    card = page.locator("#edit-countdown")
    await expect(card).to_be_visible()
    box = await card.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 20, box["y"] + 20)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 20 + 2 * box["width"], box["y"] + 24, steps=6)
    await page.mouse.up()
    await expect(card).to_have_attribute("aria-label", re.compile(r"column [67], row 1, 3 wide"))
    # whatever lay there has made room, and nothing lies over anything
    document = json.loads(await page.locator("textarea.document").input_value())
    taken: set[tuple[int, int]] = set()
    for one in document["panels"]:
        at = one["at"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        taken |= cells
    corner = await card.locator(".corner").bounding_box()
    assert corner is not None
    await page.mouse.move(corner["x"] + 10, corner["y"] + 10)
    await page.mouse.down()
    await page.mouse.move(corner["x"] + 10, corner["y"] + 90, steps=4)
    await page.mouse.up()
    await expect(card).to_have_attribute("aria-label", re.compile("3 wide, 3 high"))
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_role("button", name="Undo").click()
    await expect(card).to_have_attribute(
        "aria-label", re.compile("column 1, row 1, 3 wide, 2 high")
    )


async def test_a_rule_is_made_from_a_chart(page: Page, stage: Stage) -> None:
    row = board(stage)
    await page.goto(f"{stage.url}/dashboards/{row['id']}?span=1h")
    # the way there is the same from a figure and from a course
    for key in ("order", "orders"):
        panel = page.locator(f"#panel-{key}")
        title = await panel.locator("h2 > span").inner_text()
        menu = panel.get_by_role("button", name=f"More: {title}")
        box = await menu.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44
        await menu.click()
        await expect(panel.locator(".sheet")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(panel.locator(".sheet")).to_be_hidden()
    await menu.click()
    await keep_picture(page, "dashboard-menu")
    await panel.get_by_role("link", name="Make a rule from this chart").click()
    await page.wait_for_url(f"{stage.url}/rules/new?*")
    query = next(one for one in row["layout"]["panels"] if one["key"] == "orders")["queries"][0]
    await expect(page.get_by_label("Name of the rule", exact=True)).to_have_value(title)
    await expect(page.locator("[name=metric_pattern]")).to_have_value(query["metric"])
    await expect(page.locator("[name=aggregation]")).to_have_value(query["agg"])
    await expect(page.locator("[name=comparison_operator]")).to_have_value(">")
    limit = await page.locator("[name=threshold_value]").input_value()
    assert float(limit) > 0
    await expect(page.locator("#editor")).to_contain_text("ms")
    await expect(page.locator("#editor")).to_contain_text("The limit is a suggestion")
    await keep_picture(page, "rule-from-chart")
    name = f"From a chart {await page.evaluate('innerWidth')}"
    await page.get_by_label("Name of the rule", exact=True).fill(name)
    await page.get_by_role("button", name="Make the rule", exact=True).click()
    await expect(page.locator("h1")).to_contain_text(name)
    (made,) = stage.execute(
        "delete from apm_alerts where organization_id = %(o)s and alert_name = %(n)s"
        " returning metric_pattern, aggregation, threshold_value",
        o=STAR.id,
        n=name,
    )
    assert (made["metric_pattern"], made["aggregation"]) == (query["metric"], query["agg"])
    assert made["threshold_value"] == float(limit)


async def test_axe_finds_nothing_on_dashboards(page: Page, stage: Stage) -> None:
    path = f"/dashboards/{board(stage)['id']}"
    wrong: dict[str, list[str]] = {}
    shared = ""
    for place in (
        *("/dashboards", f"{path}?span=1h", f"{path}?span=1h&kiosk=1", f"{path}/edit"),
        *(f"{path}/panels/orders?span=1h", "share", "shared"),
    ):
        if place == "share":
            await page.goto(f"{stage.url}{path}")
            await page.get_by_role("button", name="Share it").click()
            link = await page.locator("textarea[readonly]").input_value()
            shared = f"{stage.url}/shared/{link.rsplit('/', 1)[1]}"
        elif place == "shared":
            await page.goto(shared)
            await expect(page.locator(".panel").first).to_be_visible()
        else:
            await page.goto(f"{stage.url}{place}")
        if place == f"{path}?span=1h":
            # an open menu, too
            await page.get_by_role("button", name="More: Time to send an order").click()
        await page.evaluate(AXE_SCRIPT)
        passed, found = await look_at(page, "light", ALL)
        assert passed >= 8, f"hardly anything was looked for on {place}"
        _, more = await look_at(page, "dark", COLOURS)
        if found + more:
            wrong[place] = found + more
    assert wrong == {}
