"""The rule editor in a real browser: what it would have done follows what is typed."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.stage import Stage, open_stage
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR

pytestmark = pytest.mark.browser

NEW = "/rules/new?kind=threshold&metric=wedding_forms.form_submission_time"
PREVIEW = "figure[data-part=preview]"


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("editor")
    with server.clone() as database, open_stage(database, folder) as opened:
        # samples remember whether their day was a wedding day
        opened.execute("delete from apm_weddings")
        opened.execute("delete from clients")
        opened.measure_the_form()
        opened.let_the_engine_breathe()
        yield opened


async def open_page(
    browser: Browser, stage: Stage, width: int, *, scripts: bool = True
) -> tuple[Page, list[str]]:
    """Signed in as the florist, with whatever the page complains about."""
    context = await browser.new_context(
        viewport={"width": width, "height": 812},
        is_mobile=width < 600,
        has_touch=width < 600,
        java_script_enabled=scripts,
    )
    page = await context.new_page()
    heard: list[str] = []
    page.on(
        "console",
        # the stage has pages and no stream of events
        lambda message: (
            None if "404" in message.text else heard.append(f"{message.type}: {message.text}")
        ),
    )
    page.on("pageerror", lambda error: heard.append(str(error)))
    await page.goto(f"{stage.url}/sign-in")
    await page.locator('button[value="florist"]').click()
    await page.wait_for_url(f"{stage.url}/")
    return page, heard


@pytest_asyncio.fixture(loop_scope="session", params=[375, 1280])
async def editor(
    request: pytest.FixtureRequest, browser: Browser, stage: Stage
) -> AsyncIterator[Page]:
    """The editor of a new rule, on a phone and on a desk; silent to its end."""
    page, heard = await open_page(browser, stage, request.param)
    await page.goto(stage.url + NEW)
    yield page
    assert await page.evaluate("document.documentElement.scrollWidth") == request.param
    assert heard == []
    await page.context.close()


async def test_the_preview_follows_what_is_typed(editor: Page, stage: Stage) -> None:
    before = stage.execute("select count(*) as n from apm_alerts")
    would = editor.locator(f"{PREVIEW} .would")
    await expect(would).to_have_text(re.compile("Fill in the fields"))
    await editor.evaluate("window.isSamePage = true")
    await editor.locator("#more summary").click()
    await editor.fill("input[name=for_duration]", "0 s")
    await editor.fill("input[name=threshold_value]", "5 s")
    await expect(would).to_have_text(re.compile(r"Would have told you 1 time in the last 7 days"))
    await expect(editor.locator(f"{PREVIEW} svg rect.told").first).to_be_attached()
    await expect(editor.locator(f"{PREVIEW} tbody tr")).to_have_count(1)
    await expect(editor.locator("[data-part=near-window]")).to_contain_text("2.5 s")
    await editor.fill("input[name=near_window]", "800")
    await expect(editor.locator("[data-part=near-window]")).to_contain_text("your own limit")
    await editor.fill("input[name=threshold_value]", "20000")
    await expect(would).to_have_text("Would have told nobody in the last 7 days.")
    await expect(editor.locator(f"{PREVIEW} rect.told")).to_have_count(0)
    await editor.get_by_role("radio", name="24 hours").check()
    await expect(would).to_have_text("Would have told nobody in the last 24 hours.")
    await editor.fill("input[name=metric_pattern]", "no.such")
    await expect(editor.locator("#fits-metric_pattern")).to_contain_text("Nothing that you send")
    await expect(would).to_contain_text("Nothing was measured")
    assert await editor.evaluate("window.isSamePage") is True
    await expect(editor.locator("input[name=threshold_value]")).to_have_value("20000")
    assert stage.execute("select count(*) as n from apm_alerts") == before


async def test_the_limit_is_pulled(editor: Page) -> None:
    await editor.fill("input[name=threshold_value]", "8000")
    reach = editor.locator("svg.rd .reach")
    await expect(reach).to_be_attached()
    await reach.scroll_into_view_if_needed()
    box = await reach.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await editor.mouse.move(x, y)
    await editor.mouse.down()
    await editor.mouse.move(x, y + 60, steps=5)
    await editor.mouse.up()
    await expect(editor.locator("input[name=threshold_value]")).not_to_have_value("8000")
    pulled = float(await editor.input_value("input[name=threshold_value]"))
    assert 2000 < pulled < 8000
    await expect(editor.locator("[data-part=near-rule]")).to_contain_text(f"{pulled / 1000:.2g} s")


async def test_another_row_comes_when_the_last_is_used(editor: Page) -> None:
    await editor.locator("#only-tag_selectors summary").click()
    rows = editor.locator("#only-tag_selectors .condition")
    await expect(rows).to_have_count(1)
    await rows.first.locator("input").first.fill("region")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(1).locator("input").first).to_have_value("")


@pytest.mark.parametrize("width", [375, 1280])
async def test_without_scripts_it_is_tried_and_made(
    browser: Browser, stage: Stage, width: int
) -> None:
    page, _ = await open_page(browser, stage, width, scripts=False)
    await page.goto(f"{stage.url}/rules")
    await page.get_by_role("link", name="New rule").click()
    await page.get_by_role("link", name="A value is too high or too low").click()
    await page.fill("input[name=alert_name]", f"Plain {width}")
    await page.fill("input[name=metric_pattern]", "wedding_forms.*")
    await page.fill("input[name=threshold_value]", "5 s")
    await page.get_by_role("button", name="Try it").click()
    await expect(page.locator(f"{PREVIEW} .would")).to_contain_text("in the last 7 days")
    await expect(page.locator(f"{PREVIEW} svg.rd path.line")).to_have_count(1)
    await expect(page.locator("input[name=alert_name]")).to_have_value(f"Plain {width}")
    await page.fill("input[name=evaluation_window]", "soon")
    await page.get_by_role("button", name="Make the rule").click()
    await expect(page.locator("#e-evaluation_window")).to_be_visible()
    await page.fill("input[name=evaluation_window]", "5 min")
    await page.get_by_role("button", name="Make the rule").click()
    await expect(page.locator("h1")).to_have_text(f"Plain {width}")
    await expect(page.locator(".notice")).to_contain_text("The rule is made")
    assert stage.execute(
        "select threshold_value from apm_alerts where organization_id = %(o)s"
        " and alert_name = %(name)s",
        o=STAR.id,
        name=f"Plain {width}",
    ) == [{"threshold_value": 5000.0}]
    await page.context.close()
