"""A few rounds of ``tests.faults.kill``; more of them by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ObjectStore
from tests.faults.kill import run
from tests.sagemaker import postgresql


@pytest.mark.parametrize(("database", "seed"), [("sqlite", 11), ("postgresql", 12)])
def test_no_promise_is_broken_by_a_death(
    database: str, seed: int, object_store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "server").mkdir()
    if database == "sqlite":
        report = run(tmp_path / "server", object_store, 2, seed)
    else:
        with postgresql.running(tmp_path / "postgresql") as server:
            report = run(tmp_path / "server", object_store, 1, seed, server.new_database())
    assert report.violations == [], report
