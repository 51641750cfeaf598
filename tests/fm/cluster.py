"""Hosts of a job as threads that are connected as processes would be, at addresses of their own."""

import itertools
import json
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from matinee.fm.container.network import Network, join

_Result = TypeVar("_Result")
# Tests of other processes have others.
_NETWORKS = itertools.count(random.Random(os.getpid()).randrange(1 << 14))  # noqa: S311


def addresses(count: int) -> dict[str, str]:
    """Addresses of this machine for a job's hosts, which no other job of a test has."""
    network = next(_NETWORKS) % (1 << 14)
    prefix = f"127.{128 + (network >> 7)}.{network & 127}"
    return {f"algo-{number}": f"{prefix}.{number}" for number in range(1, count + 1)}


def environment(hosts: dict[str, str], secret: str = "secret") -> dict[str, str]:  # noqa: S107
    return {"MATINEE_HOSTS": json.dumps(hosts), "MATINEE_JOB_SECRET": secret}


def on_hosts(count: int, work: Callable[[Network], _Result]) -> list[_Result]:
    """Call ``work`` on every host of a job; return what each answers, by rank."""
    hosts = addresses(count)

    def run(host: str) -> _Result:
        with join(host, list(hosts), environment(hosts), str, within=60) as network:
            return work(network)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, hosts))
