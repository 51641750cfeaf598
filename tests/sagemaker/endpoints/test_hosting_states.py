"""The states of an endpoint: every pair the table does not have is refused."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from matinee.sagemaker.endpoints.hosting_states import (
    TRANSITIONS,
    EndpointBusyError,
    EndpointStatus,
    moved,
)
from matinee.sagemaker.store import Resource

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def endpoint(status: EndpointStatus) -> Resource:
    document = {"EndpointStatus": str(status), "FailureReason": "before"}
    return Resource("Endpoint", "e", "arn", str(status), NOON, NOON, document, {"target": 1})


@pytest.mark.parametrize(("current", "wanted"), list(itertools.product(EndpointStatus, repeat=2)))
def test_only_what_the_table_has(current: EndpointStatus, wanted: EndpointStatus) -> None:
    if wanted in TRANSITIONS[current]:
        after = moved(endpoint(current), wanted, now=NOON)
        assert (after.status, after.document["EndpointStatus"]) == (wanted, wanted)
        return
    with pytest.raises(EndpointBusyError, match=f"cannot go from {current} to {wanted}"):
        moved(endpoint(current), wanted, now=NOON)


def test_members_are_set_and_removed() -> None:
    after = moved(
        endpoint(EndpointStatus.CREATING),
        EndpointStatus.IN_SERVICE,
        now=NOON,
        document={"FailureReason": None, "EndpointConfigName": "c"},
        private={"target": None, "current": 2},
    )
    assert after.document == {
        "EndpointStatus": "InService",
        "EndpointConfigName": "c",
        "LastModifiedTime": NOON,
    }
    assert after.private == {"current": 2}
