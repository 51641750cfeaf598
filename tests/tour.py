"""Run every command of the documentation for real: `python -m tests.tour`.

The shell blocks of README.md and docs/ run in their order, in a folder of their own that has what
the words around them take for granted: the virtual environment, the benchmarks, the tests, a copy
of the notebooks and some ratings.
Blocks of `make` are left to whoever calls this. Stops at the first command that fails.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from matinee.datasets import movielens
from tests.test_docs import ROOT, blocks

CUSTOMERS = 300


def write_inputs(folder: Path, home: Path) -> None:
    """Write the files that the documentation names, from the ratings of MovieLens-100K."""
    lines = movielens.load(home / "cache", report=print).ratings.decode().splitlines()
    rows = [line.split("\t")[:3] for line in lines]
    for name, header in (
        ("my-ratings.csv", ("user_id", "item_id", "rating")),
        ("exported.csv", ("who", "what", "score")),
    ):
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(row for row in rows if int(row[0]) <= CUSTOMERS)


def main() -> int:
    """Run the blocks; the exit code of the first that fails, else 0."""
    with tempfile.TemporaryDirectory(prefix="matinee-tour-") as scratch:
        folder = Path(scratch)
        for name in (".venv", "benchmarks", "tests"):
            (folder / name).symlink_to(ROOT / name)
        # Jupyter writes beside a notebook.
        shutil.copytree(ROOT / "notebooks", folder / "notebooks")
        home = Path(os.environ.get("MATINEE_HOME", folder / "home"))
        programs = Path(sys.executable).parent
        environment = {
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "MATINEE_HOME": str(home),
        }
        write_inputs(folder, home)
        try:
            for block in blocks("sh"):
                if block.startswith("make "):
                    continue
                print(f"--\n{block}--", flush=True)
                done = subprocess.run(  # noqa: S603 - the documentation's own words
                    ["bash", "-euo", "pipefail", "-c", block],  # noqa: S607 - the user's shell
                    cwd=folder,
                    env=environment,
                    check=False,
                )
                if done.returncode != 0:
                    return done.returncode
        finally:
            subprocess.run(  # noqa: S603 - our own program
                [programs / "matinee", "down"], env=environment, check=False
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
