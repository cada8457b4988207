"""The worker beside the pages, in a real browser: what a phone has without a signal, for whom, and
for how long."""

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser.stage import Stage
from tests.browser.whole import open_whole
from tests.support.icons import DRAWN, STATIC, draw
from tests.support.mast import Mast, open_mast
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR
from wedsync_apm.web import worker

ROSA, *_ = STAR.people
NOBODY = uuid4()
pytestmark = pytest.mark.browser
SLOW = 30_000
"""Milliseconds: a deadline, not a pause."""


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("phone")
    with server.clone() as database, open_whole(database, folder) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Phone:
    """A telephone with a mast of its own: its origin is that mast's."""

    context: BrowserContext
    mast: Mast
    page: Page

    async def open(self, path: str) -> None:
        await self.page.goto(f"{self.mast.url}{path}")

    async def sign_in(self, person: str = "florist") -> None:
        await self.open("/sign-in")
        await self.page.locator(f'button[value="{person}"]').click()
        await self.page.wait_for_url(f"{self.mast.url}/")

    async def kept(self) -> dict[str, list[str]]:
        """What lies in the caches, by their names."""
        found: dict[str, list[str]] = await self.page.evaluate(
            "async () => Object.fromEntries(await Promise.all((await caches.keys()).map("
            "async (n) => [n, (await (await caches.open(n)).keys()).map("
            "(k) => new URL(k.url).pathname)])))"
        )
        return found

    async def pages(self) -> list[str]:
        """The pages that it keeps, of whomever."""
        kept = await self.kept()
        return sorted(path for name in kept if name.startswith("pages ") for path in kept[name])

    async def until(self, script: str, argument: Any = None) -> None:
        """Waits until that is true in the page; the browser itself would not wait for a promise."""
        deadline = time.monotonic() + SLOW / 1000
        while not await self.page.evaluate(script, argument):
            assert time.monotonic() < deadline, f"never came true: {script}"
            await asyncio.sleep(0.05)

    async def care(self) -> None:
        """The worker looks after what it keeps, as it does now and then."""
        await self.page.evaluate(
            "caches.open('about').then((about) => about.delete('/cared')).then(() =>"
            " navigator.serviceWorker.controller.postMessage('care'))"
        )

    async def until_a_card_is_kept(self) -> str:
        """The address of the first card that the server lists."""
        listed = await self.page.evaluate("fetch('/phone/kept').then((a) => a.json())")
        card: str = next(path for path in listed["pages"] if path.endswith("/card"))
        await self.until_kept(card)
        return card

    async def until_kept(self, path: str, *, is_kept: bool = True) -> None:
        await self.until(KEPT, [path, is_kept])

    async def until_there(self) -> None:
        """The worker stands between this page and us."""
        await self.until("() => Boolean(navigator.serviceWorker.controller)")


KEPT = """async ([path, wanted]) => {
  const names = (await caches.keys()).filter((n) => n.startsWith("pages "));
  const found = await Promise.all(names.map(async (n) => (await caches.open(n)).match(path)));
  return found.some(Boolean) === wanted;
}"""


DIFFERENCE = """async (both) => {
  const [one, other] = await Promise.all(both.map(async (text) => {
    const picture = new Image();
    picture.src = `data:image/png;base64,${text}`;
    await picture.decode();
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    const pen = canvas.getContext("2d");
    pen.drawImage(picture, 0, 0);
    return pen.getImageData(0, 0, picture.width, picture.height).data;
  }));
  if (one.length !== other.length) return 255;
  return one.reduce((sum, value, at) => sum + Math.abs(value - other[at]), 0) / one.length;
}"""
"""How far two pictures are apart, on average, of 255."""


@pytest_asyncio.fixture(loop_scope="session")
async def phone(whole_browser: Browser, stage: Stage) -> AsyncIterator[Phone]:
    stage.let_the_engine_breathe()
    context = await whole_browser.new_context(
        viewport={"width": 375, "height": 812},
        is_mobile=True,
        has_touch=True,
        service_workers="allow",
    )
    context.set_default_timeout(SLOW)
    async with open_mast(urlsplit(stage.url).port or 0) as mast:
        yield Phone(context, mast, await context.new_page())
        await context.close()


async def test_today_without_a_signal_is_as_it_was_and_nothing_on_it_works(phone: Phone) -> None:
    await phone.sign_in()
    await phone.until_there()
    await phone.until_kept("/")
    await expect(phone.page.locator(".st.ok").first).to_be_visible()
    clock = await phone.page.get_attribute("main", "data-clock")
    phone.mast.set("none")
    await phone.page.clock.install(time=await phone.page.evaluate("Date.now() / 1000 + 240"))
    await phone.open("/")
    strip = phone.page.locator("#offline")
    await expect(strip).to_contain_text(f"No signal. This is how it was at {clock}.")
    await expect(strip.locator("b")).to_have_text(re.compile(r"^[45] min ago$"))
    await expect(phone.page.locator(".live")).to_have_text(re.compile(r"No signal, [45] min ago"))
    await expect(phone.page.locator(".verdict h1")).to_have_text(f"Not known since {clock}")
    await expect(phone.page.locator(".st.ok, .verdict.ok, .state.ok")).to_have_count(0)
    assert not re.search(r"All working|Working\b", await phone.page.locator("main").inner_text())
    assert await phone.page.locator('a[href^="tel:"]').count() > 0


async def test_the_shell_is_installable(phone: Phone) -> None:
    await phone.sign_in()
    await phone.until_there()
    session = await phone.context.new_cdp_session(phone.page)
    found = await session.send("Page.getAppManifest")
    assert found["errors"] == []
    manifest = json.loads(found["data"])
    assert (manifest["display"], manifest["start_url"], manifest["scope"]) == (
        "standalone",
        "/",
        "/",
    )
    purposes = {(one["purpose"], one["sizes"]) for one in manifest["icons"]}
    assert {("any", "192x192"), ("any", "512x512"), ("maskable", "512x512")} <= purposes
    # A test's window is one of those in which nothing can be installed; it is all that is wrong.
    wrong = await session.send("Page.getInstallabilityErrors")
    assert {one["errorId"] for one in wrong["installabilityErrors"]} <= {"in-incognito"}


async def test_the_icons_are_what_our_drawings_show(whole_browser: Browser) -> None:
    page = await whole_browser.new_page()
    for name in DRAWN:
        drawn = base64.b64encode(await draw(whole_browser, name)).decode()
        stored = (STATIC / "icons" / f"{name}.png").read_bytes()
        off = await page.evaluate(DIFFERENCE, [drawn, base64.b64encode(stored).decode()])
        assert off < 2, f"{name}: run python -m tests.support.icons"


async def test_nothing_is_kept_but_what_the_server_lists(phone: Phone, stage: Stage) -> None:
    await phone.sign_in()
    await phone.until_there()
    listed = await phone.page.evaluate("fetch('/phone/kept').then((a) => a.json())")
    cards = [path for path in listed["pages"] if path.endswith("/card")]
    assert cards
    for path in listed["pages"]:
        await phone.until_kept(path)
    for path in ("/rules", "/contacts", "/phone", "/weddings"):
        await phone.open(path)
    assert await phone.page.evaluate("fetch('/api/v1/me').then((a) => a.ok)")
    kept = await phone.kept()
    assert await phone.pages() == sorted(listed["pages"])
    others = [path for name in kept if not name.startswith("pages ") for path in kept[name]]
    assert all(
        path.startswith("/static/") or path in ("/offline", "/person", "/cared") for path in others
    )


async def test_the_card_of_today_s_wedding_is_there_without_a_signal(phone: Phone) -> None:
    await phone.sign_in()
    await phone.until_there()
    card = await phone.until_a_card_is_kept()
    phone.mast.set("none")
    await phone.open(card)
    await expect(phone.page.locator("#offline")).to_contain_text("No signal")
    await expect(phone.page.locator("h1")).not_to_be_empty()
    await expect(phone.page.locator(".whom a[href^='tel:']").first).to_be_visible()
    await expect(phone.page.locator(".times li").first).to_be_visible()
    await expect(phone.page.locator(".do li").first).to_be_visible()
    await phone.open("/rules")
    await expect(phone.page.locator("h1")).to_have_text("No signal")
    names = phone.page.locator("[data-kept-list] .row .t")
    await expect(names.filter(has_text=re.compile("^Today$"))).to_have_count(1)
    assert "working" not in (await phone.page.locator("main").inner_text()).lower()


async def test_with_one_bar_the_page_is_there_at_once_and_then_true(phone: Phone) -> None:
    await phone.sign_in()
    await phone.until_there()
    await phone.until_kept("/")
    phone.mast.set("stuck")
    await phone.page.goto(phone.mast.url, wait_until="commit")
    await expect(phone.page.locator("#offline")).to_contain_text("No signal")
    phone.mast.set("good")
    await expect(phone.page.locator("#offline")).to_have_count(0)
    await phone.until("() => !('kept' in document.documentElement.dataset)")
    await expect(phone.page.locator(".st.ok").first).to_be_visible()


async def test_signing_out_takes_everything_from_the_phone(phone: Phone) -> None:
    await phone.sign_in()
    await phone.until_there()
    await phone.until_kept("/")
    await phone.open("/more")
    await phone.page.get_by_role("button", name="Sign out").click()
    await phone.page.wait_for_url(re.compile("/sign-in"))
    await phone.until_kept("/", is_kept=False)
    assert await phone.pages() == []
    phone.mast.set("none")
    await phone.open("/")
    await expect(phone.page.locator("h1")).to_have_text("No signal")


async def test_another_person_finds_nothing_of_the_one_before(phone: Phone, stage: Stage) -> None:
    await phone.sign_in()
    await phone.until_there()
    await phone.until_kept("/")
    before = [name for name in await phone.kept() if name.startswith("pages ")]
    await phone.context.clear_cookies()
    phone.mast.set("none")
    await phone.open("/")
    await expect(
        phone.page.locator("#offline")
    ).to_be_visible()  # still his phone, as far as it knows
    phone.mast.set("good")
    await phone.sign_in("oncall")
    await phone.until_kept("/")
    after = [name for name in await phone.kept() if name.startswith("pages ")]
    assert len(before) == len(after) == 1
    assert before != after


async def test_whoever_only_looks_from_now_on_keeps_nothing_of_before(
    phone: Phone, stage: Stage
) -> None:
    await phone.sign_in()
    await phone.until_there()
    card = await phone.until_a_card_is_kept()
    role = "update user_profiles set role = %(role)s where user_id = %(user)s"
    stage.execute(role, role="VIEWER", user=ROSA.id)
    try:
        before = [name for name in await phone.kept() if name.startswith("pages ")]
        await phone.open("/rules")
        await phone.care()
        await phone.until(
            "async (old) => { const names = (await caches.keys()).filter("
            "(n) => n.startsWith('pages ')); return names.length === 1 && names[0] !== old; }",
            before[0],
        )
        await phone.until_kept(card)
        phone.mast.set("none")
        await phone.open(card)
        await expect(phone.page.locator("#offline")).to_contain_text("No signal")
        await expect(phone.page.locator("a[href^='tel:']")).to_have_count(0)
        await expect(phone.page.locator("main")).to_contain_text("shown to members only")
    finally:
        stage.execute(role, role="OWNER", user=ROSA.id)


async def test_an_ended_membership_purges_at_the_next_contact(phone: Phone, stage: Stage) -> None:
    await phone.sign_in()
    await phone.until_there()
    await phone.until_a_card_is_kept()
    moved = "update user_profiles set user_id = %(to)s where user_id = %(user)s"
    stage.execute(moved, to=NOBODY, user=ROSA.id)
    try:
        await phone.care()
        await phone.until_kept("/", is_kept=False)
        assert await phone.pages() == []
    finally:
        stage.execute(moved, to=ROSA.id, user=NOBODY)


async def test_a_session_that_is_over_purges_at_the_next_contact(phone: Phone) -> None:
    await phone.sign_in()
    await phone.until_there()
    await phone.until_a_card_is_kept()
    await phone.context.clear_cookies()
    await phone.open("/")
    assert "/sign-in" in phone.page.url
    await phone.until_kept("/", is_kept=False)
    assert await phone.pages() == []


async def test_the_card_goes_when_the_wedding_is_over(phone: Phone, stage: Stage) -> None:
    await phone.sign_in()
    await phone.until_there()
    card = await phone.until_a_card_is_kept()
    wedding = card.split("/")[2]
    stage.execute(
        "update apm_weddings set status = 'cancelled' where id = %(id)s::uuid", id=wedding
    )
    try:
        await phone.care()
        await phone.until_kept(card, is_kept=False)
    finally:
        stage.execute(
            "update apm_weddings set status = 'booked' where id = %(id)s::uuid", id=wedding
        )


async def test_a_new_version_takes_over_and_leaves_nothing_of_the_old(
    phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    await phone.sign_in()
    await phone.until_there()
    await phone.until_kept("/")
    old = next(name for name in await phone.kept() if name.startswith("shell-"))
    text = worker.script().decode().replace(old.removeprefix("shell-"), "0123456789ab")
    monkeypatch.setattr(worker, "script", text.encode)
    await phone.open("/incidents")
    await phone.until(
        "async (old) => { const names = await caches.keys();"
        " return names.includes('shell-0123456789ab') && !names.includes(old); }",
        old,
    )
    phone.mast.set("none")
    await phone.open("/")
    await expect(phone.page.locator("#offline")).to_contain_text("No signal")
    monkeypatch.undo()


async def test_a_form_without_a_signal_is_not_sent_and_says_so(phone: Phone) -> None:
    await phone.sign_in()
    await phone.until_there()
    await phone.open("/more")
    phone.mast.set("none")
    await phone.page.locator('button[value="dark"]').click()
    await expect(phone.page.locator("h1")).to_have_text("No signal")
    await expect(phone.page.locator("main")).to_contain_text("Nothing was sent")


async def test_today_weighs_little_and_less_the_second_time(
    phone: Phone, whole_browser: Browser, stage: Stage
) -> None:
    """Over the network, headers too: the page with its chart; after it the worker and what that
    keeps."""
    await phone.sign_in()
    session = next(c for c in await phone.context.cookies() if c["name"] == "wedsync_session")
    await phone.context.close()
    stage.break_the_form()
    fresh = await whole_browser.new_context(
        viewport={"width": 375, "height": 812}, service_workers="allow", is_mobile=True
    )
    fresh.set_default_timeout(SLOW)
    mast = phone.mast
    await fresh.add_cookies([{"name": session["name"], "value": session["value"], "url": mast.url}])
    try:
        visit = Phone(fresh, mast, await fresh.new_page())
        cold = await weigh(visit)
        warm = await weigh(visit)
    finally:
        stage.execute("update apm_incidents set status = 'closed' where status <> 'closed'")
        await fresh.close()
    assert len(cold) <= 22, cold
    by_worker = ("/worker.js", "/offline", "/phone/", "/incidents", "/weddings/", "/static/phone.")
    own = {path: size for path, size in cold.items() if not path.startswith(by_worker)}
    assert len(own) <= 10, own
    assert sum(own.values()) <= 90 * 1024, own
    # And the page once more, to be kept.
    assert sum(cold.values()) + cold["/"] <= 120 * 1024, cold
    assert set(warm) <= {"/", "/charts/series", "/phone/kept"}, "all else is on the phone"
    assert sum(warm.values()) <= 14 * 1024, warm


async def weigh(visit: Phone) -> dict[str, int]:
    """A visit to Today until nothing more is under way: what it asked for, and the bytes of each.

    A machine that is busy polls more often: each path counts once. What is heard live is left out.
    """
    mast = visit.mast
    mast.asked.clear()
    mast.carried.clear()
    await visit.open("/")
    await visit.until_there()
    await visit.until_a_card_is_kept()
    await visit.page.wait_for_selector("figure canvas")
    await expect(visit.page.locator(".live")).to_have_text("Live")
    await visit.page.wait_for_load_state("networkidle")
    return {
        path: mast.carried[path] // often
        for path, often in mast.asked.items()
        if not path.startswith("/api/v1/")
    }
