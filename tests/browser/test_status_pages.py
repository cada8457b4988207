"""The status page in a real browser: for everybody, without scripts, on any screen."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.browser.stage import Stage, open_stage
from tests.browser.test_preview_pages import SMALL, listen
from tests.browser.test_watching_pages import sign_in
from tests.support.postgres import PostgresServer
from wedsync_apm.simulate.vendors import STAR

pytestmark = pytest.mark.browser

LONG = "Donaudampfschifffahrtsgesellschaftskapitänsmütze and everything else that is on the page"
KEEP = os.environ.get("KEEP_SCREENSHOTS")
"""A folder for pictures of the pages, for people to look at."""


@pytest.fixture(scope="module")
def stage(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("status")
    with server.clone() as database, open_stage(database, folder) as opened:
        opened.let_the_engine_breathe()
        furnish(opened)
        yield opened


def furnish(stage: Stage) -> None:
    """Trouble now and before, news, planned work, long names."""

    def run(statement: str, **values: Any) -> None:
        stage.execute(statement, o=STAR.id, **values)

    run(
        "insert into apm_status_pages (organization_id, slug, title, intro, is_public, check_ids)"
        " select %(o)s, 'fern-field', 'Fern & Field Flowers', %(long)s, true,"
        " array_agg(id order by display_name) from service_health_checks"
        " where organization_id = %(o)s",
        long=f"Orders and payments for your wedding flowers. {LONG}.",
    )
    run(
        "insert into apm_service_status_history (organization_id, check_id, status, reason, since)"
        " select c.organization_id, c.id, s.status::service_status, 'x', now() - s.back::interval"
        " from service_health_checks as c cross join (values ('80 days', 'healthy'),"
        " ('41 days', 'warning'), ('40 days 23 hours', 'healthy'), ('9 days', 'critical'),"
        " ('8 days 22 hours', 'healthy'), ('5 days', 'unknown'), ('3 days', 'healthy'))"
        " as s (back, status) where c.organization_id = %(o)s on conflict do nothing"
    )
    run(
        "update service_health_checks set status = 'critical', status_since = now() - interval"
        " '20 minutes' where organization_id = %(o)s and service_name = 'wedding_forms'"
    )
    run(
        "update service_health_checks set display_name = %(long)s where id = (select id from"
        " service_health_checks where organization_id = %(o)s and service_name <> 'wedding_forms'"
        " limit 1)",
        long=LONG,
    )
    run(
        "insert into apm_status_problems (organization_id, check_id, state, began_at, changed_at,"
        " ended_at, vendor_text, is_in_hand, next_update_at) select c.organization_id, c.id,"
        " s.state, now() - s.back::interval, now(), now() - s.ended::interval, %(words)s::jsonb,"
        " true, now() + interval '15 minutes' from service_health_checks as c cross join (values"
        " ('down', '20 minutes', null), ('over', '9 days', '8 days 22 hours'))"
        " as s (state, back, ended) where organization_id = %(o)s"
        " and service_name = 'wedding_forms'",
        words='{"subject": "Your order form", "problem": "does not answer",'
        ' "still_works": "Orders by telephone work"}',
    )
    run(
        "insert into apm_status_notes (organization_id, body, next_update_at) values (%(o)s,"
        " 'We have found the cause. It takes some minutes.', now() + interval '15 minutes'),"
        " (%(o)s, %(long)s, null)",
        long=LONG,
    )
    run(
        "insert into apm_maintenance_windows (organization_id, name, starts_at, ends_at)"
        " values (%(o)s, 'x', now() + interval '2 days', now() + interval '50 hours')"
    )
    run(
        "insert into apm_status_subscribers (organization_id, address, confirmed_at)"
        " values (%(o)s, 'guest@example.com', now()), (%(o)s, %(long)s, null)",
        long=f"{'a' * 60}@{'b' * 60}.example.com",
    )


async def test_every_page_fits_and_is_silent(browser: Browser, stage: Stage) -> None:
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
        for path in (
            "/status/fern-field", "/status/fern-field/subscribe", "/status-page",
            "/status-page/preview",
        ):  # fmt: skip
            answer = await page.goto(f"{stage.url}{path}")
            assert answer is not None
            assert answer.status == 200, path
            room = await page.evaluate("document.documentElement.scrollWidth")
            if room > width:
                faults.append(f"{path} at {width}: {room} wide")
            if width == 375:
                faults.extend(f"{path}: small {one}" for one in await page.evaluate(SMALL))
            if KEEP:
                name = path.strip("/").replace("/", "_")
                await page.screenshot(path=f"{KEEP}/{name}-{width}-{theme}.png", full_page=True)
        faults.extend(one for one in heard if "/api/v1/events" not in one and "404" not in one)
        await context.close()
    assert faults == []


async def test_a_guest_asks_for_mail_by_thumb_without_scripts(
    browser: Browser, stage: Stage
) -> None:
    context = await browser.new_context(
        viewport={"width": 375, "height": 812},
        is_mobile=True,
        has_touch=True,
        java_script_enabled=False,
    )
    page = await context.new_page()
    await page.goto(f"{stage.url}/status/fern-field")
    await expect(page.get_by_text("does not work since").first).to_be_visible()
    await page.get_by_role("link", name="Tell me by e-mail").click()
    await page.get_by_label("Your e-mail address").fill("new@example.com")
    await page.get_by_role("button", name="Send me a mail to confirm").click()
    await page.get_by_text("Look into your mailbox").wait_for()
    assert await context.cookies() == []
    await context.close()
