"""Every write of a short scenario fails once, and every request to S3; no promise is broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import ObjectStore
from tests.faults.ledger import Entry
from tests.faults.sweep import Sweep, sweeping
from tests.sagemaker.jobs.conftest import until


@pytest.fixture(scope="module")
def sweep(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sweep]:
    with sweeping(tmp_path_factory.mktemp("sweep"), object_store) as found:
        yield found


@pytest.fixture(autouse=True)
def no_promise_is_broken(sweep: Sweep) -> Iterator[None]:
    sweep.violations.clear()
    yield
    assert sweep.violations == []


@pytest.mark.parametrize("scenario", ["train", "tune", "transform", "process"])
def test_a_write_that_fails(sweep: Sweep, scenario: str) -> None:
    assert sweep.writes(getattr(sweep, scenario)) >= 3


@pytest.mark.parametrize("kind", ["cut the request", "cut the answer"])
def test_a_request_to_s3_that_fails(sweep: Sweep, kind: str) -> None:
    assert sweep.requests(sweep.train, kind) >= 4


def test_a_request_that_s3_refuses(sweep: Sweep) -> None:
    assert sweep.requests(sweep.transform, "refuse") >= 4


def test_a_disk_that_is_full_for_a_while_costs_no_job_its_end(sweep: Sweep) -> None:
    # Acknowledged; then nothing can be written any more, not even that the job failed.
    sweep.fault.arm(first=2, count=1_000)
    sweep.train()
    (entry,) = sweep.clients.ledger.entries[-1:]
    server = sweep.clients.jobs.server
    until(lambda: f"{entry.name}: could not record" in server.log)  # type: ignore[attr-defined]
    assert sweep.fault.disarm()
    described = _ended(sweep, entry)
    assert described["TrainingJobStatus"] == "Failed"
    assert "disk is full" in described["FailureReason"]


def _ended(sweep: Sweep, entry: Entry) -> dict[str, Any]:
    def is_over() -> bool:
        sweep.clients.ledger.look(entry)
        return entry.is_over

    until(is_over)
    assert entry.last is not None
    return entry.last
