"""Draws the icons that a phone takes as PNG from our own SVG: `python -m tests.support.icons`."""

import asyncio
from importlib.resources import files
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, async_playwright

from tests.support.browser import ARGS, require_browser

STATIC: Final = Path(str(files("wedsync_apm.web"))) / "static"
DRAWN: Final = {
    "icon-192": ("icon.svg", 192),
    "icon-512": ("icon.svg", 512),
    "maskable-512": ("icons/maskable.svg", 512),
    "apple-180": ("icons/maskable.svg", 180),
    "badge-96": ("icons/badge.svg", 96),
}
"""The name of each, what it is drawn from, and its size."""


async def draw(browser: Browser, name: str) -> bytes:
    """One of them as PNG."""
    source, size = DRAWN[name]
    context = await browser.new_context(viewport={"width": size, "height": size})
    page = await context.new_page()
    svg = (STATIC / source).read_text().replace("<svg ", f'<svg width="{size}" height="{size}" ', 1)
    await page.set_content(f"<style>* {{ margin: 0; display: block }}</style>{svg}")
    png = await page.screenshot(omit_background=True)
    await context.close()
    return png


async def main() -> None:
    """Writes all of them beside their sources."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=require_browser(), args=ARGS)
        for name in DRAWN:
            (STATIC / "icons" / f"{name}.png").write_bytes(await draw(browser, name))
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
