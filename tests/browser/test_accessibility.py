"""Every page in every state and theme, looked through by axe: nothing is missing that WCAG 2.2 asks
for at the levels A and AA and a program can see."""

from typing import Any, Final

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Browser, Page

from tests.browser.preview import PAGES

pytestmark = pytest.mark.browser

PARTS: Final = 6
ALL: Final = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "rules": {"target-size": {"enabled": True}},  # the one that axe leaves out by itself
}
COLOURS: Final = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""All that another theme changes."""
LOOK: Final = """async ([theme, options]) => {
  document.documentElement.dataset.theme = theme;
  document.getAnimations().forEach((one) => one.finish());  // colours on their way are no colours
  const found = await axe.run(document, { ...options, resultTypes: ["violations"] });
  return [found.passes.length, found.violations.flatMap((one) =>
    one.nodes.map((node) => `${theme}: ${one.id}: ${node.target.join(" ")}`))];
}"""


async def look_at(page: Page, theme: str, options: dict[str, Any]) -> tuple[int, list[str]]:
    """How many checks passed, and what is wrong."""
    passed, wrong = await page.evaluate(LOOK, [theme, options])
    return passed, wrong


@pytest.mark.parametrize("part", range(PARTS))
async def test_axe_finds_nothing_on_any_page(browser: Browser, preview_url: str, part: int) -> None:
    page = await browser.new_page(viewport={"width": 375, "height": 812})
    wrong: dict[str, list[str]] = {}
    for name in list(PAGES)[part::PARTS]:
        await page.goto(f"{preview_url}/p/{name}?theme=light")
        await page.evaluate(AXE_SCRIPT)
        passed, found = await look_at(page, "light", ALL)
        assert passed >= 8, f"hardly anything was looked for on {name}"
        for theme in ("dark", "sunlight"):
            passed, more = await look_at(page, theme, COLOURS)
            assert passed, f"no colour was looked at on {name}"
            found += more
        if found:
            wrong[name] = found
    await page.close()
    assert wrong == {}


async def test_axe_sees_what_is_wrong(browser: Browser, preview_url: str) -> None:
    page = await browser.new_page()
    await page.goto(f"{preview_url}/p/sign-in?theme=light")
    await page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<input><p>Faint</p>');"
        "Object.assign(document.querySelector('main > p:last-child').style,"
        " { color: '#999', background: '#aaa' })"
    )
    await page.evaluate(AXE_SCRIPT)
    for theme in ("light", "dark"):
        _, found = await look_at(page, theme, ALL)
        assert sorted(one.split(": ")[1] for one in found) == ["color-contrast", "label"]
    await page.close()
