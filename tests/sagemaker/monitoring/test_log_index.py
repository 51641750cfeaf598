"""Pages of a log, without reading all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.sagemaker.monitoring.log_index import ALWAYS, LogIndex


def write(folder: Path, times: list[int], mode: str = "w") -> None:
    with (folder / "log.jsonl").open(mode) as file:
        file.writelines(json.dumps([time, f"line, {time}"]) + "\n" for time in times)


def test_a_log_of_many_blocks(tmp_path: Path) -> None:
    write(tmp_path, list(range(1000)))
    log = LogIndex().open(tmp_path)
    assert (log.count, log.first, log.last) == (1000, 0, 999)
    assert [event.position for event in log.forward(254, ALWAYS)] == list(range(254, 1000))
    assert [event.time for event in log.backward(257, ALWAYS)] == list(range(256, -1, -1))
    assert [event.time for event in log.forward(0, range(510, 515))] == [510, 511, 512, 513, 514]
    assert [event.text for event in log.backward(1000, range(2))] == ["line, 1", "line, 0"]
    assert list(log.forward(1000, ALWAYS)) == []
    assert list(log.backward(0, ALWAYS)) == []


def test_it_grows_and_waits_for_whole_lines(tmp_path: Path) -> None:
    index = LogIndex()
    assert index.open(tmp_path).count == 0
    write(tmp_path, [1])
    before = index.open(tmp_path)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('[2, "two')
    assert index.open(tmp_path).count == 1
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('"]\n')
    assert [event.text for event in index.open(tmp_path).forward(1, ALWAYS)] == ["two"]
    assert before.count == 1


def test_times_that_go_back_keep_their_place(tmp_path: Path) -> None:
    write(tmp_path, [5, 3, 7])
    log = LogIndex().open(tmp_path)
    assert [(event.time, event.order) for event in log.from_order(0, ALWAYS)] == [
        (5, 5), (3, 5), (7, 7)
    ]  # fmt: skip
    assert [event.time for event in log.until_order(5, ALWAYS)] == [3, 5]


@given(
    times=st.lists(st.integers(0, 2000), max_size=600),
    start=st.integers(0, 2000),
    length=st.integers(0, 2000),
    place=st.integers(0, 2000),
)
def test_any_part_is_what_a_full_reading_gives(
    tmp_path_factory: pytest.TempPathFactory,
    times: list[int],
    start: int,
    length: int,
    place: int,
) -> None:
    folder = tmp_path_factory.mktemp("log")
    write(folder, times)
    log = LogIndex().open(folder)
    orders = [max(times[: number + 1]) for number in range(len(times))]
    wanted = range(start, start + length)
    chosen = [number for number, time in enumerate(times) if time in wanted]

    def positions(events: object) -> list[int]:
        return [event.position for event in events]  # type: ignore[attr-defined]

    assert positions(log.forward(place, wanted)) == [n for n in chosen if n >= place]
    assert positions(log.backward(place, wanted)) == [n for n in chosen[::-1] if n < place]
    assert positions(log.from_order(place, wanted)) == [n for n in chosen if orders[n] >= place]
    assert positions(log.until_order(place, wanted)) == [
        n for n in chosen[::-1] if orders[n] <= place
    ]


def test_a_damaged_line_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('[1, "a"]\nnot json\n')
    with pytest.raises(ValueError, match="byte 9: not a log event"):
        LogIndex().open(tmp_path)
