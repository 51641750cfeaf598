"""The console in a real browser: light, dark, on a phone, by keyboard, while jobs run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.chromium import keep_screenshot, needs_chromium, running_chromium
from tests.sagemaker.console.conftest import TOKEN
from tests.sagemaker.console.scene import Scene

pytestmark = needs_chromium

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {
        "color_scheme": "light",
        "viewport": {"width": 390, "height": 844},
        "has_touch": True,
    },
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with running_chromium() as browser:
        yield browser


class Visitor:
    """Somebody who looks at the console, and at what the browser complains of."""

    def __init__(self, context: BrowserContext, scene: Scene, look: str) -> None:
        self.page = context.new_page()
        self.look = look
        self.scene = scene
        self.complaints: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def sign_in(self) -> None:
        self.page.goto(f"{self.scene.console}/sign-in?token={TOKEN}")
        assert TOKEN not in self.page.url

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.scene.console}/{path}")
        return self.page

    def check(self, name: str) -> None:
        """Check that the page fits and nothing is complained of; keep what it looks like."""
        keep_screenshot(self.page, f"{name}-{self.look}")
        width = "document.documentElement.{}"
        scrolled, shown = (
            self.page.evaluate(width.format(word)) for word in ("scrollWidth", "clientWidth")
        )
        assert scrolled <= shown, f"{name} is {scrolled} wide and shows {shown}"
        assert self.complaints == []


@pytest.fixture(params=LOOKS)
def visitor(request: pytest.FixtureRequest, chromium: Browser, scene: Scene) -> Iterator[Visitor]:
    context = chromium.new_context(**LOOKS[request.param], reduced_motion="reduce")
    context.set_default_timeout(20_000)
    visitor = Visitor(context, scene, request.param)
    visitor.sign_in()
    yield visitor
    context.close()


def drawn(page: Page, count: int) -> None:
    """Wait until so many figures are drawn."""
    page.wait_for_selector(f'[data-charts][data-drawn="{count}"]')
    expect(page.locator(".js-plotly-plot .scatterlayer .trace").first).to_be_visible()


def test_the_way_through_the_console(visitor: Visitor) -> None:
    page, scene = visitor.page, visitor.scene
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    visitor.check("overview")

    page.get_by_role("link", name="Training jobs", exact=True).first.click()
    page.get_by_label("Status").select_option("Completed")
    page.get_by_label("Name contains").fill("train")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("rowheader").first).to_be_visible()
    visitor.check("training-jobs")

    first, second = scene.trained
    page.get_by_role("link", name=first, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(first)
    expect(page.get_by_role("link", name="Airflow run")).to_be_visible()
    drawn(page, 1)
    visitor.check("training-job")

    page.get_by_role("link", name=re.compile("lines, and search")).click()
    page.get_by_label("Lines with").fill("alert")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator(".log li")).to_have_count(1)
    expect(page.locator(".log li")).to_contain_text("<script>alert('of a log')</script>")
    visitor.check("logs")

    visitor.open("training-jobs")
    for name in (first, second):
        page.get_by_label(f"Compare {name}", exact=True).check()
    page.get_by_role("button", name="Compare the chosen").click()
    drawn(page, 1)
    expect(page.locator("tr.differs", has_text="num_factors")).to_be_visible()
    visitor.check("compare")
    page.get_by_role("link", name="Show only what differs").click()
    expect(page.get_by_text("mini_batch_size")).to_have_count(0)

    visitor.open(f"tuning-jobs/{scene.tuning}")
    drawn(page, 2)
    visitor.check("tuning-job")

    visitor.open(f"endpoints/{scene.endpoint}")
    page.get_by_label("Record").fill("1\n2")
    page.get_by_label("Content type").fill("text/csv")
    page.get_by_label("Accept").fill("text/csv")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answer pre")).to_have_text("<1>\n<2>")
    visitor.check("endpoint")


@pytest.mark.parametrize(
    "path",
    [
        *("tuning-jobs", "transform-jobs", "processing-jobs", "models", "endpoints", "registry"),
        *("registry/recommender", "packages/recommender%2F000000002", "my-page/", "nowhere"),
    ],
)
def test_every_other_page_fits(visitor: Visitor, path: str) -> None:
    visitor.open(path)
    if path == "nowhere":
        visitor.complaints.clear()  # the browser says that there is no such page
    expect(visitor.page.get_by_role("heading", level=1)).to_be_visible()
    visitor.check(path.replace("/", "-").replace("%2F", "-"))


def test_lineage_and_failure_fit(visitor: Visitor) -> None:
    scene = visitor.scene
    visitor.open(f"training-jobs/{scene.failed}")
    expect(visitor.page.locator(".problem")).to_contain_text("the data are none")
    visitor.check("failed-job")
    visitor.open(f"training-jobs/{scene.trained[0]}")
    visitor.page.get_by_role("link", name="Lineage").click()
    expect(visitor.page.get_by_text("What came of it")).to_be_visible()
    visitor.check("lineage")


def test_a_running_job_refreshes_itself(visitor: Visitor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    name = visitor.scene.begin(gate, [0.5, 0.4, 0.3])
    visitor.scene.jobs.wait_until_waiting(name)
    page = visitor.open(f"training-jobs/{name}")
    page.evaluate("window.isSamePage = true")
    expect(page.locator(".status .pill")).to_have_text("InProgress")
    drawn(page, 1)
    visitor.check("running-job")
    gate.touch()
    expect(page.locator(".status .pill")).to_have_text("Completed")
    expect(page.get_by_text("Final metrics")).to_be_visible()
    expect(page.locator(".stop")).to_have_count(0)
    assert page.evaluate("window.isSamePage")
    visitor.check("job-that-ended")


def test_the_keyboard_suffices(visitor: Visitor) -> None:
    page = visitor.open("training-jobs")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Name contains")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.type("no job has this name")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing here by this name and status.")).to_be_visible()


def test_signing_out_and_in(visitor: Visitor) -> None:
    page, console = visitor.page, visitor.scene.console
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{console}/sign-in")
    visitor.check("sign-in")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{console}/")


def test_without_scripts_everything_is_said(chromium: Browser, scene: Scene) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{scene.console}/sign-in?token={TOKEN}")
    page.goto(f"{scene.console}/training-jobs/{scene.trained[0]}")
    expect(page.get_by_text("Final metrics")).to_be_visible()
    expect(page.get_by_role("rowheader", name="num_factors")).to_be_visible()
    context.close()
