"""The names a server may be called by and the pages that may call it, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from matinee.sagemaker.http.loopback import AllowedHosts, is_host, is_loopback
from tests.sagemaker.conftest import serving


async def hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    app = Starlette(
        routes=[Route("/", hello)], middleware=[Middleware(AllowedHosts, names=["allowed.example"])]
    )
    with serving(app) as endpoint:
        yield endpoint


def get(endpoint: str, **headers: str) -> httpx.Response:
    return httpx.get(endpoint, headers=headers, trust_env=False)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:80", "localhost", "LOCALHOST:5000", "[::1]", "[::1]:5000",
     "[0:0:0:0:0:0:0:1]:5000", "allowed.example", "ALLOWED.example:80"],
)  # fmt: skip
def test_names_of_loopback_and_allowed_ones_pass(endpoint: str, host: str) -> None:
    assert get(endpoint, Host=host).text == "hello"


@pytest.mark.parametrize(
    "host",
    ["example.com", "a.allowed.example", "localhost.example.com", "localhost:80:80",
     "127.0.0.1.nip.io", "10.0.0.1", "::1", "[::1", "[::2]:80", "[::]", "user@localhost",
     "localhost:port", "127.1", "0.0.0.1", "2130706433", ""],
)  # fmt: skip
def test_other_names_are_refused(endpoint: str, host: str) -> None:
    answer = get(endpoint, Host=host)
    assert answer.status_code == 403
    assert answer.json()["__type"] == "AccessDeniedException"
    assert "is not a loopback name" in answer.json()["message"]


def test_the_servers_own_pages_pass(endpoint: str) -> None:
    assert get(endpoint, Origin=endpoint).text == "hello"


@pytest.mark.parametrize(
    "origin", ["https://example.com", "null", "http://localhost:1", "https://127.0.0.1"]
)
def test_other_sites_are_refused(endpoint: str, origin: str) -> None:
    answer = get(endpoint, Origin=origin)
    assert answer.status_code == 403
    assert "is another site" in answer.json()["message"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.com", True),
        ("a", True),
        ("10.0.0.1", True),
        ("fe80::1", True),
        ("example.com:80", False),
        ("[::1]", False),
        ("http://a", False),
        ("*.example.com", False),
        ("-a", False),
        ("", False),
    ],
)
def test_knows_names(text: str, expected: bool) -> None:
    assert is_host(text) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - nothing is bound to it
        ("::", False),
        ("example.com", False),
    ],
)
def test_knows_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
