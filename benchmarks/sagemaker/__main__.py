"""The local SageMaker beside moto's server, in one run.

    python -m benchmarks.sagemaker                   all figures, a few minutes
    python -m benchmarks.sagemaker --quick           fewer stored jobs and requests
    python -m benchmarks.sagemaker --docs FILE       also writes the table between the marks of FILE

Clients and servers share this machine's cores, as they do on a laptop. moto records jobs and runs
none, so what a job costs has no figure there.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import environments
from benchmarks.sagemaker import console as console_pages
from benchmarks.sagemaker import requests, servers, work
from benchmarks.sagemaker.figures import Figure, table
from benchmarks.tables import rewrite

console = Console()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sagemaker", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer stored jobs and requests")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="Markdown with bench marks")
    arguments = parser.parse_args()
    figures: list[Figure] = []

    def report(measure: Callable[[], list[Figure]]) -> None:
        for figure in measure():
            console.print(f"{figure.what}: {figure.matinee}", f"(moto: {figure.moto})")
            figures.append(figure)

    jobs, count = (500, 2_000) if arguments.quick else (10_000, 10_000)
    try:
        home = Path(os.environ.get("MATINEE_HOME", "~/.matinee")).expanduser()
        moto = environments.interpreter(servers.MOTO, home / "cache" / "peers")
    except environments.PeerError as error:
        console.print(f"without moto: {error}")
        moto = None
    with tempfile.TemporaryDirectory() as name, servers.object_store(Path(name)) as (s3, keys):
        place = servers.Place(Path(name), keys, s3.address, moto)
        report(lambda: requests.starting(place))
        report(lambda: requests.describing(place, jobs=jobs, count=count))
        report(lambda: console_pages.browsing(place, jobs=jobs))
        report(lambda: work.training(place))
        report(lambda: work.tuning(place))
        report(lambda: work.transforming(place))
        report(lambda: work.invoking(place, count=count))
    console.print(table(figures), markup=False, soft_wrap=True)
    if arguments.docs:
        rewrite(arguments.docs, "sagemaker", table(figures))


if __name__ == "__main__":
    main()
