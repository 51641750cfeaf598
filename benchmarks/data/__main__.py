"""From a file of reviews to RecordIO-protobuf: matinee beside the published example's way.

    python -m benchmarks.data                       scale 1, both, in turns
    python -m benchmarks.data --scale 10 --jobs     also scale 10 for matinee; also trains, predicts
    python -m benchmarks.data --whole               also one `matinee run` at the scale of both
    python -m benchmarks.data --docs docs/scale.md  also writes the tables between its marks

The reviews are simulated (`matinee data simulate`), and at the scale of both a local file to both.
The original writes local files; matinee's steps write to (and at other scales read from) a real S3
server on the same machine, whose cost is told apart, and its jobs run on the local SageMaker, whose
cost counts. Every step is a process of its own, with its imports; medians over rounds in which both
take turns. The input was written just before, so no disk is waited for.
"""

import argparse
import io
import json
import os
import platform
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import environments
from benchmarks.data import jobs, meter
from benchmarks.data import whole as whole_run
from benchmarks.data.jobs import Jobs
from benchmarks.data.report import Measured, computed_table, growth_table, table
from benchmarks.data.whole import Whole
from benchmarks.environments import Peer
from benchmarks.sagemaker.servers import Place, object_store
from benchmarks.tables import rewrite
from matinee.cli.stores import S3, LocalFiles
from matinee.datasets.simulated.simulation import Simulation
from matinee.stack.service import REGION
from matinee.workflow.objects import Objects, split_uri
from matinee.workflow.settings import Settings

SEED = 1
ROUNDS = 3
"""Of scale 1; other scales are measured once."""
COMPUTED_SCALE = 1000.0
ORIGINAL = Peer(
    "original libraries",
    ("sagemaker==2.257.7", "pandas==3.1.1", "numpy==2.4.6", "scipy==1.17.1"),
)


BUCKET = "bench"


@dataclass(frozen=True, slots=True)
class Bench:
    """Servers, and a folder for local files.

    Attributes
    ----------
    folder
        For files.
    client
        boto3's, of the S3.
    server
        The S3's process.
    environment
        By which the measured programs find it.
    jobs
        A local SageMaker over the S3; None leaves training and prediction out.
    """

    folder: Path
    client: Any
    server: psutil.Process
    environment: Mapping[str, str]
    jobs: Jobs | None

    def both(
        self, scale: float, rounds: int, python: Path | None, *, whole: bool
    ) -> tuple[Measured | None, Measured, Whole | None]:
        """Measure the original, if there is a Python that has its libraries, and matinee.

        The whole `matinee run`, where asked for, comes last.
        """
        simulation = Simulation(scale, SEED, os.cpu_count() or 1)
        reviews = self.folder / f"{simulation.name}.tsv.gz"
        LocalFiles().write(_file(simulation), str(reviews))
        theirs, ours = [], []
        for _ in range(rounds):
            if python is not None:
                theirs.append(self._original(python, reviews))
            ours.append(self._matinee(str(reviews)))
        run = whole_run.measure(reviews) if whole else None
        reviews.unlink()
        original = None
        if theirs:
            answers = [run.answer for run in theirs]
            original = Measured(
                "the original",
                simulation.rows,
                answers[0]["ratings"],
                [{"all": run} for run in theirs],
                [answer["seconds"] for answer in answers],
            )
        return original, _measured(simulation, ours), run

    def alone(self, scale: float) -> Measured:
        """Measure matinee once, on reviews that lie in S3 only."""
        simulation = Simulation(scale, SEED, os.cpu_count() or 1)
        ratings = f"s3://{BUCKET}/{simulation.name}.tsv.gz"
        S3(self.client).write(_file(simulation), ratings)
        ours = [self._matinee(ratings)]
        self._delete(ratings)
        return _measured(simulation, ours)

    def _original(self, python: Path, reviews: Path) -> meter.Run:
        output = self.folder / "original"
        output.mkdir()
        try:
            words = [str(python), "-m", "benchmarks.data.workers.original", str(reviews)]
            run = meter.run([*words, str(output)], {"SAGEMAKER_SUPPRESS_V2_WARNING": "1"})
        finally:
            shutil.rmtree(output)
        return _told("the original", run)

    def _matinee(self, ratings: str) -> dict[str, meter.Run]:
        name = f"matinee-{secrets.token_hex(4)}"
        parameters = jobs.parameters(ratings, f"s3://{BUCKET}/runs")
        settings = Settings.from_parameters(parameters)
        steps: dict[str, meter.Run] = {}
        inputs: Any = {"run": name}
        for step in ("preprocess", "prepare"):
            given = self.folder / "inputs.json"
            given.write_text(json.dumps({"parameters": parameters, "inputs": inputs}))
            words = [sys.executable, "-m", "benchmarks.data.workers.steps", step, str(given)]
            steps[step] = _told(step, meter.run(words, self.environment, self.server))
            inputs = steps[step].answer
        if self.jobs is not None:
            steps["train"] = _told("train", self.jobs.train(settings, inputs))
            model = steps["train"].answer
            steps["predict"] = _told("predict", self.jobs.predict(settings, inputs, model))
        Objects(self.client).delete_folder(settings.folder(name))
        return steps

    def _delete(self, uri: str) -> None:
        bucket, key = split_uri(uri)
        self.client.delete_object(Bucket=bucket, Key=key)


def _file(simulation: Simulation) -> io.BufferedReader:
    return simulation.file(0, 1, compressed=True, progress=lambda _: None)


def _measured(simulation: Simulation, rounds: list[dict[str, meter.Run]]) -> Measured:
    ratings = sum(rounds[0]["prepare"].answer["rating_counts"].values())
    return Measured("matinee", simulation.rows, ratings, rounds)


def _told(name: str, run: meter.Run) -> meter.Run:
    print(
        f"{name}: {run.cost.seconds:.1f} s, {run.cost.cpu_seconds:.1f} CPU s,"
        f" {run.cost.peak_bytes / 1e6:.0f} MB; load {run.load:.1f}",
        flush=True,
    )
    return run


def _whole(whole: Whole, original: Measured | None, ours: Measured) -> str:
    reached = f"RMSE {whole.rmse:.4f}, of the biases alone {whole.baseline:.4f}"
    others = {
        f"{one.name}, file to shards": one.median for one in (original, ours) if one is not None
    }
    return f"{reached}; load average {whole.load:.1f}.\n\n{whole_run.table(whole, others)}"


def main() -> None:
    """Measure, print the tables, and write them where it is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, action="append", help="one more, for matinee alone")
    parser.add_argument("--base", type=float, default=1.0, help="the scale of both  [default: 1]")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the base scale")
    parser.add_argument("--jobs", action="store_true", help="train and predict as well")
    parser.add_argument("--whole", action="store_true", help="one `matinee run` as well")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown with bench marks")
    arguments = parser.parse_args()
    home = Path(os.environ.get("MATINEE_HOME", "~/.matinee")).expanduser()
    try:
        peer = environments.interpreter(ORIGINAL, home / "cache" / "peers")
    except environments.PeerError as error:
        print(f"without the original: {error}")
        peer = None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="matinee-data-")))
        (folder / "s3").mkdir()
        s3, keys = stack.enter_context(object_store(folder / "s3"))
        [server] = psutil.Process().children()
        environment = {
            "AWS_ENDPOINT_URL_S3": s3.address,
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            "AWS_DEFAULT_REGION": REGION,
        }
        sagemaker = None
        if arguments.jobs:
            place = Place(folder, keys, s3.address, None)
            sagemaker = stack.enter_context(jobs.local_sagemaker(place))
        bench = Bench(folder, s3.client(), server, environment, sagemaker)
        original, ours, whole = bench.both(
            arguments.base, arguments.rounds, peer, whole=arguments.whole
        )
        growth = {arguments.base: ours}
        for scale in arguments.scale or []:
            growth[scale] = bench.alone(scale)
    heading = (
        f"Scale {arguments.base:g}: {ours.rows:,} rows, of which matinee keeps {ours.ratings:,}"
        f" ratings{f' and the original {original.ratings:,}' if original else ''}; medians of"
        f" {arguments.rounds} rounds, lowest to highest, on {os.cpu_count()} cores, Python"
        f" {platform.python_version()}, load average {ours.load}."
    )
    steps = table(original, ours.only("preprocess", "prepare"))
    tables = {"data": f"{heading}\n\n{steps}", "growth": growth_table(growth)}
    if whole is not None:
        tables["whole"] = _whole(whole, original, ours.only("preprocess", "prepare"))
    if len(growth) > 1:
        tables["computed"] = computed_table(growth, COMPUTED_SCALE)
    for name, text in tables.items():
        print(f"\n{text}")
        if arguments.docs:
            rewrite(arguments.docs, name, text)


if __name__ == "__main__":
    main()
