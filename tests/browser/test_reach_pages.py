"""How people are reached and who is on call, in a real browser, with and without scripts."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser.stage import Stage, open_stage
from tests.browser.test_preview_pages import SMALL, listen
from tests.support.postgres import PostgresServer
from wedsync_apm.config import load_settings
from wedsync_apm.notify.members.proofs import PURPOSE
from wedsync_apm.organizations.secrets import load_keyring
from wedsync_apm.simulate.vendors import STAR

pytestmark = pytest.mark.browser
ROSA, TOM, _ = STAR.people
SLOW = 30_000
"""Milliseconds: a deadline, not a pause."""


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("reach")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.let_the_engine_breathe()
        yield opened


@pytest.fixture(autouse=True)
def calm(stage: Stage) -> None:
    """Nothing of another test's."""
    stage.execute("delete from apm_on_call_schedules where organization_id = %(o)s", o=STAR.id)
    stage.execute("delete from apm_deliveries where organization_id = %(o)s", o=STAR.id)
    stage.execute("delete from apm_contact_methods where organization_id = %(o)s", o=STAR.id)


@pytest_asyncio.fixture(loop_scope="session", params=[True, False], ids=["scripts", "no scripts"])
async def phone(request: pytest.FixtureRequest, browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(
        viewport={"width": 375, "height": 812},
        is_mobile=True,
        has_touch=True,
        java_script_enabled=request.param,
        timezone_id="Pacific/Auckland",
    )
    context.set_default_timeout(SLOW)
    yield context
    await context.close()


async def sign_in(context: BrowserContext, stage: Stage, person: str = "florist") -> Page:
    page = await context.new_page()
    await page.goto(f"{stage.url}/sign-in")
    await page.locator(f'button[value="{person}"]').click()
    await page.wait_for_url(f"{stage.url}/")
    return page


def only_id(stage: Stage, table: str) -> UUID:
    (row,) = stage.execute(f"select id from {table} where organization_id = %(o)s", o=STAR.id)
    found: UUID = row["id"]
    return found


async def test_a_contact_is_added_and_proven_by_thumb(phone: BrowserContext, stage: Stage) -> None:
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/contacts")
    await page.get_by_role("link", name="Add a way to be reached").click()
    await expect(page.locator("input[name=url]")).to_be_hidden()
    await page.fill("input[name=address]", "rosa@fern.example")
    await page.fill("input[name=name]", "Rosa’s e-mail")
    await page.get_by_role("button", name="Add it").click()
    await page.get_by_text("Added. Have a code sent, so that it counts.").wait_for()
    await page.get_by_role("button", name="Send a code").click()
    await page.get_by_text("A code is on its way.").wait_for()
    await expect(page.locator("#prove")).to_contain_text("Waiting to go out", use_inner_text=True)
    delivery = only_id(stage, "apm_deliveries")
    keyring = load_keyring(load_settings({}, data_dir=str(stage.data_dir)))
    await page.fill("input[name=code]", keyring.code(PURPOSE, delivery))
    await page.get_by_role("button", name="That is the code").click()
    await page.get_by_text("Proven. We can reach you here.").wait_for()
    await page.locator("#quiet-form summary").click()
    await page.get_by_role("button", name="Save quiet hours").click()
    await page.get_by_text("Quiet hours saved.").wait_for()
    await expect(page.locator("#quiet")).to_contain_text(
        "22:00 to 07:00 the next day", use_inner_text=True
    )


async def test_a_bot_is_added_and_the_order_changed_by_thumb(
    phone: BrowserContext, stage: Stage
) -> None:
    for n, name in enumerate(("Rosa’s e-mail", "Rosa’s mobile"), start=1):
        stage.execute(
            "insert into apm_contact_methods (organization_id, user_id, name, channel, address, "
            "preference) values (%(o)s, %(u)s, %(name)s, 'email', 'rosa@fern.example', %(n)s)",
            o=STAR.id,
            u=ROSA.id,
            name=name,
            n=n,
        )
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/contacts/new")
    token = page.locator("input[name=bot_token]")
    await expect(token).to_be_hidden()
    await page.locator("input[name=channel][value=slack]").check()
    await expect(token).to_be_visible(timeout=SLOW)
    await expect(page.locator("input[name=address]")).to_be_hidden()
    await token.fill("xoxb-1234567890-abcdefghij")
    await page.fill("input[name=channel_id]", "C024BE91L")
    await page.fill("input[name=signing_secret]", "8f742231b10e8888abcd99yyyzzz85a5")
    await page.fill("input[name=name]", "Rosa’s Slack")
    await page.get_by_role("button", name="Add it").click()
    await expect(page.get_by_text("Added. Have a code sent")).to_be_visible(timeout=SLOW)
    assert "xoxb" not in await page.content()
    await page.get_by_role("link", name="Show the address").click()
    await expect(page.locator("#hear .copykey")).to_contain_text("/api/v1/webhooks/", timeout=SLOW)
    ways = page.locator("#order li b")
    await expect(ways).to_have_text(["1. Rosa’s e-mail", "2. Rosa’s mobile", "3. Rosa’s Slack"])
    await page.locator("#order form button").last.click()
    await expect(ways).to_have_text(
        ["1. Rosa’s e-mail", "2. Rosa’s Slack", "3. Rosa’s mobile"], timeout=SLOW
    )


async def test_a_rota_is_made_and_a_weekend_handed_over_in_two_taps(
    phone: BrowserContext, stage: Stage
) -> None:
    page = await sign_in(phone, stage)
    await page.goto(f"{stage.url}/on-call")
    await page.get_by_role("link", name="Make a rota").click()
    await page.fill("input[name=name]", "Week and weekends")
    await page.get_by_label("somebody else, Saturday and Sunday").check()
    await page.locator("select[name=weekend_people]").first.select_option(str(TOM.id))
    await page.get_by_role("button", name="Show what it comes to").click()
    await page.get_by_text("Nothing is saved yet.").wait_for()
    await expect(page.locator("#preview")).to_contain_text("Tom Ashby", use_inner_text=True)
    await page.get_by_role("button", name="Save this rota").click()
    await page.get_by_text("Saved. It counts from now on.").wait_for()
    await page.get_by_role("link", name="Somebody else covers the weekend").click()
    await page.get_by_role("button", name="Hand it to Tom Ashby").click()
    await page.get_by_text("It counts from the beginning of that time.").wait_for()
    (swap,) = stage.execute(
        "select user_id, ends_at - starts_at as long from apm_on_call_overrides"
    )
    assert swap["user_id"] == TOM.id
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_text("Undone. The rota counts again.").wait_for()
    assert stage.execute("select id from apm_on_call_overrides") == []


async def test_every_page_fits_and_is_silent(browser: Browser, stage: Stage) -> None:
    long = "Donaudampfschifffahrtsgesellschaftskapitänsmütze " * 3
    stage.execute(
        "insert into apm_contact_methods (organization_id, user_id, name, channel, address) "
        "values (%(o)s, %(u)s, %(long)s, 'email', %(address)s)",
        o=STAR.id,
        u=ROSA.id,
        long=long,
        address="donaudampfschifffahrtsgesellschaftskapitaen" * 3 + "@example.com",
    )
    stage.execute(
        "insert into apm_on_call_schedules (organization_id, name, time_zone) "
        "values (%(o)s, %(long)s, 'Pacific/Auckland')",
        o=STAR.id,
        long=long,
    )
    rota = only_id(stage, "apm_on_call_schedules")
    stage.execute(
        "insert into apm_on_call_layers (organization_id, schedule_id, position, participants, "
        "starts_on, weekdays, shift_days) values (%(o)s, %(s)s, 1, %(u)s, '2026-01-05', "
        "array[1, 2, 3, 5, 6], 1)",
        o=STAR.id,
        s=rota,
        u=[ROSA.id, TOM.id],
    )
    contact = only_id(stage, "apm_contact_methods")
    (made,) = stage.execute(
        "insert into apm_contact_methods (organization_id, user_id, name, channel, address, "
        "secret_ciphertext) values (%(o)s, %(u)s, %(long)s, 'slack', 'C024BE91L', 'x') "
        "returning id",
        o=STAR.id,
        u=ROSA.id,
        long=long[:100],
    )
    slack = made["id"]
    paths = (
        "/contacts", "/contacts/new", f"/contacts/{contact}", f"/contacts/{slack}", "/on-call",
        "/on-call/new", "/on-call?week=2026-03-23", f"/on-call/{rota}/edit",
        f"/on-call/{rota}/cover?from=2026-12-01T09:00&until=2026-12-02T09:00",
    )  # fmt: skip
    faults: list[str] = []
    for width, theme in (
        (320, "light"), (320, "dark"), (375, "light"), (375, "dark"), (1280, "light"),
        (1280, "dark"),
    ):  # fmt: skip
        context = await browser.new_context(
            viewport={"width": width, "height": 812},
            is_mobile=width < 600,
            has_touch=width < 600,
            color_scheme="dark" if theme == "dark" else "light",
        )
        context.set_default_timeout(SLOW)
        page = await sign_in(context, stage)
        heard = listen(page)
        for path in paths:
            answer = await page.goto(f"{stage.url}{path}")
            assert answer is not None
            assert answer.status == 200, path
            room = await page.evaluate("document.documentElement.scrollWidth")
            if room > width:
                faults.append(f"{path} at {width}: {room} wide")
            if width < 600:
                small = await page.evaluate(SMALL)
                faults.extend(f"{path}: small {one}" for one in small)
            primary = await page.locator("main .b.p:visible").count()
            if primary > 1:
                faults.append(f"{path}: {primary} main actions")
            if path == "/on-call":
                is_wide = await page.locator("svg.week").first.is_visible()
                assert is_wide == (width > 1000), "bars are for desktops"
        faults.extend(one for one in heard if "/api/v1/events" not in one and "404" not in one)
        await context.close()
    assert faults == []
