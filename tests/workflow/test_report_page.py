"""The report in a real browser without network: `MATINEE_BROWSER=/usr/bin/chromium`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from matinee.workflow.report import render
from tests.chromium import needs_chromium, running_chromium
from tests.workflow.run_document import empty_document, run_document

pytestmark = needs_chromium
CHARTS = 12


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(run_document()))
    return path


class Opened:
    """A page that is drawn, and what went on meanwhile."""

    def __init__(self, browser: Browser, report: Path, scheme: str, width: int) -> None:
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.context = browser.new_context(
            color_scheme=scheme,  # type: ignore[arg-type]
            viewport={"width": width, "height": 900},
            offline=True,
        )
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", lambda dialog: self.messages.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(report.as_uri())
        self.page.wait_for_selector("html[data-drawn]")

    def text_colour(self) -> str:
        label = self.page.locator(".chart .xtick text").first
        return str(label.evaluate("node => getComputedStyle(node).fill"))


@pytest.fixture
def opened(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    scheme, width = getattr(request, "param", ("light", 1280))
    opened = Opened(browser, report, scheme, width)
    yield opened
    opened.context.close()


@pytest.mark.parametrize(
    "opened", [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)], indirect=True
)
def test_all_charts_are_drawn_without_network_or_errors(opened: Opened) -> None:
    assert opened.messages == []
    assert [url.partition(":")[0] for url in opened.requests] == ["file"]
    places = opened.page.locator("[data-chart]")
    assert places.count() == CHARTS
    for place in places.all():
        assert place.get_attribute("role") == "img"
        assert len(place.get_attribute("aria-label") or "") > 20
        # Every trace has left marks.
        assert place.locator(".trace, .points").count() > 0
        box, width = place.locator(".main-svg").first.bounding_box(), opened.page.viewport_size
        assert box is not None
        assert width is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width["width"]
    # Wide tables scroll by themselves, the page never does.
    assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_colours_follow_the_readers_choice(opened: Opened) -> None:
    light = opened.text_colour()
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_function(
        "before => getComputedStyle(document.querySelector('.chart .xtick text')).fill !== before",
        arg=light,
    )
    body = "getComputedStyle(document.body).backgroundColor"
    assert opened.page.evaluate(body) == "rgb(17, 21, 27)"


@pytest.mark.parametrize("opened", [("dark", 1280)], indirect=True)
def test_paper_is_white(opened: Opened) -> None:
    dark = opened.text_colour()
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    opened.page.wait_for_function(
        "before => getComputedStyle(document.querySelector('.chart .xtick text')).fill !== before",
        arg=dark,
    )
    assert opened.page.pdf().startswith(b"%PDF")


def test_costs_follow_the_prices(opened: Opened) -> None:
    page = opened.page
    assert page.locator("#total").inner_text() == "no price"
    page.fill('[data-price="ml.c5.xlarge"]', "0.2")
    # Two instances for a quarter of an hour.
    assert page.locator("#costs .cost").all_inner_texts() == ["0.1000 USD", "no price"]
    assert page.locator("#total").inner_text() == "no price"
    page.fill('[data-price="ml.c4.xlarge"]', "1")
    page.fill('[name="currency"]', "EUR")
    assert page.locator("#total").inner_text() == "0.6000 EUR"


def test_the_numbers_can_be_reached_by_keyboard(opened: Opened) -> None:
    details = opened.page.locator("figure details").first
    assert details.get_attribute("open") is None
    details.locator("summary").focus()
    opened.page.keyboard.press("Enter")
    assert details.locator("table").is_visible()


def test_a_run_that_broke_off_has_a_page(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(empty_document()))
    opened = Opened(browser, path, "light", 1280)
    assert opened.messages == []
    assert opened.page.locator(".missing").count() >= 8
    opened.context.close()
