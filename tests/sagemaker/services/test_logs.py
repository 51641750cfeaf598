"""CloudWatch Logs, asked for with boto3."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.conftest import NOON, Front

GROUP = "/aws/sagemaker/TrainingJobs"
STREAM = "a/algo-1-1795435200"
LOG = [(1000, "one"), (2000, "two"), (2000, "two again"), (3000, "three")]


def streams(front: Front, **request: Any) -> list[str]:
    given = {"logGroupName": GROUP, **request}
    answer = front.client("logs").describe_log_streams(
        **{name: value for name, value in given.items() if value is not None}
    )
    return [stream["logStreamName"] for stream in answer["logStreams"]]


def read(front: Front, **request: Any) -> Any:
    return front.client("logs").get_log_events(
        **{"logGroupName": GROUP, "logStreamName": STREAM, **request}
    )


def texts(answer: Any) -> list[str]:
    return [event["message"] for event in answer["events"]]


def test_describes_a_stream(front: Front) -> None:
    front.add_job("TrainingJob", "a", LOG)
    answer = front.client("logs").describe_log_streams(
        logGroupName=GROUP, logStreamNamePrefix="a/", orderBy="LogStreamName", limit=1
    )
    assert "nextToken" not in answer
    assert answer["logStreams"] == [
        {
            "logStreamName": STREAM,
            "creationTime": int(NOON.timestamp() * 1000),
            "arn": f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}:log-stream:{STREAM}",
            "storedBytes": 0,
            "firstEventTimestamp": 1000,
            "lastEventTimestamp": 3000,
            "lastIngestionTime": 3000,
        }
    ]


def test_a_group_has_the_streams_of_its_kind_of_job(front: Front) -> None:
    front.add_job("TrainingJob", "a", LOG)
    front.add_job("TransformJob", "b", LOG)
    assert streams(front) == [STREAM]
    assert streams(front, logGroupName="/aws/sagemaker/TransformJobs") == ["b/algo-1-1795435200"]


def test_a_prefix_ends_where_the_name_does(front: Front) -> None:
    front.add_job("TrainingJob", "a", LOG)
    front.add_job("TrainingJob", "a-b", LOG)
    assert streams(front, logStreamNamePrefix="a/") == [STREAM]


def test_orders_and_pages(front: Front) -> None:
    front.add_job("TrainingJob", "a", [(3, "x")])
    front.add_job("TrainingJob", "b", [(1, "x")])
    front.add_job("TrainingJob", "c", [])
    names = [f"{job}/algo-1-1795435200" for job in "abc"]
    assert streams(front, descending=True) == names[::-1]
    assert streams(front, orderBy="LastEventTime") == [names[2], names[1], names[0]]
    pages = (
        front.client("logs")
        .get_paginator("describe_log_streams")
        .paginate(logGroupName=GROUP, PaginationConfig={"PageSize": 2})
    )
    assert [[s["logStreamName"] for s in page["logStreams"]] for page in pages] == [
        names[:2],
        names[2:],
    ]


def test_reads_from_the_head_or_the_tail(front: Front) -> None:
    front.add_job("TrainingJob", "a", LOG)
    head = read(front, startFromHead=True, limit=2)
    assert head["events"] == [
        {"timestamp": 1000, "message": "one", "ingestionTime": 1000},
        {"timestamp": 2000, "message": "two", "ingestionTime": 2000},
    ]
    assert texts(read(front, limit=2)) == ["two again", "three"]
    assert texts(read(front)) == ["one", "two", "two again", "three"]


def test_the_token_at_the_end_is_the_token_sent_until_there_is_more(front: Front) -> None:
    log = front.add_job("TrainingJob", "a", LOG)
    token = read(front, startFromHead=True)["nextForwardToken"]
    end = read(front, startFromHead=True, nextToken=token)
    assert end["events"] == []
    assert end["nextForwardToken"] == token
    with log.open("a") as file:
        file.write('[3000, "four"]\n[4000, "not yet who')
    more = read(front, startFromHead=True, nextToken=token)
    assert texts(more) == ["four"]
    assert more["nextForwardToken"] != token


def test_pages_backward_to_the_beginning(front: Front) -> None:
    front.add_job("TrainingJob", "a", LOG)
    last = read(front, limit=3)
    first = read(front, limit=3, nextToken=last["nextBackwardToken"])
    assert texts(first) == ["one"]
    end = read(front, limit=3, nextToken=first["nextBackwardToken"])
    assert end["events"] == []
    assert end["nextBackwardToken"] == first["nextBackwardToken"]


def test_start_is_inclusive_and_end_exclusive(front: Front) -> None:
    front.add_job("TrainingJob", "a", LOG)
    answer = read(front, startFromHead=True, startTime=2000, endTime=3000)
    assert texts(answer) == ["two", "two again"]


def test_a_reader_by_time_and_skip_misses_nothing(front: Front) -> None:
    """The way of the clients: the last time seen, and how many events of it to skip."""
    log = front.add_job("TrainingJob", "a", [])
    seen: list[str] = []
    last_time = skip = 0
    for time, text in LOG:
        with log.open("a") as file:
            file.write(json.dumps([time, text]) + "\n")
        for event in read(front, startFromHead=True, startTime=last_time)["events"][skip:]:
            seen.append(event["message"])
            skip = skip + 1 if event["timestamp"] == last_time else 1
            last_time = event["timestamp"]
    assert seen == ["one", "two", "two again", "three"]


def test_one_answer_has_a_megabyte_at_most(front: Front) -> None:
    front.add_job("TrainingJob", "a", [(time, "x" * 400_000) for time in range(3)])
    first = read(front, startFromHead=True)
    assert [event["timestamp"] for event in first["events"]] == [0, 1]
    rest = read(front, startFromHead=True, nextToken=first["nextForwardToken"])
    assert [event["timestamp"] for event in rest["events"]] == [2]


def test_a_job_that_has_logged_nothing_has_an_empty_stream(front: Front) -> None:
    front.add_job("TrainingJob", "a", []).unlink()
    assert streams(front) == [STREAM]
    assert read(front, startFromHead=True)["events"] == []


def test_a_group_may_be_given_by_arn(front: Front) -> None:
    front.add_job("TrainingJob", "a", LOG)
    arn = f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}"
    assert streams(front, logGroupName=None, logGroupIdentifier=arn) == [STREAM]


def test_unknown_groups_and_streams(front: Front) -> None:
    client = front.client("logs")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="log group does not"):
        client.describe_log_streams(logGroupName="/aws/lambda/a")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="log stream does not"):
        client.get_log_events(logGroupName=GROUP, logStreamName=STREAM)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"logGroupName": None}, "either logGroupIdentifier or logGroupName"),
        ({"logGroupIdentifier": GROUP}, "either logGroupIdentifier or logGroupName"),
        ({"orderBy": "LastEventTime", "logStreamNamePrefix": "a"}, "Cannot order by LastEventTime"),
        ({"nextToken": "x"}, "nextToken is invalid"),
    ],
)
def test_requests_that_do_not_fit(front: Front, request_: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words) as call:
        streams(front, **request_)
    assert call.value.response["Error"]["Code"] == "InvalidParameterException"


@pytest.mark.parametrize("token", ["x", "f/5", "f/-1", "g/1", "f/"])
def test_a_made_up_token_is_refused(front: Front, token: str) -> None:
    front.add_job("TrainingJob", "a", LOG)
    with pytest.raises(ClientError, match="nextToken is invalid"):
        read(front, nextToken=token)


def test_describes_the_groups(front: Front) -> None:
    front.add_job("TrainingJob", "a", LOG)
    client = front.client("logs")
    pages = client.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 2})
    names = [[group["logGroupName"] for group in page["logGroups"]] for page in pages]
    assert names == [
        ["/aws/sagemaker/ProcessingJobs", "/aws/sagemaker/TrainingJobs"],
        ["/aws/sagemaker/TransformJobs"],
    ]
    (group,) = client.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]
    assert group == {
        "logGroupName": GROUP,
        "arn": f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}:*",
        "logGroupArn": f"arn:aws:logs:us-east-1:000000000000:log-group:{GROUP}",
        "logGroupClass": "STANDARD",
        "creationTime": int(NOON.timestamp() * 1000),
    }


@pytest.mark.parametrize(
    ("request_", "count"),
    [
        ({"logGroupNamePattern": "form"}, 1),
        ({"logGroupClass": "DELIVERY"}, 0),
        ({"logGroupIdentifiers": [GROUP]}, 1),
        ({"logGroupNamePrefix": "/aws/lambda"}, 0),
    ],
)
def test_some_groups(front: Front, request_: dict[str, Any], count: int) -> None:
    assert len(front.client("logs").describe_log_groups(**request_)["logGroups"]) == count


@pytest.mark.parametrize(
    "request_",
    [{"nextToken": "x"}, {"logGroupNamePrefix": "a", "logGroupNamePattern": "a"}],
)
def test_groups_that_cannot_be_asked_for(front: Front, request_: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as call:
        front.client("logs").describe_log_groups(**request_)
    assert call.value.response["Error"]["Code"] == "InvalidParameterException"
