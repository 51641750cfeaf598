"""From a file of reviews to RecordIO-protobuf: matinee beside the published example's way.

    python -m benchmarks.data                       scale 1, both, in turns
    python -m benchmarks.data --scale 10            scale 1 for both, and scale 10 for matinee
    python -m benchmarks.data --docs docs/scale.md  also writes the tables between its marks

The reviews are simulated (`matinee data simulate`). The original reads and writes local files;
matinee's two steps read from and write to a real S3 server on the same machine, whose cost is told
apart. Every run is a process of its own, with its imports; medians over rounds in which both take
turns. The input has been read once before, so no disk is waited for.
"""

import argparse
import io
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks import environments
from benchmarks.data import meter
from benchmarks.data.report import Measured, growth_table, table
from benchmarks.environments import Peer
from benchmarks.sagemaker.servers import object_store
from benchmarks.tables import rewrite
from matinee.cli.stores import S3, LocalFiles
from matinee.datasets.simulated.simulation import Simulation
from matinee.stack.service import REGION
from matinee.workflow.objects import Objects, split_uri

SEED = 1
ROUNDS = 3
"""Of scale 1; other scales are measured once."""
ORIGINAL = Peer(
    "original libraries",
    ("sagemaker==2.257.7", "pandas==3.1.1", "numpy==2.4.6", "scipy==1.17.1"),
)


BUCKET = "bench"
OUTPUT = f"s3://{BUCKET}/runs"


class Place:
    """A folder, and a real S3 server, for inputs and outputs.

    Parameters
    ----------
    folder
        For local files.
    client
        boto3's, of the server.
    server
        Its process.
    environment
        By which the measured programs find it.
    """

    def __init__(
        self, folder: Path, client: Any, server: psutil.Process, environment: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._client = client
        self._server = server
        self._environment = environment

    def both(
        self, scale: float, rounds: int, python: Path | None
    ) -> tuple[Measured | None, Measured]:
        """Measure the original, if there is a Python that has its libraries, and matinee."""
        simulation = Simulation(scale, SEED, os.cpu_count() or 1)
        reviews = self._folder / f"{simulation.name}.tsv.gz"
        LocalFiles().write(_file(simulation), str(reviews))
        ratings = f"s3://{BUCKET}/{reviews.name}"
        Objects(self._client).upload(reviews, ratings)
        theirs, ours = [], []
        for _ in range(rounds):
            if python is not None:
                theirs.append(self._original(python, reviews))
                _say("the original", theirs[-1])
            ours.append(self._matinee(ratings))
            _say("matinee", ours[-1])
        reviews.unlink()
        self._delete(ratings)
        original = Measured("the original", simulation.rows, theirs) if theirs else None
        return original, Measured("matinee", simulation.rows, ours)

    def alone(self, scale: float) -> Measured:
        """Measure matinee once, on reviews that lie in S3 only."""
        simulation = Simulation(scale, SEED, os.cpu_count() or 1)
        ratings = f"s3://{BUCKET}/{simulation.name}.tsv.gz"
        S3(self._client).write(_file(simulation), ratings)
        run = self._matinee(ratings)
        _say("matinee", run)
        self._delete(ratings)
        return Measured("matinee", simulation.rows, [run])

    def _delete(self, uri: str) -> None:
        bucket, key = split_uri(uri)
        self._client.delete_object(Bucket=bucket, Key=key)

    def _original(self, python: Path, reviews: Path) -> meter.Run:
        output = self._folder / "original"
        output.mkdir()
        try:
            words = [str(python), "-m", "benchmarks.data.workers.original", str(reviews)]
            return meter.run([*words, str(output)], {"SAGEMAKER_SUPPRESS_V2_WARNING": "1"})
        finally:
            shutil.rmtree(output)

    def _matinee(self, ratings: str) -> meter.Run:
        words = [sys.executable, "-m", "benchmarks.data.workers.steps", ratings, OUTPUT]
        return meter.run(words, self._environment, self._server)


def _file(simulation: Simulation) -> io.BufferedReader:
    return simulation.file(0, 1, compressed=True, progress=lambda _: None)


def _say(name: str, run: meter.Run) -> None:
    load = os.getloadavg()[0]
    print(
        f"{name}: {run.cost.seconds:.1f} s, {run.cost.cpu_seconds:.1f} CPU s,"
        f" {run.cost.peak_bytes / 1e6:.0f} MB, {run.answer}, load {load:.1f}",
        flush=True,
    )


def main() -> None:
    """Measure, print the tables, and write them where it is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, action="append", help="one more, for matinee alone")
    parser.add_argument("--base", type=float, default=1.0, help="the scale of both  [default: 1]")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the base scale")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown with bench marks")
    arguments = parser.parse_args()
    home = Path(os.environ.get("MATINEE_HOME", "~/.matinee")).expanduser()
    try:
        peer = environments.interpreter(ORIGINAL, home / "cache" / "peers")
    except environments.PeerError as error:
        print(f"without the original: {error}")
        peer = None
    with tempfile.TemporaryDirectory(prefix="matinee-data-") as name:
        folder = Path(name)
        (folder / "s3").mkdir()
        with object_store(folder / "s3") as (s3, keys):
            environment = {
                "AWS_ENDPOINT_URL_S3": s3.address,
                "AWS_ACCESS_KEY_ID": keys.access_key_id,
                "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
                "AWS_DEFAULT_REGION": REGION,
            }
            [server] = psutil.Process().children()
            place = Place(folder, s3.client(), server, environment)
            original, ours = place.both(arguments.base, arguments.rounds, peer)
            growth = {arguments.base: ours}
            for scale in arguments.scale or []:
                growth[scale] = place.alone(scale)
    heading = (
        f"Scale {arguments.base:g}, {ours.rows:,} rows; medians of {arguments.rounds}"
        f" (lowest to highest) on {os.cpu_count()} cores, Python {platform.python_version()}."
    )
    tables = {"data": f"{heading}\n\n{table(original, ours)}", "growth": growth_table(growth)}
    for name, text in tables.items():
        print(f"\n{text}")
        if arguments.docs:
            rewrite(arguments.docs, name, text)


if __name__ == "__main__":
    main()
