"""A page of somebody above the server: in the console's frame, or the server does not start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from matinee.sagemaker.console import added_pages
from matinee.sagemaker.console.added_pages import AddedPage, PageError
from matinee.sagemaker.console.frame import Frame
from matinee.sagemaker.console.navigation import OWN_NAMES
from tests.sagemaker.conftest import Front

HERE = __name__
NO_FUNCTION = 3


def hello(_frame: Frame, _context: Any) -> Sequence[Route]:
    def answer(_request: Request) -> Response:
        return PlainTextResponse("hello")

    return [Route("/", answer)]


def broken(_frame: Frame, _context: Any) -> Sequence[Route]:
    raise OSError("there is no such data")


def no_routes(_frame: Frame, _context: Any) -> str:
    return "hello"


def test_a_page_stands_in_the_navigation_and_in_the_frame(browser: httpx.Client) -> None:
    assert '<a href="/console/added-page/">Added page</a>' in browser.get("/console/").text
    page = browser.get("/console/added-page/").text
    assert "<h1>Added in us-east-1</h1>" in page
    assert '<a href="/console/added-page/" aria-current="page">Added page</a>' in page


def test_a_page_is_read_by_its_name_module_and_factory() -> None:
    (page,) = added_pages.load([f"my-page={HERE}:hello"], OWN_NAMES)
    assert (page.name, page.factory) == ("my-page", hello)
    assert page.entry.path == "/console/my-page/"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["hello"], "must look like NAME=module:factory"),
        ([f"Hello={HERE}:hello"], "must look like NAME=module:factory"),
        ([f"../x={HERE}:hello"], "must look like NAME=module:factory"),
        ([f"hello={HERE}"], "must look like NAME=module:factory"),
        ([f"models={HERE}:hello"], "already has a page 'models'"),
        ([f"a={HERE}:hello", f"a={HERE}:hello"], "already has a page 'a'"),
        (["hello=matinee.nowhere:page"], "cannot import 'matinee.nowhere'"),
        ([f"hello={HERE}:nothing"], "has no function 'nothing'"),
        ([f"hello={HERE}:NO_FUNCTION"], "has no function 'NO_FUNCTION'"),
    ],
)
def test_what_names_no_page_is_refused(words: list[str], problem: str) -> None:
    with pytest.raises(PageError) as caught:
        added_pages.load(words, OWN_NAMES)
    assert problem in str(caught.value)
    assert str(caught.value).startswith(f"--console-page {words[-1]}: ")


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (broken, "the factory failed: OSError: there is no such data"),
        (no_routes, "must return a sequence of Starlette's routes, not 'hello'"),
    ],
)
def test_a_page_that_cannot_be_made_is_refused(
    factory: Any, problem: str, console_front: Front
) -> None:
    page = AddedPage("hello", "--console-page hello=x:y", factory)
    with pytest.raises(PageError) as caught:
        page.mount(Frame([]), console_front.context)
    assert str(caught.value) == f"--console-page hello=x:y: {problem}" or problem in str(
        caught.value
    )
