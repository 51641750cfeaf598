"""What the benchmarks print is what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.fm import report
from benchmarks.fm.suite import Row

from benchmarks import tables

OURS = Row("ours", "matinee", "sgd", {8: 1, 64: 1}, against=("theirs",))
THEIRS = Row("theirs", "xlearn", "sgd", {8: 1})
ABSENT = Row("absent", "torch", "adam", {8: 1})
MEASURED = {("ours", 8): [100.0, 90.0, 120.0], ("ours", 64): [10.0], ("theirs", 8): [4.0]}


@pytest.mark.parametrize(
    ("value", "text"), [(123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert tables.short(value) == text


def test_a_table_has_medians_with_their_spread() -> None:
    table = report.speed_table([OURS, THEIRS, ABSENT], MEASURED, spread=True)

    assert table.splitlines()[2:] == [
        "| ours | 100 (90.0 to 120) | 10.0 |",
        "| theirs | 4.00 |  |",
    ]


def test_ratios_are_of_medians_where_both_were_measured() -> None:
    assert report.ratios([OURS, THEIRS], MEASURED) == ["ours to theirs: 25.0x (k=8)"]


def test_less_is_a_percentage() -> None:
    measured = {("ours", 8): [3.0], ("theirs", 8): [4.0]}

    assert report.ratios([OURS], measured) == ["ours to theirs: 75% (k=8)"]


def test_accuracy_is_a_mean_over_splits() -> None:
    table = report.accuracy_table([OURS, ABSENT], {"ours": [0.5, 0.7]}, {"ours": [1, 3]})

    assert table.splitlines()[2:] == ["| ours | 8, 64 | 0.6000 (0.5000 to 0.7000) | 2.00 |"]


def test_a_passage_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- bench: fm -->\nold\n<!-- end -->\nb <!-- end -->\n")

    tables.rewrite(page, "fm", "\nnew\n")

    assert page.read_text() == "a\n<!-- bench: fm -->\nnew\n<!-- end -->\nb <!-- end -->\n"


def test_a_page_without_the_passage_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench: other --><!-- end -->")

    with pytest.raises(ValueError, match="has no <!-- bench: fm -->"):
        tables.rewrite(page, "fm", "new")
