"""How far a mapped task is, told of its instances."""

from __future__ import annotations

from typing import Any

import pytest

from matinee.cli.watch import merged


def instance(task: str, index: int, state: str | None, seconds: float | None) -> dict[str, Any]:
    return {
        "task_id": task,
        "map_index": index,
        "state": state,
        "duration": seconds,
        "start_date": None if state is None else f"2026-01-01T00:00:0{index + 1}Z",
        "try_number": 1,
    }


@pytest.mark.parametrize(
    ("states", "state", "progress"),
    [
        (["success", "success", "success"], "success", "3 of 3"),
        (["success", "running", "queued"], "running", "1 of 3"),
        (["success", None, None], None, "1 of 3"),
        (["running", "failed", "success"], "failed", "1 of 3"),
    ],
)
def test_a_mapped_task_stands_as_its_worst_instance(
    states: list[str | None], state: str | None, progress: str
) -> None:
    tasks = [instance("start", -1, "success", 1.0)]
    tasks += [instance("prepare", index, each, 2.0) for index, each in enumerate(states)]
    start, prepare = merged(tasks)
    assert (start["task_id"], start["state"], start["progress"]) == ("start", "success", "")
    assert (prepare["task_id"], prepare["state"]) == ("prepare", state)
    assert prepare["progress"] == progress
    assert prepare["duration"] == 6.0
    assert prepare["start_date"] == "2026-01-01T00:00:01Z"
