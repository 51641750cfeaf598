"""What the data benchmark prints is what was measured, and its meter sees what programs do."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import psutil
import pytest
from benchmarks.data import meter, whole
from benchmarks.data.meter import Cost, Run
from benchmarks.data.report import Measured, computed_table, growth_table, table
from benchmarks.data.whole import Whole


def run(seconds: float, cpu_seconds: float, megabytes: int, server: Cost | None = None) -> Run:
    return Run(Cost(seconds, cpu_seconds, megabytes * 10**6), {}, server, load=0.5)


SERVER = Cost(1.0, 0.5, 70 * 10**6)
ORIGINAL = Measured(
    "the original", 100, 41, [{"all": run(80, 70, 2600)}], [{"reading": 20.0, "writing": 50.0}]
)
OURS = Measured(
    "matinee",
    100,
    40,
    [
        {
            "preprocess": run(seconds, 5, megabytes, SERVER),
            "prepare": run(1, 2, 200, SERVER),
            "train": run(9, 9, 1),
        }
        for seconds, megabytes in ((4, 900), (6, 700), (5, 800))
    ],
)


def test_the_table_compares_what_both_do() -> None:
    assert table(ORIGINAL, OURS.only("preprocess", "prepare")).splitlines()[2:] == [
        "| **the original** | 80.0 | 70.0 | 2600 |",
        "| of which reading | 20.0 |  |  |",
        "| of which writing | 50.0 |  |  |",
        "| **matinee** | 6.00 (5.00 to 7.00) | 7.00 | 800 (700 to 900) |",
        "| of which preprocess | 5.00 (4.00 to 6.00) | 5.00 | 800 (700 to 900) |",
        "| of which prepare | 1.00 | 2.00 | 200 |",
        "| beside it, the S3 server |  | 1.00 | 70.0 |",
        "| the original to matinee | 13.3x | 10.0x | 3.25x |",
    ]


def test_without_the_original_there_is_nothing_to_compare() -> None:
    lines = table(None, OURS.only("prepare")).splitlines()
    assert lines[2] == "| **matinee** | 1.00 | 2.00 | 200 |"
    assert not any("original" in line for line in lines)


def test_growth_is_told_step_by_step() -> None:
    more = Measured("matinee", 1000, 400, [{"preprocess": run(50, 60, 950)}])
    growth = growth_table({1.0: OURS.only("preprocess"), 10.0: more})
    assert growth.splitlines()[2:] == [
        "| preprocess | 1 | 100 | 5.00 (4.00 to 6.00) | 5.00 | 800 (700 to 900) |",
        "| preprocess | 10 | 1,000 | 50.0 | 60.0 | 950 |",
    ]


def test_what_was_not_measured_is_on_the_line_through_what_was() -> None:
    measured = {
        scale: Measured("matinee", rows, 1, [{"preprocess": run(1, cpu_seconds, 1)}])
        for scale, rows, cpu_seconds in ((1.0, 4_000_000, 20), (10.0, 40_000_000, 128))
    }
    assert computed_table(measured, 1000.0).splitlines()[2:] == ["| preprocess | 3.00 | 3.34 |"]
    assert "CPU hours for 4,000,000,000 rows" in computed_table(measured, 1000.0)


def program(words: str) -> list[str]:
    return [sys.executable, "-c", f"import sys\n{words}\nopen(sys.argv[1], 'w').write('[1]')"]


def test_memory_and_processor_time_of_descendants_count() -> None:
    # It lives until it has been looked for.
    lives = 3 * meter.FAMILY_POLLS * meter.POLL_SECONDS
    child = (
        f"import time; held = bytearray(200_000_000); sum(range(10_000_000)); time.sleep({lives})"
    )
    alone = meter.run(program("import time; time.sleep(0.2)"), {})
    with_child = meter.run(
        program(f"import subprocess; subprocess.run([sys.executable, '-c', {child!r}])"), {}
    )
    assert alone.answer == with_child.answer == [1]
    assert alone.cost.peak_bytes < 50_000_000
    assert with_child.cost.peak_bytes > 200_000_000
    assert with_child.cost.cpu_seconds > alone.cost.cpu_seconds + 0.1
    assert with_child.cost.seconds >= lives


def test_a_program_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(meter.ProgramError, match=r"exit code 3: .*'no luck'"):
        meter.run(program("print('no luck'); sys.exit(3)"), {})


@pytest.fixture
def server() -> Iterator[psutil.Popen]:
    """A process that spends a little with each line it is sent."""
    words = "import sys\nfor line in sys.stdin: print(sum(range(20_000_000)), flush=True)"
    with psutil.Popen(
        [sys.executable, "-c", words], stdin=-1, stdout=-1, text=True, bufsize=1
    ) as process:
        yield process
        process.stdin.close()


def test_a_server_is_looked_at_from_when_on(server: psutil.Popen) -> None:
    def work() -> None:
        server.stdin.write("go\n")
        server.stdout.readline()

    work()
    with meter.spending(server) as first:
        work()
        once = first()
        work()
        twice = first()
    with meter.spending(server) as idle:
        nothing = idle()
    assert 0 < once.cpu_seconds < twice.cpu_seconds
    assert nothing.cpu_seconds < once.cpu_seconds / 2
    assert twice.peak_bytes > 1_000_000


def test_the_whole_run_stands_beside_the_way_to_the_records() -> None:
    run_of_all = Whole(Cost(100, 150, 1500 * 10**6), {"train": 40.0}, 1.1, 1.2, load=2.0)
    assert whole.table(run_of_all, {"the original": ORIGINAL.median}).splitlines()[2:] == [
        "| the original | 80.0 | 70.0 | 2600 |",
        "| **`matinee run`, the whole way** | 100 | 150 | 1500 |",
        "| of which train | 40.0 |  |  |",
    ]
