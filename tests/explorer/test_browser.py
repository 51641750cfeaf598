"""The page of recommendations in a real browser: light, dark, on a phone, without scripts."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from matinee.stack.stack import Stack
from tests.chromium import keep_screenshot, needs_chromium, running_chromium
from tests.explorer.conftest import PAGE

pytestmark = needs_chromium

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
    "no-script": {"java_script_enabled": False, "viewport": {"width": 1280, "height": 900}},
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_customer_is_found_and_looked_at(stack: Stack, look: str) -> None:
    complaints: list[str] = []
    with running_chromium() as chromium:
        page = chromium.new_context(**LOOKS[look]).new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        page.goto(stack.console_address)
        page.get_by_role("link", name="Recommendations", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Recommendations")
        page.get_by_role("searchbox", name="Customer").fill("c1")
        page.get_by_role("searchbox", name="Customer").press("Enter")
        expect(page.get_by_role("status")).to_contain_text("Customer c1 has rated 7")
        expect(page.get_by_role("table")).to_have_count(2)
        page.get_by_role("link", name="c10", exact=True).first.click()
        expect(page.get_by_role("status")).to_contain_text("Customer c10 has rated")
        keep(page, f"explorer-{look}")
        page.goto(f"{stack.sagemaker.address}{PAGE}?customer=%3Cb%3Enobody")
        expect(page.get_by_role("status")).to_contain_text("Customer <b>nobody is unknown")
        keep(page, f"explorer-unknown-{look}")
    assert complaints == []


def keep(page: Any, name: str) -> None:
    """Keep what the page looks like, and check that it is no wider than the screen."""
    keep_screenshot(page, name)
    viewport = page.viewport_size
    width = page.locator("body").bounding_box()["width"]
    assert width <= viewport["width"]
