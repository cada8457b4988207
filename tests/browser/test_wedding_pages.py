"""The calendar in a real browser: with and without scripts, by keyboard, on the phone."""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, expect

from tests.browser.stage import Stage, open_stage
from tests.browser.test_pages import sign_in
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("stage")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.let_the_engine_breathe()
        yield opened


@pytest_asyncio.fixture(loop_scope="session", params=[True, False], ids=["scripts", "no scripts"])
async def phone(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(
        viewport={"width": 375, "height": 812},
        is_mobile=True,
        has_touch=True,
        java_script_enabled=request.param,
    )
    yield context
    await context.close()


async def test_a_wedding_is_entered_and_moved_on_the_phone(
    phone: BrowserContext, stage: Stage
) -> None:
    day = datetime.now(UTC).date() + timedelta(days=200)
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/weddings?day={day}")
    await page.locator("#day").get_by_role("link", name="Enter a wedding").click()
    await page.fill("input[name=couple]", "Cleo Amis & Dan Bose")
    await page.fill("input[name=reception]", "17:00")
    await page.get_by_role("button", name="Save the wedding").click()
    fault = page.locator("#e-ceremony")
    await expect(fault).to_have_text("Enter the ceremony too, or leave all three empty")
    await expect(page.locator("input[name=couple]")).to_have_value("Cleo Amis & Dan Bose")
    await page.fill("input[name=ceremony]", "14:30")
    await page.fill("input[name=ends]", "01:00")
    await page.get_by_role("button", name="Save the wedding").click()
    await page.wait_for_selector("text=The wedding is in the calendar.")
    text = await page.locator("main").inner_text()
    assert "14:30–17:00" in text
    assert re.search(r"17:00–\w{3} 01:00", text)
    await page.locator("#move summary").click()
    later = day + timedelta(days=1)
    await page.fill("#move input[name=date]", later.isoformat())
    await page.get_by_role("button", name="Move the wedding").click()
    await page.wait_for_selector("text=Moved. Rules, calls and readiness follow at once.")
    await page.goto(f"{stage.url}/weddings?day={day}")
    gone = page.locator(".day.open .wed.off", has_text="Cleo Amis")
    await expect(gone.first).to_contain_text("Moved to")


async def test_a_file_is_looked_at_before_it_is_taken(phone: BrowserContext, stage: Stage) -> None:
    day = datetime.now(UTC).date() + timedelta(days=300)
    name = f"Import {id(phone)}"
    text = f"Reference,Date,Couple\nr{id(phone)},{day},{name} & Ben\nx,never,Eve & Fay\n"
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/weddings")
    await page.get_by_role("link", name="Import").click()
    await page.set_input_files(
        "input[name=file]", {"name": "w.csv", "mimeType": "text/csv", "buffer": text.encode()}
    )
    await page.get_by_role("button", name="Show what it would do").click()
    await page.wait_for_selector("text=1 wedding would change")
    await expect(page.locator("#preview")).to_contain_text("Refused: 1", use_inner_text=True)
    await expect(page.locator("#preview")).to_contain_text("Line 3", use_inner_text=True)
    await page.get_by_role("button", name="Import 1 wedding").click()
    await page.wait_for_selector("text=Imported. The result stands below.")
    await page.goto(f"{stage.url}/weddings?day={day}")
    await expect(page.locator(".day.open", has_text=name)).to_have_count(1)


async def test_days_are_reached_by_keys(browser: Browser, stage: Stage) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await sign_in(context, stage)
    await page.goto(f"{stage.url}/weddings?month=2027-06")
    await expect(page.locator(".day:visible")).to_have_count(35)
    await page.locator(".daynum a").nth(9).focus()
    focused = page.locator(":focus")
    await expect(focused).to_have_attribute("aria-label", "Wed 9 June")
    await page.keyboard.press("ArrowDown")
    await expect(focused).to_have_attribute("aria-label", "Wed 16 June")
    await page.keyboard.press("ArrowLeft")
    await expect(focused).to_have_attribute("aria-label", "Tue 15 June")
    await page.keyboard.press("Enter")
    await expect(page.locator("#day h2")).to_have_text("Tue 15 June")
    await page.keyboard.press("PageDown")
    await expect(page.locator("h1")).to_have_text("July 2027")
    await page.keyboard.press("PageUp")
    await expect(page.locator("h1")).to_have_text("June 2027")
    await page.keyboard.press("t")
    await expect(page.locator("h1")).to_have_text(f"{datetime.now(UTC):%B %Y}")
    await context.close()


async def test_the_grid_says_when_the_platform_is_on_guard(browser: Browser, stage: Stage) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await sign_in(context, stage)
    await page.goto(f"{stage.url}/weddings?month=2027-06&day=2027-06-19")
    friday = await page.locator(".day", has=page.get_by_label("Fri 18 June")).inner_text()
    assert "Close watch from 20:00" in friday
    assert "Releases stop at 18:00" in friday
    await expect(page.locator("#day")).to_contain_text(
        "Most weddings are on Saturdays", use_inner_text=True
    )
    await expect(page.locator(".pagehead")).to_contain_text("In season", use_inner_text=True)
    await context.close()
