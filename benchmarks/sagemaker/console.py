"""How soon the console's pages are there when many jobs are stored, without moto, which has none.

python -m benchmarks.sagemaker.console           a minute
"""

import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import httpx

from benchmarks.sagemaker import servers
from benchmarks.sagemaker.figures import Figure, table
from benchmarks.sagemaker.servers import Place

JOBS = 10_000
REPEATS = 30
_PAGES = {
    "newest page": "training-jobs",
    "by status": "training-jobs?status=Completed",
    "by a part of the name that 10 have": "training-jobs?name=stored-0500",
    "by a name that none has": "training-jobs?name=absent",
    "overview": "",
    "a job's page": "training-jobs/stored-05000",
}


def browsing(place: Place, *, jobs: int) -> list[Figure]:
    """Measure the console's pages, each asked for many times."""
    folder = place.folder / "console"
    servers.fill(folder, jobs)
    with servers.matinee(folder, place) as server, httpx.Client(trust_env=False) as client:
        console = f"{server.target.endpoint}/console"
        token = servers.console_token(folder)
        client.get(f"{console}/sign-in", params={"token": token})
        return [
            Figure(
                f"console, {jobs:,} jobs stored: {what}, p50 / p95, ms",
                _times(client, f"{console}/{path}"),
                "",
                "",
            )
            for what, path in _PAGES.items()
        ]


def _times(client: httpx.Client, address: str) -> str:
    found = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        client.get(address).raise_for_status()
        found.append(1000 * (time.perf_counter() - began))
    # The first compiles the template.
    return f"{median(found[1:]):.0f} / {quantiles(found[1:], n=20)[-1]:.0f}"


def main() -> None:
    with tempfile.TemporaryDirectory() as name, servers.object_store(Path(name)) as (s3, keys):
        print(table(browsing(Place(Path(name), keys, s3.address, None), jobs=JOBS)))


if __name__ == "__main__":
    main()
