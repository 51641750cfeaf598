"""The process that feeds a host's pipes, as the server sees it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from matinee.sagemaker.machine import compute
from matinee.sagemaker.machine.compute import Phase
from matinee.sagemaker.training_jobs import pipes
from tests.sagemaker.jobs.conftest import until


def feeder(folder: Path, program: str) -> Path:
    """Start something in the place of a feeder."""
    compute.start(
        folder,
        [sys.executable, "-c", program],
        directory=folder.parent,
        environment={},
        limit_seconds=60,
        grace_seconds=0.0,
    )
    return folder


def test_a_feeder_that_was_told_to_end_may_be_ended_again(tmp_path: Path) -> None:
    # As a server does that takes up a job whose last server died after the first time.
    folder = feeder(tmp_path / "feeder", "import signal; signal.pause()")
    assert not pipes.has_failed(compute, folder)
    for _ in range(2):
        pipes.end(compute, folder)
        assert compute.status(folder).phase is Phase.EXITED
    assert not pipes.has_failed(compute, folder)


def test_a_feeder_that_ended_by_itself_is_an_error_each_time(tmp_path: Path) -> None:
    folder = feeder(tmp_path / "feeder", "raise SystemExit(3)")
    until(lambda: pipes.has_failed(compute, folder))
    for _ in range(2):
        with pytest.raises(pipes.FeederError, match="ended before the training"):
            pipes.end(compute, folder)


def test_a_host_without_pipes_has_no_feeder(tmp_path: Path) -> None:
    pipes.end(compute, tmp_path)
    assert not pipes.has_failed(compute, tmp_path)
