"""The Chromium of this machine."""

import os
import shutil
from pathlib import Path

import pytest

WITHOUT_WINDOWS = "chromium-headless-shell"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
ON_A_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


def find_browser() -> str | None:
    """Its path; the same names as `.ci/browser` looks for."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    return str(ON_A_MAC) if ON_A_MAC.exists() else None


def find_quick_browser() -> str | None:
    """The same engine without what is around a page, where the machine has it: a page is opened in
    a third of the time. It can show no notification and install nothing."""
    return shutil.which(WITHOUT_WINDOWS) or find_browser()


def require_browser() -> str:
    """Its path; without one the test is an error in CI, and not measured elsewhere."""
    found = find_browser()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium for the browser tests")
        pytest.skip("not measured: there is no Chromium")
    return found
