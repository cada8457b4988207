"""The ladder editor in a real browser: by thumb, by keyboard, and two people at once."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.stage import Stage, open_stage
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR

pytestmark = pytest.mark.browser
ROSA, TOM, _ = STAR.people
SLOW = 30_000
"""Milliseconds: a deadline, not a pause."""
SAVED = "Saved. It counts for what begins from now on."


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("ladders")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.let_the_engine_breathe()
        yield opened


@pytest.fixture(autouse=True)
def calm(stage: Stage) -> None:
    """Nothing of another test's."""
    stage.execute("delete from apm_escalation_policies where organization_id = %(o)s", o=STAR.id)


@pytest_asyncio.fixture(loop_scope="session", params=[True, False], ids=["scripts", "no scripts"])
async def phone(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(
        viewport={"width": 375, "height": 812},
        is_mobile=True,
        has_touch=True,
        java_script_enabled=request.param,
    )
    context.set_default_timeout(SLOW)
    yield context
    await context.close()


async def sign_in(context: BrowserContext, stage: Stage) -> Page:
    page = await context.new_page()
    await page.goto(f"{stage.url}/sign-in")
    await page.locator('button[value="florist"]').click()
    await page.wait_for_url(f"{stage.url}/")
    return page


def steps(stage: Stage) -> list[UUID]:
    """Whom each step of the only ladder names."""
    rows = stage.execute(
        "select user_ids[1] as one from apm_escalation_steps where organization_id = %(o)s "
        "order by position",
        o=STAR.id,
    )
    return [row["one"] for row in rows]


def person(page: Page, step: int, user_id: UUID) -> Locator:
    """The box that names somebody in a step."""
    return page.locator(f"input[name=s{step}_people][value='{user_id}']")


async def make(page: Page, stage: Stage) -> None:
    """A ladder that calls Rosa, then Tom."""
    await page.goto(f"{stage.url}/ladders/new")
    await page.fill("input[name=name]", "Saturdays")
    await person(page, 1, ROSA.id).check()
    await person(page, 2, TOM.id).check()
    await page.get_by_role("button", name="Save").first.click()
    await expect(page.get_by_text(SAVED)).to_be_visible(timeout=SLOW)


async def edit(page: Page, stage: Stage) -> None:
    await page.goto(f"{stage.url}/ladders")
    await page.get_by_role("link", name="Saturdays").first.click()
    await expect(page.locator("input[name=name]")).to_have_value("Saturdays", timeout=SLOW)


async def test_a_step_is_added_and_moved_by_keyboard_and_saved(
    phone: BrowserContext, stage: Stage
) -> None:
    page = await sign_in(phone, stage)
    await make(page, stage)
    assert steps(stage) == [ROSA.id, TOM.id]
    await edit(page, stage)
    # The empty step at the end is filled in, and a further one asked for with it.
    await page.locator("#step-3 input[name=s3_delay]").fill("10")
    await person(page, 3, ROSA.id).check()
    await page.locator("button[name=more]").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#step-5")).to_be_visible(timeout=SLOW)
    # The second goes up to be the first, and what has the focus next is in that step.
    await page.locator("button[name=up][value='2']").focus()
    await page.keyboard.press("Enter")
    await page.wait_for_url("**#step-1")
    await expect(person(page, 1, TOM.id)).to_be_checked(timeout=SLOW)
    await page.keyboard.press("Tab")
    inside = "document.activeElement.closest('#step-1') !== null"
    assert await page.evaluate(inside)
    assert steps(stage) == [ROSA.id, TOM.id], "nothing is saved by moving"
    await page.locator("input[name=repeats]").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text(SAVED)).to_be_visible(timeout=SLOW)
    assert steps(stage) == [TOM.id, ROSA.id, ROSA.id]


async def test_who_saves_second_sees_what_the_first_has_changed(
    browser: Browser, stage: Stage
) -> None:
    one, two = await browser.new_context(), await browser.new_context()
    first, second = await sign_in(one, stage), await sign_in(two, stage)
    await make(first, stage)
    for page in (first, second):
        await edit(page, stage)
    await first.locator("button[name=up][value='2']").click()
    await first.wait_for_url("**#step-1")
    await first.get_by_role("button", name="Save").first.click()
    await expect(first.get_by_text(SAVED)).to_be_visible(timeout=SLOW)
    await second.fill("input[name=repeats]", "3")
    await second.get_by_role("button", name="Save").first.click()
    clash = second.locator("#clash")
    await expect(clash).to_contain_text("Somebody changed this", timeout=SLOW)
    await expect(second.locator("input[name=repeats]")).to_have_value("3")
    assert steps(stage) == [TOM.id, ROSA.id]
    await clash.get_by_role("link").click()
    await expect(person(second, 1, TOM.id)).to_be_checked(timeout=SLOW)
    await expect(second.locator("input[name=repeats]")).to_have_value("0")
    await one.close()
    await two.close()
