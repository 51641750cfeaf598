"""The page of recommendations over the wire, hostile ids and titles included."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from matinee.stack.stack import Stack
from matinee.workflow.objects import Objects
from tests.explorer.conftest import PAGE
from tests.films import CUSTOMERS, HOSTILE, RUN, put_into_service, put_run

HOSTILE_ID = '"><img src=x onerror=alert(1)>&top=50'


def ask(browser: httpx.Client, **asked: Any) -> str:
    answer = browser.get(PAGE, params=asked)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_who_has_not_signed_in_sees_nothing(stranger: httpx.Client) -> None:
    answer = stranger.get(PAGE, params={"customer": "c1"})
    assert answer.status_code == 401
    assert "Film" not in answer.text


def test_the_page_stands_in_the_navigation_and_offers_customers(browser: httpx.Client) -> None:
    page = ask(browser)
    assert f'<a href="{PAGE}" aria-current="page">Recommendations</a>' in page
    assert f"Run {RUN}, the latest run in s3://matinee/runs: {CUSTOMERS} customers" in page
    examples = re.findall(r'<a href="\?customer=(c\d+)&amp;run=&amp;top=10&amp;examples=0">', page)
    assert len(set(examples)) == CUSTOMERS
    shown = ask(browser, customer=examples[0])
    assert f"Customer {examples[0]} has rated" in shown


def test_ratings_and_recommendations_stand_side_by_side_with_reasons(browser: httpx.Client) -> None:
    page = ask(browser, customer="c1")
    rated, recommended = page.split("<caption>Recommended</caption>")
    assert "<caption>Rated</caption>" in rated
    # Videos 1, 3, 4, ... of customer 1; the others are to be recommended.
    assert re.findall(r"<td>Film (\d)</td>", rated.split("<caption>Rated</caption>")[1])
    ids = set(re.findall(r"<td>Film (\d)</td>", recommended))
    assert ids == {"2", "5", "8"}
    assert re.search(r"Film \d \([1-5] stars, adds \d\.\d\d\)", recommended)


def test_an_id_that_begins_so_is_found(browser: httpx.Client) -> None:
    page = ask(browser, customer="c1")
    found = page.split("Ids that begin so")[1].split("</section>")[0]
    assert set(re.findall(r">(c\d+)</a>", found)) == {"c1", "c10", "c11"}


def test_an_unknown_customer_gets_what_is_popular(browser: httpx.Client) -> None:
    page = ask(browser, customer="nobody")
    assert "Customer nobody is unknown to this run, or has too few ratings" in page
    assert "<caption>Most popular</caption>" in page
    assert "Mean stars" in page


@pytest.mark.parametrize("asked", [{"customer": HOSTILE_ID}, {"run": HOSTILE_ID}])
def test_hostile_ids_are_shown_and_not_obeyed(browser: httpx.Client, asked: dict[str, str]) -> None:
    page = browser.get(PAGE, params=asked).text
    assert "<img" not in page
    assert "&#34;&gt;&lt;img src=x onerror=alert(1)&gt;" in page


def test_hostile_titles_are_shown_and_not_obeyed(browser: httpx.Client) -> None:
    pages = [ask(browser, customer=f"c{number}") for number in range(CUSTOMERS)]
    assert not any("<script>Film" in page for page in pages)
    assert any("&lt;script&gt;Film 3" in page for page in pages)
    assert "<script>" in HOSTILE


@pytest.mark.parametrize(
    ("asked", "status", "problem"),
    [
        ({"run": "nowhere"}, 404, "there is no s3://matinee/runs/nowhere/summary.json"),
        ({"run": "s3://"}, 404, "is not an S3 URI"),
        ({"top": "100000000"}, 400, "This is not an address of this page."),
        ({"top": "many"}, 400, "This is not an address of this page."),
        ({"examples": "-1"}, 400, "This is not an address of this page."),
        ({"examples": "9" * 400}, 400, "This is not an address of this page."),
    ],
)
def test_what_cannot_be_shown_is_told(
    browser: httpx.Client, asked: dict[str, str], status: int, problem: str
) -> None:
    answer = browser.get(PAGE, params={"customer": "c1", **asked})
    assert answer.status_code == status
    assert problem in answer.text
    assert "<h1>Recommendations</h1>" in answer.text


def test_the_run_in_service_is_shown_and_another_where_asked_for(
    stack: Stack, browser: httpx.Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    objects = Objects(stack.client("s3"))
    first = ask(browser, customer="c1")
    other = put_run(objects, stack, "matinee-0000000002", 2, tmp_path_factory.mktemp("other"))
    assert "Run matinee-0000000002, the latest run" in ask(browser, customer="c1")
    put_into_service(stack, {"run": RUN, "artifacts": {"model": model_of(objects)}}, "recommender")
    served = ask(browser, customer="c1")
    assert f"Run {RUN}, in service at endpoint recommender" in served
    assert table(served) == table(first)
    named = ask(browser, customer="c1", run=other["run"])
    assert "Run matinee-0000000002, asked for by name" in named
    assert table(named) != table(first)


def model_of(objects: Objects) -> str:
    model: str = objects.read_json(f"s3://matinee/runs/{RUN}/summary.json")["artifacts"]["model"]
    return model


def table(page: str) -> str:
    return page.split("<caption>Recommended</caption>")[1].split("</table>")[0]
