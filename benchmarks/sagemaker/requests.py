"""How soon servers start and answer: Describe, with many clients and many jobs stored."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import httpx

from benchmarks.sagemaker import load, servers
from benchmarks.sagemaker.figures import Figure
from benchmarks.sagemaker.servers import Place

STARTS = 5
CLIENTS = 200
# Storing more would take the peer minutes.
PEER_JOBS = 500
# Each client asks every two seconds, as the workflow's operators do.
POLLS_A_SECOND = CLIENTS / 2


def starting(place: Place) -> list[Figure]:
    """Measure process start to the first answer."""

    def matinee(number: int) -> float:
        with servers.matinee(place.folder / f"start-{number}", place) as server:
            return server.seconds

    def moto(python: Path) -> float:
        with servers.moto(python, place.folder) as server:
            return server.seconds

    ours = median(matinee(number) for number in range(STARTS))
    theirs = "" if place.moto is None else f"{median(moto(place.moto) for _ in range(STARTS)):.2f}"
    return [Figure("start to first answer, s", f"{ours:.2f}", theirs, "2")]


def describing(place: Place, *, jobs: int, count: int) -> list[Figure]:
    """Measure DescribeTrainingJob: polled by many clients, and as fast as it goes."""
    names = servers.fill(place.folder / "full", jobs)
    with servers.matinee(place.folder / "full", place) as server:
        ours = _describe(server.target, names, count)
    theirs = ("", "", "")
    if place.moto is not None:
        with servers.moto(place.moto, place.folder) as server:
            _create(server.target, names[:PEER_JOBS])
            theirs = _describe(server.target, names[:PEER_JOBS], count)
    what = f"DescribeTrainingJob, {jobs:,} jobs stored (moto: {PEER_JOBS})"
    clients = f"{CLIENTS} clients"
    labels = (
        (f"{what}, {clients} asking every 2 s: p50 / p99, ms", "p99 10"),
        (f"{what}, one client: mean, ms", ""),
        (f"{what}, {clients} without pause: answers a second", ""),
    )
    return [
        Figure(label, mine, peer, aim)
        for (label, aim), mine, peer in zip(labels, ours, theirs, strict=True)
    ]


def _describe(target: load.Target, names: Sequence[str], count: int) -> tuple[str, str, str]:
    asked = names[:: max(1, len(names) // 500)]
    requests = [
        load.json_request(target, "DescribeTrainingJob", {"TrainingJobName": name})
        for name in asked
    ]
    load.saturating(target, requests, count=200, connections=8)
    polled = load.steady(
        target, requests, rate=POLLS_A_SECOND, count=count // 10, connections=CLIENTS
    )
    alone = load.saturating(target, requests, count=count // 10, connections=1)
    flooded = load.saturating(target, requests, count=count // 2, connections=CLIENTS)
    for latencies in (polled, alone, flooded):
        if latencies.failures:
            raise RuntimeError(f"{latencies.failures} answers of {target.endpoint} say no")
    one = 1000 / alone.rate
    return (
        f"{polled.quantile(50):.1f} / {polled.quantile(99):.1f}",
        f"{one:.1f}",
        f"{flooded.rate:.0f}",
    )


def _create(target: load.Target, names: Sequence[str]) -> None:
    """Make a peer store as many jobs, one after the other: it has no file to prepare."""
    with httpx.Client(trust_env=False) as client:
        for name in names:
            raw = load.json_request(target, "CreateTrainingJob", servers.training_job(name))
            head, _, body = raw.partition(b"\r\n\r\n")
            lines = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
            client.post(target.endpoint, content=body, headers=dict(lines)).raise_for_status()
