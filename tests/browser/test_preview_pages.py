"""Every page in every state: fits the phone, is silent, light, reachable and honest."""

import gzip
import re

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser.preview import PAGES, Make
from wedsync_apm.web.views.shell import Theme

pytestmark = pytest.mark.browser

SIGNED_IN = [name for name in PAGES if not name.startswith(("ack", "error", "sign-in"))]


async def phone(browser: Browser, width: int = 375, scripts: bool = True) -> BrowserContext:
    """A touch phone; a narrow desktop window lays out differently and hides faults."""
    return await browser.new_context(
        viewport={"width": width, "height": 812},
        is_mobile=True,
        has_touch=True,
        java_script_enabled=scripts,
    )


def listen(page: Page) -> list[str]:
    """Whatever the page complains about."""
    heard: list[str] = []
    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on(
        "response",
        lambda answer: (
            heard.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
        ),
    )
    return heard


SMALL = """() => [...document.querySelectorAll(
    'a, button, input:not([type=hidden]), select, textarea, summary')]
  .filter((el) => el.checkVisibility() && !el.classList.contains('skip'))
  .map((el) => [el, (el.closest('label.check') || el).getBoundingClientRect()])
  .filter(([el, box]) => (box.height < 48 || box.width < 48) && !el.closest('.hops, .foot'))
  .map(([el, box]) => `${el.tagName} ${el.textContent.trim().slice(0, 30)} ${
    Math.round(box.width)}x${Math.round(box.height)}`)"""


@pytest.mark.parametrize(
    ("theme", "width"),
    [("light", 320), ("light", 375), ("light", 1280), ("dark", 375), ("sunlight", 375)],
)
async def test_every_page_fits_and_is_silent(
    browser: Browser, preview_url: str, theme: Theme, width: int
) -> None:
    """On the smallest phone with twice the text, too; by thumb on the usual one. One visit does
    for all of it: visits are what takes time."""
    context = (
        await phone(browser, width)
        if width < 600
        else await browser.new_context(viewport={"width": width, "height": 800})
    )
    page = await context.new_page()
    heard = listen(page)
    faults: list[str] = []
    for name in PAGES:
        await page.goto(f"{preview_url}/p/{name}?theme={theme}")
        room = await page.evaluate("document.documentElement.scrollWidth")
        if room > width:
            faults.append(f"{name}: {room} wide")
        if (theme, width) == ("light", 375):
            faults.extend(f"{name}: small {one}" for one in await page.evaluate(SMALL))
        if width == 320:
            await page.evaluate("document.documentElement.style.fontSize = '200%'")
            room = await page.evaluate("document.documentElement.scrollWidth")
            if room > width:
                faults.append(f"{name} with twice the text: {room} wide")
    assert heard == []
    assert faults == []
    await context.close()


@pytest.mark.parametrize("name", ["today-problem", "incident", "incident-engineer", "ack"])
async def test_main_action_is_above_the_bar(browser: Browser, preview_url: str, name: str) -> None:
    context = await phone(browser)
    page = await context.new_page()
    await page.goto(f"{preview_url}/p/{name}")
    box = await page.locator(".b.p, button.p").first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 812 - 60
    assert box["height"] >= 52
    assert await page.locator("main .b.p:visible").count() <= 1
    await context.close()


@pytest.mark.parametrize("name", PAGES)
def test_bytes_of_the_page(name: str) -> None:
    make: Make = PAGES[name]
    html = make("system")
    budget = 6 if name.startswith("ack") else 14
    assert len(gzip.compress(html, 6)) <= budget * 1024
    if name.startswith("ack"):
        assert len(html) <= 6 * 1024
        assert b"<script" not in html


@pytest.mark.parametrize("name", ["today-problem", "incident"])
async def test_one_request_until_useful(browser: Browser, preview_url: str, name: str) -> None:
    context = await phone(browser, scripts=False)
    page = await context.new_page()
    await page.route("**/static/**", lambda route: route.abort())
    await page.goto(f"{preview_url}/p/{name}", wait_until="commit")
    await page.wait_for_selector(".verdict h1")
    colour = await page.locator(".verdict").first.evaluate("el => getComputedStyle(el).borderColor")
    assert colour == "rgb(161, 26, 30)"
    await context.close()


async def test_first_visit_stays_in_budget(browser: Browser, preview_url: str) -> None:
    context = await phone(browser)
    page = await context.new_page()
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    await page.goto(f"{preview_url}/p/today-problem", wait_until="load")
    await page.wait_for_selector("figure canvas")
    assert all(url.startswith(preview_url) for url in urls)
    assert len([url for url in urls if "uplot" in url]) == 1
    begins, loaded = await page.evaluate(
        "[performance.getEntriesByType('resource').find((e) => e.name.includes('uplot')).startTime,"
        " performance.getEntriesByType('navigation')[0].loadEventStart]"
    )
    assert begins >= loaded, "the chart is below the screen: its library waits for the page"
    await context.close()


async def test_every_chart_is_drawn_and_only_those_in_sight_are_renewed(
    browser: Browser, preview_url: str
) -> None:
    context = await phone(browser)
    page = await context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{preview_url}/p/charts")
    figures = await page.locator("figure").count()
    await expect(page.locator("figure:has(canvas)")).to_have_count(figures)
    below = await page.locator("figure").evaluate_all(
        "(all) => all.filter((el) => el.getBoundingClientRect().top > innerHeight + 200)"
        ".map((el) => el.dataset.figure)"
    )
    assert figures >= 3
    assert below, "a chart far below the screen is needed here"
    asked.clear()
    async with page.expect_request("**/charts/series*"):  # those in sight are renewed
        await page.evaluate("window.wedsyncCharts.refresh()")
    await page.wait_for_timeout(300)  # for those that should not be asked for
    assert not [url for url in asked if any(source in url for source in below)]
    await context.close()


SHIFTS = """() => new Promise((done) => {
  let sum = 0;
  new PerformanceObserver((list) => list.getEntries().forEach((e) => { sum += e.value; }))
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 400);
})"""


@pytest.mark.parametrize("name", ["today-problem", "incident", "incidents", "charts", "rule"])
async def test_nothing_jumps_while_it_loads(browser: Browser, preview_url: str, name: str) -> None:
    context = await phone(browser)
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")
    await session.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": 150,
            "downloadThroughput": 200_000,
            "uploadThroughput": 200_000,
        },
    )
    await page.goto(f"{preview_url}/p/{name}")
    assert await page.evaluate(SHIFTS) <= 0.02
    await context.close()


async def test_times_are_worded_relatively(browser: Browser, preview_url: str) -> None:
    context = await phone(browser)
    page = await context.new_page()
    await page.goto(f"{preview_url}/p/today-problem")
    # NOW of the preview is the server's; the browser's own clock must not matter.
    await expect(page.locator(".strip b")).to_have_text("Ceremony in 47 min", use_inner_text=True)
    await expect(page.locator(".count .f7")).to_have_text("in 47 min", use_inner_text=True)
    await context.close()
    plain = await phone(browser, scripts=False)
    page = await plain.new_page()
    await page.goto(f"{preview_url}/p/today-problem")
    await expect(page.locator(".strip b")).to_have_text("Ceremony 14:00", use_inner_text=True)
    await plain.close()


async def test_page_that_cannot_be_renewed_says_so(browser: Browser, preview_url: str) -> None:
    context = await phone(browser)
    page = await context.new_page()
    await page.clock.install()
    await page.goto(f"{preview_url}/p/today-ok")
    await expect(page.locator(".st.ok")).to_have_count(4)
    await context.set_offline(True)
    offline = page.locator("#offline")
    for _ in range(100):
        await page.clock.run_for(16_000)
        await page.wait_for_timeout(100)  # what it asked for fails in the real time
        if await offline.count():
            break
    await expect(page.locator(".st.ok")).to_have_count(0)
    await expect(offline).to_contain_text("No signal", use_inner_text=True)
    text = await page.locator("main").inner_text()
    assert "Working" not in text.replace("Working for", "Working")
    await context.close()


async def test_chart_answers_to_keys_and_says_its_value(browser: Browser, preview_url: str) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    heard = listen(page)
    await page.goto(f"{preview_url}/p/charts")
    plot = page.locator(".plot").first
    await page.wait_for_selector(".plot canvas")
    await plot.focus()
    await page.keyboard.press("End")
    read = page.locator(".read").first
    await expect(read).to_contain_text("9.1 s")
    await page.keyboard.press("Home")
    await expect(read).not_to_contain_text("9.1 s")
    await expect(page.locator(".legend button")).to_have_count(5)
    await page.locator(".legend button").first.click()
    await expect(page.locator(".legend button[aria-pressed=false]")).to_have_count(4)
    assert heard == []
    await context.close()


async def test_password_can_be_shown(browser: Browser, preview_url: str) -> None:
    context = await phone(browser)
    page = await context.new_page()
    await page.goto(f"{preview_url}/p/sign-in")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("input[name=password]")).to_have_attribute("type", "text")
    await context.close()


async def test_every_stop_shows_its_focus(browser: Browser, preview_url: str) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.goto(f"{preview_url}/p/incident")
    for _ in range(20):
        await page.keyboard.press("Tab")
        ring = await page.evaluate(
            "() => { const s = getComputedStyle(document.activeElement);"
            " return [s.outlineStyle, s.outlineWidth]; }"
        )
        assert ring == ["solid", "3px"]
    await context.close()


@pytest.mark.parametrize("name", SIGNED_IN)
def test_page_names_its_state_and_has_one_heading(name: str) -> None:
    html = PAGES[name]("system").decode()
    title = html[html.index("<title>") + 7 : html.index("</title>")]
    assert title.endswith("· WedSync")
    assert html.count("<h1") == 1
    assert html.count("<main") == 1


@pytest.mark.parametrize("name", ["card", "card-viewer"])
async def test_the_emergency_card_fits_one_sheet_of_paper(
    browser: Browser, preview_url: str, name: str
) -> None:
    page = await browser.new_page()
    await page.goto(f"{preview_url}/p/{name}?theme=light")
    paper = await page.pdf(format="A4", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", paper)) == 1
    await page.close()
