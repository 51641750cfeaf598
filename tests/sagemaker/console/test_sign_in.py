"""Nobody sees anything without the token, and no other site's page can act for who has it."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from tests.sagemaker.conftest import Front
from tests.sagemaker.console.conftest import TOKEN


@pytest.mark.parametrize(
    "path", ["/console/", "/console/added-page/", "/console/static/console.js", "/console/none"]
)
def test_without_a_cookie_there_is_only_the_sign_in_page(stranger: httpx.Client, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert '<label for="token">Token</label>' in answer.text
    assert "us-east-1" not in answer.text


def test_the_token_is_exchanged_for_a_cookie_that_scripts_and_sites_cannot_use(
    stranger: httpx.Client,
) -> None:
    answer = stranger.get("/console/sign-in", params={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
    words = answer.headers["set-cookie"].lower()
    assert "httponly" in words
    assert "samesite=strict" in words
    assert "path=/console;" in words
    assert TOKEN not in answer.headers["set-cookie"]
    assert stranger.get("/console/").status_code == 200


def test_the_form_leads_to_the_page_that_was_asked_for(
    stranger: httpx.Client, console_front: Front
) -> None:
    page = "/console/training-jobs?status=Failed"
    assert f'name="next" type="hidden" value="{page}"' in stranger.get(page).text
    answer = stranger.post(
        "/console/sign-in",
        data={"token": TOKEN, "next": page},
        headers={"origin": console_front.endpoint},
    )
    assert (answer.status_code, answer.headers["location"]) == (303, page)


@pytest.mark.parametrize(
    "next_",
    [
        "https://example.com/",
        "//example.com/",
        "/console/../",
        "/console/\\..\\",
        "/",
        "/console/\t",
    ],
)
def test_signing_in_leads_nowhere_else(stranger: httpx.Client, next_: str) -> None:
    answer = stranger.get("/console/sign-in", params={"token": TOKEN, "next": next_})
    assert answer.headers["location"] == "/console/"


@pytest.mark.parametrize("token", ["", "another", TOKEN[:-1], "\N{SNOWMAN}"])
def test_another_token_is_refused(stranger: httpx.Client, token: str) -> None:
    answer = stranger.get("/console/sign-in", params={"token": token})
    assert answer.status_code == 403
    assert "not the token" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("cookie", ["", "x", ".", "99999999999.", "99999999999.00ff", "²."])
def test_an_invented_cookie_is_none(
    stranger: httpx.Client, browser: httpx.Client, cookie: str
) -> None:
    (name,) = browser.cookies
    raw = f"{name}={cookie}".encode()
    assert stranger.get("/console/", headers=[(b"cookie", raw)]).status_code == 401


def test_a_cookie_ends(browser: httpx.Client, console_front: Front) -> None:
    console_front.clock.now += timedelta(days=6)
    assert browser.get("/console/").status_code == 200
    console_front.clock.now += timedelta(days=1)
    assert browser.get("/console/").status_code == 401


def test_signing_out(browser: httpx.Client) -> None:
    assert browser.post("/console/sign-out").status_code == 303
    assert browser.get("/console/").status_code == 401


@pytest.mark.parametrize(
    "origin", ["https://example.com", "http://127.0.0.1:1", "null", "http://localhost"]
)
def test_a_form_of_another_origin_is_refused(browser: httpx.Client, origin: str) -> None:
    assert browser.post("/console/sign-out", headers={"origin": origin}).status_code == 403
    assert browser.get("/console/").status_code == 200


def test_a_form_without_an_origin_is_refused(browser: httpx.Client) -> None:
    del browser.headers["origin"]
    assert browser.post("/console/sign-out").status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_here_but_not_load_anything(browser: httpx.Client, site: str) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    assert browser.get("/console/", headers=headers).status_code == 403
    headers["sec-fetch-mode"] = "navigate"
    assert browser.get("/console/", headers=headers).status_code == 200
    assert browser.post("/console/sign-out", headers=headers).status_code == 403


def test_another_host_is_refused(browser: httpx.Client) -> None:
    assert browser.get("/console/", headers={"host": "example.com"}).status_code == 403


def test_pages_cannot_be_framed_kept_or_made_to_run_what_they_show(browser: httpx.Client) -> None:
    headers = browser.get("/console/").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_the_cookie_opens_nothing_of_the_api(browser: httpx.Client) -> None:
    answer = browser.post("/", headers={"x-amz-target": "SageMaker.ListModels"}, content="{}")
    assert "MissingAuthenticationToken" in answer.text


def test_without_a_token_there_is_no_console(front: Front) -> None:
    answer = httpx.get(f"{front.endpoint}/console/", trust_env=False)
    assert answer.headers["x-amzn-errortype"].startswith("MissingAuthenticationToken")
