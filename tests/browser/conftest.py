"""A real browser, and the preview pages on a loopback port."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.browser.serve_preview import start
from tests.support.browser import ARGS, find_browser, find_quick_browser

HERE = Path(__file__).parent

# As long as actions wait: five seconds say how busy the machine is.
expect.set_options(timeout=30_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser outlives its tests, and what it answers comes to the loop that started it."""
    for item in items:
        if item.path.parent == HERE and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def preview_url() -> Iterator[str]:
    """Where the preview pages are served."""
    server = start()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@asynccontextmanager
async def launched_from(path: str | None) -> AsyncIterator[Browser]:
    """A Chromium.

    Asynchronous fixtures that use it have `loop_scope="session"`. A missing browser is an error,
    never a silent skip.

    Contexts have no service worker unless they ask for one by `service_workers="allow"`: ours has
    tests of its own, and on a slow machine it would answer every other one with what it has kept.
    """
    if path is None:
        raise AssertionError("no Chromium on this machine: apt-get install chromium")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=ARGS)
        make = launched.new_context

        async def new_context(**options: Any) -> BrowserContext:
            context = await make(**options)
            if options.get("service_workers") != "allow":
                await context.add_init_script("delete Navigator.prototype.serviceWorker")
            return context

        async def new_page(**options: Any) -> Page:
            return await (await new_context(**options)).new_page()

        launched.new_context = new_context  # type: ignore[method-assign]
        launched.new_page = new_page  # type: ignore[method-assign]
        yield launched
        await launched.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium, one for all tests; each makes contexts of its own and closes them."""
    async with launched_from(find_quick_browser()) as launched:
        yield launched


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whole_browser() -> AsyncIterator[Browser]:
    """The same with all that a phone's browser has: notifications, and what can be installed."""
    async with launched_from(find_browser()) as launched:
        yield launched
