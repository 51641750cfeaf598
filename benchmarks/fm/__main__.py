"""Speed and accuracy of ``matinee.fm`` and its peers, in one run on the same arrays.

    python -m benchmarks.fm                 the whole: some minutes, and the peers' installation
    python -m benchmarks.fm --quick         matinee alone on MovieLens-100K: seconds
    python -m benchmarks.fm --torch --readme README.md

Speed is training alone, without loading, compiling and scoring: with one thread by CPU time, with
two by the clock, medians over rounds in which all systems take turns. Every run is a process of its
own. Accuracy is of predictions kept within the stars, on random 90/10 splits of MovieLens-100K.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import environments, tables
from benchmarks.fm import data, peers, report, runner
from benchmarks.fm.suite import ACCURACY, SPEED, Row
from benchmarks.fm.workers.task import Answer

SEED = 20_240_607
SPLITS = 5
OURS = ("matinee", "ceiling")
TEN_EPOCHS_OF = 64


class Benchmark:
    """Runs rows and keeps their figures.

    Parameters
    ----------
    interpreters
        Worker -> the Python that has its packages; rows of other workers are left out.
    """

    def __init__(self, interpreters: dict[str, Path]) -> None:
        self._interpreters = interpreters
        self.rates: dict[tuple[str, int], list[float]] = defaultdict(list)
        self.rmse: dict[str, list[float]] = defaultdict(list)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.ten_epochs: list[float] = []
        self.notes: list[str] = []

    def speed(self, rows: Sequence[Row], folder: Path, ratings: int, rounds: int) -> None:
        """Let all rows take turns, ``rounds`` times."""
        for _ in range(rounds):
            for row, num_factors, answer in self._run(rows, folder):
                # Two threads share what one process is charged for: only the clock tells.
                clock = 0 if row.threads == 1 else 1
                seconds = statistics.median(epoch[clock] for epoch in answer.epochs)
                self.rates[row.label, num_factors].append(ratings / seconds / 1e6)
                if row is SPEED[0] and num_factors == TEN_EPOCHS_OF:
                    self.ten_epochs.append(answer.training[1] * 10 / row.epochs[num_factors])

    def accuracy(self, rows: Sequence[Row], folders: Sequence[Path]) -> None:
        """Train and test all rows on the split in each folder."""
        for folder in folders:
            for row, _, answer in self._run(rows, folder):
                self.rmse[row.label].append(answer.rmse)
                self.seconds[row.label].append(answer.training[0])

    def _run(self, rows: Sequence[Row], folder: Path) -> Iterator[tuple[Row, int, Answer]]:
        for row in rows:
            python = self._interpreters.get(row.worker)
            if python is None:
                continue
            for num_factors in row.epochs:
                try:
                    answer = runner.run(row.worker, row.task(str(folder), num_factors), python)
                except runner.WorkerError as error:
                    # A peer may fail on a machine unlike ours; matinee may not.
                    if row.worker in OURS:
                        raise
                    self.notes.append(f"not measured: {error}")
                else:
                    yield row, num_factors, answer


def main() -> int:
    """Measure, print, rewrite the page if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="matinee alone, on MovieLens-100K")
    parser.add_argument("--rounds", type=int, default=3, help="of speed (default: 3)")
    parser.add_argument("--torch", action="store_true", help="PyTorch as well: installs 3 GB")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put the figures into a page")
    arguments = parser.parse_args()
    home = Path(os.environ.get("MATINEE_HOME", "~/.matinee")).expanduser()
    load, _, _ = os.getloadavg()

    interpreters = {"matinee": Path(sys.executable)}
    missing = []
    if not arguments.quick:
        interpreters["ceiling"] = Path(sys.executable)
        for worker, peer in peers.PEERS.items():
            if worker == "torch" and not arguments.torch:
                continue
            try:
                interpreters[worker] = environments.interpreter(peer, home / "cache" / "peers")
            except environments.PeerError as error:
                missing.append(f"not measured: {error}")

    benchmark = Benchmark(interpreters)
    movielens = data.read_movielens(home)
    with tempfile.TemporaryDirectory(prefix="matinee-benchmark-") as scratch:
        folder = Path(scratch)
        splits = [
            data.write(folder / f"split-{number}", *split)
            for number, split in enumerate(
                data.random_splits(movielens, 1 if arguments.quick else SPLITS)
            )
        ]
        if arguments.quick:
            speed_folder, ratings = splits[0], len(movielens.stars) * 9 // 10
        else:
            speed_folder = data.write(folder / "reference", *data.reference_shape(SEED))
            ratings = data.TRAIN_RATINGS
        benchmark.speed(SPEED, speed_folder, ratings, 1 if arguments.quick else arguments.rounds)
        benchmark.accuracy(ACCURACY, splits)

    print(f"{_where()}; other work on the machine at the start: load {load:.1f}")
    for line in (*missing, *benchmark.notes):
        print(line)
    print(f"\nSpeed on {ratings:,} ratings: median (lowest to highest round)\n")
    print(report.speed_table(SPEED, benchmark.rates, spread=True), end="\n\n")
    for sentence in report.ratios(SPEED, benchmark.rates):
        print(f"- {sentence}")
    print(f"- ten epochs of `adam`, k={TEN_EPOCHS_OF}: {tables.Spread.of(benchmark.ten_epochs)} s")
    print(f"\nAccuracy on {len(splits)} random 90/10 splits of MovieLens-100K\n")
    print(report.accuracy_table(ACCURACY, benchmark.rmse, benchmark.seconds))
    if arguments.readme and not arguments.quick:
        tables.rewrite(arguments.readme, "fm", _paragraph(benchmark, ratings))
    return 0


def _paragraph(benchmark: Benchmark, ratings: int) -> str:
    ratios = "\n".join(f"- {sentence}" for sentence in report.ratios(SPEED, benchmark.rates))
    return f"""
Training on {ratings:,} ratings of {data.CUSTOMERS:,} customers and {data.VIDEOS:,} videos (drawn
at random, long-tailed, shuffled) with k factors; medians, one thread by CPU time, two by the clock
({_where()}):

{report.speed_table(SPEED, benchmark.rates, spread=False)}

{ratios}

The memory ceiling is what the same rows cost if they are only read and written, in one simple way:
a little more than all of it is possible. Ten epochs of
`adam` at k={TEN_EPOCHS_OF} take {tables.short(statistics.median(benchmark.ten_epochs))} s.

Test RMSE on MovieLens-100K, mean of {SPLITS} random 90/10 splits, customer and video alone:

{report.accuracy_table(ACCURACY, benchmark.rmse, benchmark.seconds)}
"""


def _where() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.machine()
    return f"{len(models)} cores, {processor}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
