"""Notifications on a phone, from the tap that allows them to the receipt and the answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.stage import Stage
from tests.browser.test_phone import Phone
from tests.browser.whole import open_whole
from tests.support.mast import open_mast
from tests.support.postgres import PostgresServer
from tests.support.providers import Browser as Subscribed
from tests.support.providers import Providers, providers
from tests.support.pushes import Device, find_device, send_everything, subscribe_at, until
from wedsync_apm.notify.vapid import decode
from wedsync_apm.simulate.vendors import STAR

pytestmark = pytest.mark.browser
ROSA, *_ = STAR.people
SLOW = 30_000


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("push")
    with server.clone() as database, open_whole(database, folder) as opened:
        # The demo's own people have addresses at which nobody listens.
        opened.execute("delete from apm_contact_methods")
        yield opened


@dataclass(frozen=True, slots=True)
class Ringing:
    """A phone, and the push service that its browser is with."""

    phone: Phone
    service: Providers
    browser: Subscribed
    stage: Stage

    async def device(self) -> Device:
        mast = self.phone.mast
        return await find_device(self.phone.context, self.phone.page, mast.url)

    async def send(self) -> dict[str, Any]:
        """What we have to say goes out; what the browser reads of it."""
        before = len(self.browser.shown)
        await send_everything(self.stage.owner, self.stage.data_dir)
        assert len(self.browser.shown) == before + 1
        return self.browser.shown[-1]

    async def turn_on(self) -> Device:
        """Signed in, allowed, and the first notification shown."""
        await self.phone.sign_in()
        await self.phone.until_there()
        await self.phone.open("/phone")
        await self.phone.page.get_by_role("button", name="Turn on notifications").click()
        await expect(
            self.phone.page.get_by_text("A first notification is on its way").first
        ).to_be_visible()
        device = await self.device()
        await device.receive(await self.send())
        await until(lambda: bool(self.contact()["verified_at"]))
        return device

    def contact(self) -> dict[str, Any]:
        """The phone as a way to reach its person."""
        (found,) = self.stage.execute(
            "select * from apm_contact_methods where channel = 'push' and user_id = %(u)s",
            u=ROSA.id,
        )
        return found

    def delivery(self, kind: str) -> dict[str, Any]:
        """The latest message of a kind."""
        return self.stage.execute(
            "select * from apm_deliveries where kind = %(kind)s order by created_at desc limit 1",
            kind=kind,
        )[0]


@pytest_asyncio.fixture(loop_scope="session")
async def ringing(whole_browser: Browser, stage: Stage) -> AsyncIterator[Ringing]:
    stage.let_the_engine_breathe()
    stage.execute("delete from apm_contact_methods")
    context = await whole_browser.new_context(
        viewport={"width": 375, "height": 812},
        is_mobile=True,
        has_touch=True,
        service_workers="allow",
    )
    context.set_default_timeout(SLOW)
    async with open_mast(urlsplit(stage.url).port or 0) as mast, providers() as service:
        await context.grant_permissions(["notifications"], origin=mast.url)
        subscribed = service.browsers["one"] = Subscribed()
        await subscribe_at(context, service.url("/push/one"), subscribed)
        phone = Phone(context, mast, await context.new_page())
        yield Ringing(phone, service, subscribed, stage)
        # Chromium has been seen never to end a context with a notification; the next is another.
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                await context.close()


async def test_a_phone_is_proven_by_the_first_notification_that_it_shows(ringing: Ringing) -> None:
    page = ringing.phone.page
    await ringing.phone.sign_in()
    await ringing.phone.until_there()
    await ringing.phone.open("/phone")
    await expect(page.locator("#notices h2")).to_have_text("This phone does not ring yet")
    assert await page.evaluate("localStorage.getItem('subscribed')") is None
    await page.get_by_role("button", name="Turn on notifications").click()
    await expect(page.locator("#notices h2")).to_have_text("A first notification is on its way")
    key = await page.evaluate("fetch('/api/v1/push/public-key').then((a) => a.json())")
    used = await page.evaluate("localStorage.getItem('subscribed')")
    assert bytes(int(one) for one in used.split(",")) == decode(key["public_key"])
    contact = ringing.contact()
    assert contact["verified_at"] is None
    assert contact["organization_id"] == STAR.id
    assert contact["name"].startswith("Rosa Whitlock, Chrome on ")
    message = await ringing.send()
    assert message["title"] == "Notifications reach you here"
    assert message["receipt"] not in str(ringing.delivery("verify")["body"])
    device = await ringing.device()
    await device.receive(message)
    # The page hears of it by itself.
    await expect(page.locator("#notices h2")).to_have_text(
        "This phone rings when something needs you"
    )
    assert ringing.contact()["verified_at"] is not None
    (shown,) = await device.shown()
    assert shown["title"] == message["title"]


async def test_my_phone_is_tested_and_its_receipt_is_seen_to_arrive(ringing: Ringing) -> None:
    device = await ringing.turn_on()
    page = ringing.phone.page
    await ringing.phone.open("/phone")
    await page.get_by_role("button", name="Test my phone").click()
    row = page.locator("#test li").first
    await expect(row).to_contain_text("Test,")
    message = await ringing.send()
    assert ringing.delivery("test")["delivered_at"] is None
    await device.receive(message)
    await expect(row).to_contain_text("Shown on this phone after")
    kept = ringing.delivery("test")
    assert (kept["state"], kept["receipt"]) == ("delivered", "delivered")
    assert kept["provider_status"] == "shown on the device"
    await close_others(device, message["tag"])
    await device.tap()
    await until(lambda: ringing.delivery("test")["receipt"] == "read")


def call(stage: Stage, contact: UUID) -> UUID:
    """The order form is slow, and its call is on its way to one contact."""
    stage.execute("update apm_incidents set status = 'closed' where status <> 'closed'")
    incident: UUID = stage.break_the_form()
    stage.execute("delete from apm_deliveries where kind = 'page'")
    stage.execute(
        "insert into apm_deliveries (organization_id, incident_id, contact_method_id, channel,"
        " kind, reason, idempotency_key, recipient, priority, due_at, generation)"
        " select organization_id, id, %(c)s, 'push', 'page', 'first', 'call:' || id,"
        ' \'{"name": "Rosa"}\', 100, now(), generation from apm_incidents where id = %(i)s',
        c=contact,
        i=incident,
    )
    return incident


async def test_i_am_on_it_counts_when_the_server_says_so_and_not_before(ringing: Ringing) -> None:
    device = await ringing.turn_on()
    incident = call(ringing.stage, ringing.contact()["id"])
    message = await ringing.send()
    await device.receive(message)

    def status() -> str:
        found = ringing.stage.execute(
            "select status from apm_incidents where id = %(i)s", i=incident
        )
        return str(found[0]["status"])

    async def is_shown(words: str) -> None:
        for _ in range(600):
            shown = [one for one in await device.shown() if one["tag"] == str(incident)]
            if shown and words in shown[0]["title"]:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"never shown: {words}, but {await device.shown()}")

    await is_shown("order form")
    await until(lambda: ringing.delivery("page")["receipt"] == "delivered")
    await close_others(device, str(incident))
    assert (await device.shown())[0]["actions"] == ["I'm on it"]
    ringing.phone.mast.set("none")
    await device.tap("take")
    await is_shown("Not sent yet")
    assert status() == "open"
    ringing.phone.mast.set("good")
    await device.tap("take")
    await is_shown("You have it.")
    assert status() == "acknowledged"
    assert (await device.shown())[0]["actions"] == []


async def close_others(device: Device, tag: str) -> None:
    """Only what bears this tag still stands."""
    await device.worker.evaluate(
        "async (tag) => (await registration.getNotifications())"
        ".filter((one) => one.tag !== tag).forEach((one) => one.close())",
        tag,
    )


async def test_signing_out_ends_the_calls_to_this_phone(ringing: Ringing) -> None:
    await ringing.turn_on()
    page = ringing.phone.page
    await ringing.phone.open("/more")
    await expect(page.get_by_text("Signing out ends notifications to this phone.")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/sign-in?out=1")
    assert await page.evaluate("localStorage.getItem('subscribed')") is None
    assert ringing.contact()["disabled_at"] is not None


async def test_blocked_notifications_are_told_and_make_no_contact(ringing: Ringing) -> None:
    page = ringing.phone.page
    await ringing.phone.context.clear_permissions()
    await ringing.phone.sign_in()
    await ringing.phone.open("/phone")
    await ringing.phone.until_there()
    if await page.evaluate("Notification.permission") != "denied":
        await page.get_by_role("button", name="Turn on notifications").click()
    await expect(page.locator('[data-says="denied"]')).to_be_visible()
    assert not ringing.stage.execute("select from apm_contact_methods where channel = 'push'")


async def test_a_subscription_that_is_lost_is_told(ringing: Ringing) -> None:
    await ringing.turn_on()
    page = ringing.phone.page
    await page.evaluate("localStorage.removeItem('subscribed')")
    await ringing.phone.open("/phone")
    await expect(page.locator('[data-says="lost"]')).to_be_visible()
    await expect(page.get_by_role("button", name="Turn on notifications")).to_be_visible()
