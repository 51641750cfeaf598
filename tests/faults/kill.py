"""Kill the server, again and again, while clients use it: ``python -m tests.faults.kill``.

Each round, several clients act at once, the server is killed at a moment of the round's dice (and
sometimes a job's process, and sometimes the next server while it starts), a new one is started and
every promise is checked. A broken one is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ObjectStore
from tests.faults.clients import Clients
from tests.faults.servers import FaultServer, object_store_running
from tests.sagemaker import postgresql
from tests.sagemaker.jobs.conftest import Jobs, until

CLIENTS = 4


@dataclass
class Report:
    """What was done and what was found."""

    rounds: int = 0
    kills: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    slowest_start: float = 0.0

    def __str__(self) -> str:
        seen = ", ".join(f"{count} {what}" for what, count in sorted(self.outcomes.items()))
        found = "\n  ".join(["", *self.violations])
        return (
            f"{self.rounds} rounds, {self.kills} servers killed, slowest start "
            f"{self.slowest_start:.1f} s; {seen}\n{len(self.violations)} promises broken{found}"
        )


class Killer:
    """Runs the rounds.

    Parameters
    ----------
    server
        Is running.
    clients
        Use it.
    report
        Gets what happens.
    """

    def __init__(self, server: FaultServer, clients: Clients, report: Report) -> None:
        self._server = server
        self._clients = clients
        self._report = report

    def round(self, dice: random.Random) -> None:
        """Let the clients act until the server dies, start another one and check everything."""
        over = threading.Event()
        threads = [
            threading.Thread(target=self._act, args=(random.Random(dice.random()), over))  # noqa: S311 - dice
            for _ in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(dice.uniform(0.0, 2.0))
        if dice.random() < 0.3 and (killed := self._clients.kill_some_process(dice)):
            self._report.outcomes[f"killed an {killed.partition(' ')[0]}"] += 1
        self._kill(signal.SIGTERM if dice.random() < 0.1 else signal.SIGKILL)
        # The clients find nobody there for a while.
        over.set()
        for thread in threads:
            thread.join()
        while dice.random() < 0.3:
            self._server.spawn()
            time.sleep(dice.uniform(0.2, 2.0))
            self._kill(signal.SIGKILL)
        began = time.monotonic()
        self._server.start()
        self._report.slowest_start = max(self._report.slowest_start, time.monotonic() - began)
        self._clients.settle()
        self._report.rounds += 1

    def _act(self, dice: random.Random, over: threading.Event) -> None:
        try:
            while not over.is_set():
                self._clients.act(dice)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            self._clients.ledger.violated(f"a client broke: {type(error).__name__}: {error}")

    def _kill(self, number: int) -> None:
        if self._server.is_running:
            self._server.end(number)
            self._report.kills += 1

    def finish(self) -> None:
        """End everything in order, and look for what is left."""
        self._clients.take_down()
        self._server.end(signal.SIGTERM)
        try:
            until(lambda: not self._server.strays(), 20.0)
        except AssertionError:
            for process in self._server.strays():
                self._clients.ledger.violated(f"left running: {process}")


def run(
    folder: Path, object_store: ObjectStore, rounds: int, seed: int, database: str = ""
) -> Report:
    """Run so many rounds on a folder and return what happened."""
    report = Report()
    words = [f"--database={database}"] if database else []
    server = FaultServer(folder, object_store, object_store.endpoint, words)
    jobs = Jobs(server, object_store, "matinee")
    try:
        server.start()
        clients = Clients(jobs, object_store.session, folder / "gate")
        report.violations = clients.ledger.violations
        killer = Killer(server, clients, report)
        clients.settle()
        dice = random.Random(seed)  # noqa: S311 - no secret
        for number in range(rounds):
            before = len(report.violations)
            killer.round(dice)
            for words_found in report.violations[before:]:
                print(f"round {number}: {words_found}", flush=True)
            if number % 10 == 9:
                print(f"{time.strftime('%H:%M:%S')} {number + 1} rounds", flush=True)
        killer.finish()
        report.outcomes += clients.ledger.outcomes
        clients.close()
    finally:
        jobs.close()
        server.close()
    for line in server.log.splitlines():
        # A driver that broke, or an operation that failed, is a finding of its own.
        if " ERROR " in line:
            report.outcomes["errors in the log"] += 1
    return report


def main(words: list[str]) -> int:
    """Run the rounds and print the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.kill", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database", default="", help="SQLAlchemy URL; postgresql: an own one")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    arguments = parser.parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="matinee-kill-"))
    print(f"seed {arguments.seed}, {folder}", flush=True)
    with ExitStack() as stack:
        store: Any = stack.enter_context(object_store_running(_made(folder / "s3")))
        database = arguments.database
        if database == "postgresql":
            server = stack.enter_context(postgresql.running(_made(folder / "postgresql")))
            database = server.new_database()
        place = _made(folder / "server")
        report = run(place, store, arguments.rounds, arguments.seed, database)
    print(report)
    if report.violations or arguments.keep:
        print(f"the state is kept in {folder}")
        return int(bool(report.violations))
    shutil.rmtree(folder)
    return 0


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
