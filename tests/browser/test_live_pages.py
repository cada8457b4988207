"""Pages that hear what changes: from a serving process, over the real line."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, WebSocketRoute, expect

from tests.support.people import connect
from tests.support.postgres import Database, PostgresServer
from tests.support.serve_process import ServeProcess, until
from tests.support.serving import PASSWORD, World, populate

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

PATIENCE = 40_000


@dataclass(frozen=True, slots=True)
class House:
    serving: ServeProcess
    world: World
    database: Database

    def open_incident(self, title: str) -> None:
        with connect(self.database.engine) as cx:
            cx.execute(
                "insert into apm_incidents (organization_id, title, severity, priority, dedup_key,"
                " detected_at, last_seen_at) values (%(owner)s, %(title)s, 'warning', 'medium',"
                " gen_random_uuid()::text, now(), now())",
                {"owner": self.world.here, "title": title},
            )

    def cut_the_listener(self) -> None:
        with psycopg.connect(self.database.owner, autocommit=True) as cx:
            cx.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where query in ('listen \"apm_live\"', 'select') and datname = current_database()"
            )


@pytest.fixture(scope="module")
def house(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with server.clone() as database:
        world = populate(database)
        folder: Path = tmp_path_factory.mktemp("live")
        serving = ServeProcess(database, folder, {"SERVE_PROCESSES": "1"})
        serving.start()
        try:
            until(lambda: serving.telemetry().get("wedsync_apm_live_listening") == 1)
            yield House(serving, world, database)
        finally:
            serving.end()


@pytest_asyncio.fixture(loop_scope="session")
async def page(house: House, browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 375, "height": 812})
    context.set_default_timeout(PATIENCE)
    opened = await context.new_page()
    yield opened
    await context.close()


async def open_incidents(page: Page, house: House) -> None:
    await page.goto(f"{house.serving.url}/sign-in?then=/incidents")
    await page.fill("input[name=email]", "bob@example.org")
    await page.fill("input[name=password]", PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.wait_for_url("**/incidents")


async def test_what_happens_is_on_the_page_at_once_and_the_badge_says_how_it_knows(
    page: Page, house: House
) -> None:
    await open_incidents(page, house)
    badge = page.locator("[data-live]")
    await expect(badge).to_have_attribute("data-state", "live", timeout=PATIENCE)
    await expect(badge).to_contain_text("Live")
    # Polling alone would take a minute now: what comes sooner was heard.
    house.open_incident("The tills are slow")
    await expect(page.locator("main")).to_contain_text("The tills are slow", timeout=PATIENCE)
    house.cut_the_listener()
    house.open_incident("The door is slow")
    await expect(page.locator("main")).to_contain_text("The door is slow", timeout=PATIENCE)
    await expect(badge).to_have_attribute("data-state", "live", timeout=PATIENCE)
    house.serving.kill()
    await expect(badge).not_to_have_attribute("data-state", "live", timeout=PATIENCE)
    house.serving.start()
    house.open_incident("The lamp is slow")
    await expect(badge).to_have_attribute("data-state", "live", timeout=2 * PATIENCE)
    await expect(page.locator("main")).to_contain_text("The lamp is slow", timeout=PATIENCE)


async def test_where_no_websocket_passes_it_is_an_event_stream(page: Page, house: House) -> None:
    async def refuse(route: WebSocketRoute) -> None:
        await route.close()

    await page.route_web_socket("**/api/v1/live", refuse)
    await open_incidents(page, house)
    badge = page.locator("[data-live]")
    await expect(badge).to_have_attribute("data-state", "live", timeout=PATIENCE)
    house.open_incident("The kiosk is slow")
    await expect(page.locator("main")).to_contain_text("The kiosk is slow", timeout=PATIENCE)


async def test_where_nothing_passes_it_polls_and_says_so(page: Page, house: House) -> None:
    async def refuse(route: WebSocketRoute) -> None:
        await route.close()

    await page.route_web_socket("**/api/v1/live", refuse)
    await page.route("**/api/v1/events*", lambda route: route.abort())
    await open_incidents(page, house)
    badge = page.locator("[data-live]")
    await expect(badge).to_have_attribute("data-state", "poll", timeout=PATIENCE)
    house.open_incident("The stall is slow")
    await expect(page.locator("main")).to_contain_text("The stall is slow", timeout=PATIENCE)
    await expect(badge).to_have_attribute("data-state", "poll")
