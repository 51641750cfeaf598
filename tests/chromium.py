"""A Chromium for the tests of pages: the one that MATINEE_BROWSER names, started to stay offline.

What it shows is kept in the folder that MATINEE_SCREENSHOTS names, if there is one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_BROWSER = os.environ.get("MATINEE_BROWSER")
_SCREENSHOTS = os.environ.get("MATINEE_SCREENSHOTS")
_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]

needs_chromium = pytest.mark.skipif(not _BROWSER, reason="MATINEE_BROWSER names no browser")


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Run the browser until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_BROWSER, args=_ARGUMENTS)
        yield browser
        browser.close()


def keep_screenshot(page: Page, name: str) -> None:
    """Write what a page looks like as `name`.png, where screenshots are wanted."""
    if _SCREENSHOTS:
        folder = Path(_SCREENSHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)
