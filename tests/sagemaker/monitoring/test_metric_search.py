"""Numbers in log lines, found by another process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matinee.sagemaker.algorithms import FACTORIZATION_MACHINES
from matinee.sagemaker.monitoring import log_events, metric_search
from matinee.sagemaker.monitoring.metric_search import MetricPoint, MetricSearch

LOSS = ("loss", "loss=([^;]+);")


@pytest.fixture(scope="module")
def search() -> MetricSearch:
    """One for the tests that ask it for different folders."""
    return MetricSearch()


def write(folder: Path, *events: tuple[int, str]) -> Path:
    with (folder / log_events.FILE_NAME).open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    return folder


def test_lines_become_points_in_their_order(search: MetricSearch, tmp_path: Path) -> None:
    write(tmp_path, (1, "loss=0.5; more"), (2, "nothing"), (3, "loss=-1e-3;"))
    found = search.points([tmp_path], [LOSS])
    assert found == [MetricPoint("loss", 1, 0.5), MetricPoint("loss", 3, -0.001)]


@pytest.mark.parametrize("text", ["loss=nan;", "loss=inf;", "loss=1e200;", "loss=high;", "loss=;"])
def test_what_cloudwatch_does_not_take_is_no_point(
    search: MetricSearch, tmp_path: Path, text: str
) -> None:
    assert search.points([write(tmp_path, (1, text))], [LOSS]) == []


def test_an_unmatched_group_is_no_point(search: MetricSearch, tmp_path: Path) -> None:
    assert search.points([write(tmp_path, (1, "b"))], [("x", "(1)?b")]) == []


def test_a_log_is_searched_while_it_grows(tmp_path: Path) -> None:
    search = MetricSearch()
    assert search.points([tmp_path], [LOSS]) == []
    first = search.points([write(tmp_path, (1, "loss=1;"))], [LOSS])
    log = tmp_path / log_events.FILE_NAME
    whole = json.dumps([2, "loss=2;"])
    with log.open("a") as file:
        file.write(whole[:5])
    assert search.points([tmp_path], [LOSS]) == first == [MetricPoint("loss", 1, 1.0)]
    with log.open("a") as file:
        file.write(whole[5:] + "\n")
    assert search.points([tmp_path], [LOSS]) == [*first, MetricPoint("loss", 2, 2.0)]


def test_a_long_log_is_searched_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_search, "_BATCH_BYTES", 10)
    write(tmp_path, *((number, f"loss={number};") for number in range(5)))
    found = MetricSearch().points([tmp_path], [LOSS])
    assert [point.value for point in found] == [0, 1, 2, 3, 4]


def test_the_hosts_of_a_job_are_put_in_order_of_time(tmp_path: Path) -> None:
    folders = [tmp_path / "algo-1", tmp_path / "algo-2"]
    for folder, times in zip(folders, [(1, 3), (2, 4)], strict=True):
        folder.mkdir()
        write(folder, *((time, f"loss={time};") for time in times))
    found = MetricSearch().points(folders, [LOSS])
    assert [point.timestamp_ms for point in found] == [1, 2, 3, 4]


def test_an_expression_that_takes_for_ever_costs_its_metric_only(tmp_path: Path) -> None:
    folder = write(tmp_path, (1, "a" * 64 + "loss=1;"))
    search = MetricSearch(seconds_per_batch=0.1)
    definitions = [("slow", "(a+)+$"), LOSS]
    assert search.points([folder], definitions) == [MetricPoint("loss", 1, 1.0)]
    write(folder, (2, "loss=2;"))
    assert len(search.points([folder], definitions)) == 2
    said = [text for _, text in log_events.read(folder) if text.startswith("matinee: ")]
    assert said == [
        "matinee: metric 'slow' is dropped: its regular expression '(a+)+$' took over 0.1 seconds "
        "on 1 log lines"
    ]


def test_a_search_that_was_ended_begins_anew(tmp_path: Path) -> None:
    search = MetricSearch()
    write(tmp_path, (1, "loss=1;"))
    search.points([tmp_path], [LOSS])
    process = search._worker._process
    assert process is not None
    process.kill()
    process.wait()
    write(tmp_path, (2, "loss=2;"))
    with pytest.raises(metric_search.MetricsError, match="the search for metrics broke off"):
        search.points([tmp_path], [LOSS])
    assert len(search.points([tmp_path], [LOSS])) == 2


def test_only_so_many_jobs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_search, "_KEPT_JOBS", 1)
    search = MetricSearch()
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        write(folder, (1, "loss=1;"))
    for folder in [*folders, *folders]:
        assert search.points([folder], [LOSS]) == [MetricPoint("loss", 1, 1.0)]
    assert list(search._jobs) == [folders[1]]


PREFIX = "[11/23/2026 12:00:00 INFO 140276281280320] "


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (
            "#quality_metric: host=algo-1, epoch=0, batch=0 train rmse <loss>=2.5",
            {"train:rmse:batch"},
        ),
        ("#quality_metric: host=algo-1, epoch=0, train rmse <loss>=2.5", {"train:rmse:epoch"}),
        ("#quality_metric: host=algo-1, train rmse <loss>=2.5", {"train:rmse"}),
        ("#quality_metric: host=algo-1, test mse <loss>=2.5", {"test:mse"}),
        (
            "#quality_metric: host=algo-1, test binary_f_1.000 <score>=2.5",
            {"test:binary_f_beta"},
        ),
        (
            "#quality_metric: host=algo-1, train binary_classification_accuracy <score>=2.5",
            {"train:binary_classification_accuracy"},
        ),
        (
            "#quality_metric: host=algo-1, train binary_classification_cross_entropy <loss>=2.5",
            {"train:binary_classification_cross_entropy"},
        ),
        ("#progress_metric: host=algo-1, completed 2.5 % of epochs", {"train:progress"}),
        (
            "#throughput_metric: host=algo-1, train throughput=2.5 records/second",
            {"train:throughput"},
        ),
    ],
)
def test_each_line_of_factorization_machines_is_one_metric(
    search: MetricSearch, tmp_path: Path, line: str, names: set[str]
) -> None:
    definitions = [
        (item["Name"], item["Regex"]) for item in FACTORIZATION_MACHINES.metric_definitions
    ]
    found = search.points([write(tmp_path, (1, PREFIX + line))], definitions)
    assert {point.name for point in found} == names
    assert {point.value for point in found} == {2.5}
