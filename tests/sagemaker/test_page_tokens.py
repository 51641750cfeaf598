"""Tokens of pages."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from matinee.sagemaker import page_tokens
from tests.sagemaker.conftest import NOON, Front
from tests.sagemaker.jobs.conftest import refusal

ASKED = {"NameContains": "a", "CreatedAfter": NOON, "MaxResults": 3}
QUERY = page_tokens.fingerprint(ASKED, {"MaxResults", "NextToken"}, "Models")


def test_a_token_gives_its_place_back() -> None:
    assert page_tokens.read(page_tokens.write(QUERY, "é", 1, 0.5), QUERY) == ["é", 1, 0.5]


@pytest.mark.parametrize(
    ("changes", "list_", "same"),
    [
        ({"MaxResults": 4, "NextToken": "x"}, "Models", True),
        ({"NameContains": "b"}, "Models", False),
        ({}, "Jobs", False),
    ],
)
def test_what_tells_queries_apart(changes: dict[str, Any], list_: str, same: bool) -> None:
    other = page_tokens.fingerprint({**ASKED, **changes}, {"MaxResults", "NextToken"}, list_)
    assert (other == QUERY) is same


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("é", "is not a token"),
        ("%", "is not a token"),
        (encoded("{"), "is not a token"),
        (encoded("1"), "is not a token"),
        (encoded("[]"), "is not a token"),
        (encoded("[" * 5000), "is not a token"),
        (page_tokens.write("other", "a"), "belongs to another query"),
    ],
)
def test_what_is_no_token_of_a_query(token: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        page_tokens.read(token, QUERY)


@pytest.mark.parametrize("operation", ["list_models", "list_associations"])
def test_a_deep_token_is_refused(front: Front, operation: str) -> None:
    client = front.client("sagemaker")
    code, message = refusal(getattr(client, operation), NextToken=encoded("[" * 5000))
    assert (code, message[-30:]) == ("ValidationException", "is not a token of this service")
