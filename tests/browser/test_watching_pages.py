"""Quiet times, heartbeats and checks in a real browser, with and without scripts."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser.stage import Stage, open_stage
from tests.browser.test_preview_pages import SMALL, listen
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("watching")
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


async def sign_in(context: BrowserContext, stage: Stage, person: str = "florist") -> Page:
    page = await context.new_page()
    await page.goto(f"{stage.url}/sign-in")
    await page.locator(f'button[value="{person}"]').click()
    await page.wait_for_url(f"{stage.url}/")
    return page


async def test_a_silence_over_a_wedding_from_the_incident_to_the_second_person(
    phone: BrowserContext, browser: Browser, stage: Stage
) -> None:
    stage.execute("delete from apm_silences")
    stage.execute("delete from apm_maintenance_windows")
    stage.execute("update apm_incidents set status = 'closed' where status <> 'closed'")
    incident = stage.break_the_form()
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/incidents/{incident}")
    await page.get_by_role("link", name="Silence this until …").click()
    await expect(page.locator("#preview")).to_contain_text(
        "It lies over a wedding", use_inner_text=True
    )
    await page.fill("textarea[name=reason]", "The till is being exchanged")
    await page.get_by_role("button", name="Ask a second person").click()
    # a script takes what was just done out of the address, so that the words are waited for
    await page.get_by_text("You asked for it, so somebody else has to say yes.").wait_for()
    other = await browser.new_context()
    second = await sign_in(other, stage, "planner")
    await second.goto(f"{stage.url}/more")
    await second.select_option("select[name=organization]", str(STAR.id))
    await second.get_by_role("button", name="Switch business").click()
    await second.goto(f"{stage.url}/")
    await second.get_by_role("link", name="waits for your yes or no").click()
    await second.wait_for_url("**/silences/*")
    await second.get_by_role("button", name="Yes, hold it back").click()
    await second.get_by_text("You said yes. It is held back.").wait_for()
    await other.close()
    await page.goto(f"{stage.url}/incidents/{incident}")
    await expect(page.locator("#held")).to_contain_text(
        "Rosa Whitlock asked for quiet", use_inner_text=True
    )


async def test_a_heartbeat_and_a_check_are_made_by_thumb(
    phone: BrowserContext, stage: Stage
) -> None:
    stage.execute("delete from apm_heartbeats")
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/heartbeats/new")
    await page.fill("input[name=name]", "Nightly export")
    await page.get_by_label("At fixed times").check()
    await page.fill("input[name=cron]", "30 2 * * *")
    await page.get_by_role("button", name="Save").click()
    address = page.locator("#address pre").first
    await expect(address).to_have_text(re.compile(r"^curl -fsS -m 10 --retry 3 -X POST"))
    await page.goto(f"{stage.url}/checks/new")
    await page.get_by_role("button", name="Check it: OpenAI").click()
    await page.get_by_text("It is checked from now on.").wait_for()
    await expect(page.locator("h1")).to_contain_text("OpenAI", use_inner_text=True)
    stage.execute("delete from service_health_checks where shared_key = 'openai'")


async def test_every_page_fits_and_is_silent(browser: Browser, stage: Stage) -> None:
    stage.execute("delete from apm_silences")
    stage.execute("delete from apm_heartbeats")
    stage.execute("alter table apm_silences disable trigger apm_silences_prepare")
    for statement in (
        "insert into apm_silences (organization_id, matchers, ends_at, reason, owner) values "
        "(%(o)s, %(m)s, now() + interval '2 days', %(long)s, %(long)s)",
        "insert into apm_maintenance_windows (organization_id, name, matchers, weekdays, "
        "starts_time, ends_time, time_zone) values (%(o)s, %(long)s, %(m)s, array[1,2,3,4,5,6,7], "
        "'23:00', '02:00', 'Europe/London')",
        "insert into apm_heartbeats (organization_id, name, period) values (%(o)s, %(long)s, '5m')",
    ):
        stage.execute(
            statement,
            o=STAR.id,
            m=json.dumps([{"label": "service", "operator": "=~", "value": "wedding_forms" * 9}]),
            long="Donaudampfschifffahrtsgesellschaftskapitänsmütze " * 3,
        )
    stage.execute("alter table apm_silences enable trigger apm_silences_prepare")
    ids = {
        table: stage.execute(f"select id from {table} where organization_id = %(o)s", o=STAR.id)[0]
        for table in (
            "apm_silences",
            "apm_maintenance_windows",
            "apm_heartbeats",
            "service_health_checks",
        )
    }
    work = f"/planned-work/{ids['apm_maintenance_windows']['id']}"
    heartbeat = f"/heartbeats/{ids['apm_heartbeats']['id']}"
    check = f"/checks/{ids['service_health_checks']['id']}"
    paths = (
        "/silences", "/silences/new", f"/silences/{ids['apm_silences']['id']}",
        "/planned-work/new", work, f"{work}/edit", "/heartbeats", "/heartbeats/new", heartbeat,
        f"{heartbeat}/edit", "/checks", "/checks/new", "/checks/own", check, f"{check}/edit",
    )  # fmt: skip
    faults: list[str] = []
    for width, theme in ((320, "light"), (375, "dark"), (1280, "light")):
        context = await browser.new_context(
            viewport={"width": width, "height": 812},
            is_mobile=width < 600,
            has_touch=width < 600,
            color_scheme="dark" if theme == "dark" else "light",
        )
        page = await sign_in(context, stage)
        heard = listen(page)
        for path in paths:
            answer = await page.goto(f"{stage.url}{path}")
            assert answer is not None
            assert answer.status == 200, path
            room = await page.evaluate("document.documentElement.scrollWidth")
            if room > width:
                faults.append(f"{path} at {width}: {room} wide")
            if width == 375:
                small = await page.evaluate(SMALL)
                faults.extend(f"{path}: small {one}" for one in small)
                primary = await page.locator("main .b.p:visible").count()
                if primary > 1:
                    faults.append(f"{path}: {primary} main actions")
        faults.extend(one for one in heard if "/api/v1/events" not in one and "404" not in one)
        await context.close()
    assert faults == []
