"""Filtering, sorting and paging of the List operations."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from matinee.sagemaker.errors import ValidationException
from matinee.sagemaker.listing import page
from matinee.sagemaker.store import Resource, Store

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def job(
    name: str, created: int, status: str = "Completed", modified: int = 0, parent: str = ""
) -> Resource:
    return Resource(
        "TrainingJob", name, f"arn:{name}", status, at(created), at(modified), {}, {}, parent
    )


JOBS = [
    job("train-b", 1, "Failed", modified=9),
    job("train-a", 2, "InProgress", modified=3),
    job("tune-c", 2, "Completed", modified=5),
]


def answer(request: dict[str, Any], jobs: list[Resource] = JOBS, **changes: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.sqlite")
        try:
            for item in jobs:
                store.insert(item)
            return page(
                store,
                request,
                "TrainingJob",
                summary_key="Jobs",
                summarise=lambda job: {"Name": job.name},
                **changes,
            )
        finally:
            store.close()


def names(request: dict[str, Any], **changes: Any) -> list[str]:
    return [summary["Name"] for summary in answer(request, **changes)["Jobs"]]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, ["train-b", "train-a", "tune-c"]),
        ({"SortOrder": "Descending"}, ["tune-c", "train-a", "train-b"]),
        ({"SortBy": "Name"}, ["train-a", "train-b", "tune-c"]),
        ({"SortBy": "Status"}, ["tune-c", "train-b", "train-a"]),
        ({"NameContains": "rain-"}, ["train-b", "train-a"]),
        ({"StatusEquals": "Failed"}, ["train-b"]),
        ({"CreationTimeAfter": at(1)}, ["train-a", "tune-c"]),
        ({"CreationTimeBefore": at(2)}, ["train-b"]),
        ({"LastModifiedTimeAfter": at(3)}, ["train-b", "tune-c"]),
        ({"LastModifiedTimeBefore": at(9)}, ["train-a", "tune-c"]),
        ({"NameContains": "x"}, []),
        ({"NameContains": "RAIN-"}, ["train-b", "train-a"]),
        ({"NameContains": "%"}, []),
        ({"SortBy": "LastModifiedTime"}, ["train-a", "tune-c", "train-b"]),
    ],
)
def test_filters_and_sorts(request_: dict[str, Any], expected: list[str]) -> None:
    assert names(request_) == expected


def test_lists_what_belongs_to_a_parent() -> None:
    jobs = [*JOBS, job("child", 3, parent="arn:tuning")]
    assert [item["Name"] for item in answer({}, jobs, parent="arn:tuning")["Jobs"]] == ["child"]


def test_pages_are_full_although_some_are_left_out() -> None:
    jobs = [job(f"job-{number}", number) for number in range(9)]
    even = answer({"MaxResults": 3}, jobs, wanted=lambda item: int(item.name[-1]) % 2 == 0)
    assert [item["Name"] for item in even["Jobs"]] == ["job-0", "job-2", "job-4"]
    assert "NextToken" in even


def test_an_order_without_meaning_here_is_refused() -> None:
    with pytest.raises(ValidationException, match="SortBy 'FinalObjectiveMetricValue'"):
        answer({"SortBy": "FinalObjectiveMetricValue"})


@pytest.mark.parametrize("size", [0, -1, 1001, 10**30])
def test_a_page_of_a_size_without_sense_is_refused(size: int) -> None:
    with pytest.raises(ValidationException, match=f"MaxResults {size} is not from 1 to 1000"):
        answer({"MaxResults": size})


def test_ten_by_default_and_no_token_at_the_end() -> None:
    jobs = [job(f"job-{number:02}", number) for number in range(11)]
    first = answer({}, jobs)
    assert len(first["Jobs"]) == 10
    last = answer({"NextToken": first["NextToken"]}, jobs)
    assert last == {"Jobs": [{"Name": "job-10"}]}


@pytest.mark.parametrize("order", ["Ascending", "Descending"])
def test_pages_neither_repeat_nor_hide_while_jobs_come_and_go(order: str) -> None:
    request = {"SortOrder": order, "MaxResults": 1}
    jobs = [job("a", 1), job("b", 2), job("c", 3)]
    first = answer(request, jobs)
    seen = [first["Jobs"][0]["Name"]]
    without_seen = [item for item in jobs if item.name != seen[0]]
    token = first["NextToken"]
    while token is not None:
        following = answer({**request, "NextToken": token}, without_seen)
        seen += [summary["Name"] for summary in following["Jobs"]]
        token = following.get("NextToken")
    assert seen == (["a", "b", "c"] if order == "Ascending" else ["c", "b", "a"])


def test_a_token_of_another_query_is_refused() -> None:
    token = answer({"MaxResults": 1})["NextToken"]
    with pytest.raises(ValidationException, match="another query"):
        answer({"NextToken": token, "StatusEquals": "Failed"})


@pytest.mark.parametrize("token", ["x", "e30=", "WzEsMiwzXQ==", "bnVsbA==", "é", "[]"])
def test_a_made_up_token_is_refused(token: str) -> None:
    with pytest.raises(ValidationException, match="NextToken"):
        answer({"NextToken": token})
