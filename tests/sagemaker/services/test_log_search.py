"""FilterLogEvents, asked for with boto3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from matinee.sagemaker.endpoints.hosting_instances import GROUP_PREFIX, KIND
from matinee.sagemaker.services import log_search
from matinee.sagemaker.store import Resource
from tests.sagemaker.conftest import NOON, Front

GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture
def jobs(front: Front) -> Front:
    front.add_job("TrainingJob", "a", [(1, "a one"), (3, "a two"), (3, "a three")])
    front.add_job("TrainingJob", "b", [(2, "b one"), (3, "b two"), (5, "b three")])
    return front


def search(front: Front, **request: Any) -> Any:
    return front.client("logs").filter_log_events(logGroupName=GROUP, **request)


def texts(answer: Any) -> list[str]:
    return [event["message"] for event in answer["events"]]


ALL = ["a one", "b one", "a two", "a three", "b two", "b three"]


def test_streams_are_interleaved(jobs: Front) -> None:
    answer = search(jobs)
    assert texts(answer) == ALL
    assert "nextToken" not in answer
    first = answer["events"][0]
    assert (first["logStreamName"], first["timestamp"]) == ("a/algo-1-1795435200", 1)
    assert len({event["eventId"] for event in answer["events"]}) == len(ALL)
    assert answer["searchedLogStreams"] == []


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"filterPattern": "one"}, ["a one", "b one"]),
        ({"filterPattern": "?two ?one"}, ["a one", "b one", "a two", "b two"]),
        ({"logStreamNamePrefix": "b/"}, ["b one", "b two", "b three"]),
        ({"logStreamNames": ["a/algo-1-1795435200"]}, ["a one", "a two", "a three"]),
        ({"startTime": 3}, ["a two", "a three", "b two", "b three"]),
        ({"endTime": 2}, ["a one", "b one"]),
        ({"startFromHead": False}, ALL[::-1]),
        ({"logStreamNamePrefix": "c"}, []),
    ],
)
def test_what_is_searched(jobs: Front, request_: dict[str, Any], expected: list[str]) -> None:
    assert texts(search(jobs, **request_)) == expected


@pytest.mark.parametrize("forward", [True, False])
def test_pages(jobs: Front, forward: bool) -> None:
    pages = (
        jobs.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=GROUP, startFromHead=forward, PaginationConfig={"PageSize": 2})
    )
    found = [texts(page) for page in pages]
    order = ALL if forward else ALL[::-1]
    assert found == [order[:2], order[2:4], order[4:]]


def test_a_page_may_be_empty(jobs: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_search, "MAX_SEARCHED", 4)
    first = search(jobs, filterPattern="b -one")
    assert texts(first) == []
    rest = search(jobs, filterPattern="b -one", nextToken=first["nextToken"])
    assert texts(rest) == ["b two", "b three"]
    assert "nextToken" not in rest


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (
            {"logStreamNames": ["x"], "logStreamNamePrefix": "x"},
            "InvalidParameterException",
            "mutually exclusive",
        ),
        ({"logStreamNames": ["x"]}, "ResourceNotFoundException", "log stream does not exist"),
        ({"nextToken": "x"}, "InvalidParameterException", "nextToken is invalid"),
        ({"filterPattern": "{ $.a }"}, "InvalidParameterException", "Invalid filter pattern"),
        ({"filterPattern": "%a%"}, "UnknownOperationException", "not implemented by matinee"),
    ],
)
def test_requests_that_do_not_fit(
    jobs: Front, request_: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(ClientError, match=words) as call:
        search(jobs, **request_)
    assert call.value.response["Error"]["Code"] == code


def test_a_token_of_another_query_is_refused(jobs: Front) -> None:
    token = search(jobs, limit=1)["nextToken"]
    with pytest.raises(ClientError, match="nextToken is invalid"):
        search(jobs, filterPattern="one", nextToken=token)


def test_the_streams_of_an_endpoint(front: Front) -> None:
    context, group = front.context, f"{GROUP_PREFIX}films"
    endpoint = context.arn("endpoint/films")
    for number in (1, 2):
        folder = f"films/{number}"
        private = {
            "endpoint": "films",
            "variant": "main",
            "folder": folder,
            "containers": [{"host": "container-1", "port": 1}],
        }
        name, arn = f"{number:0<32}", f"{endpoint}/instance/{number}"
        instance = Resource(KIND, name, arn, "InService", NOON, NOON, {}, private, endpoint)
        context.store.insert(instance)
        log = context.folder / "endpoints" / folder / "container-1" / "log.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text(f'[{number}, "GET /ping"]\n')
    logs = front.client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix="/aws/sagemaker/Endpoints")["logGroups"]
    assert [item["logGroupName"] for item in groups] == [group]
    found = logs.filter_log_events(logGroupName=group, filterPattern="ping")["events"]
    assert [event["timestamp"] for event in found] == [1, 2]
    stream = found[1]["logStreamName"]
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert [item["creationTime"] for item in streams] == [1, 2]
    events = logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    assert [event["message"] for event in events] == ["GET /ping"]
