"""Fail the n-th write of the store, or the n-th request to S3, for every n of a short scenario.

``python -m tests.faults.sweep`` runs all of it and says how many n there were. After each one every
promise must hold: a job that was acknowledged ends, Completed has its artifact, Failed its reason.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tests.conftest import ObjectStore
from tests.faults.clients import Clients
from tests.faults.failing import Fault
from tests.faults.ledger import Entry
from tests.faults.proxy import FAULTS, FailingS3, failing_s3
from tests.faults.servers import FaultServer, object_store_running
from tests.sagemaker.jobs.conftest import Jobs, channel, until

# So many are more than any scenario has.
MOST = 400


@dataclass
class Sweep:
    """One server with its faults, and the scenarios.

    Attributes
    ----------
    violations
        Promises that were broken.
    counts
        How many n there were.
    """

    clients: Clients
    fault: Fault
    s3: FailingS3
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def violations(self) -> list[str]:
        return self.clients.ledger.violations

    # Scenarios: make a job, and note what must be so in the end

    def train(self) -> None:
        jobs, name = self.clients.jobs, self.clients.jobs.new_name("train")
        request = jobs.training_request(name, write_output="notes")
        request["InputDataConfig"] = [channel("train", jobs.uri("data/"))]
        entry = Entry("training", name, self.clients.has_model, disturbed=True)
        self._create(entry, lambda: jobs.sagemaker.create_training_job(**request))

    def tune(self) -> None:
        jobs, name = self.clients.jobs, self.clients.jobs.new_name("tune")
        limits = {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1}
        request = jobs.tuning_request(name, Strategy="Random", ResourceLimits=limits)
        entry = Entry("tuning", name, self._has_two_trials, disturbed=True)
        create = jobs.sagemaker.create_hyper_parameter_tuning_job
        self._create(entry, lambda: create(**request))

    def _has_two_trials(self, description: dict[str, Any]) -> None:
        children = self.clients.jobs.children(description["HyperParameterTuningJobName"])
        numbers = sorted(child["TrainingJobName"].split("-")[-2] for child in children)
        assert numbers == ["001", "002"], numbers
        for child in children:
            runs = self.clients.jobs.log_lines(child["TrainingJobName"]).count("waiting")
            assert runs <= 1, f"{child['TrainingJobName']} was run {runs} times"

    def transform(self) -> None:
        jobs, name = self.clients.jobs, self.clients.jobs.new_name("transform")
        request = jobs.transform_request(name, self.clients.models[0])
        request["TransformOutput"] = {"S3OutputPath": jobs.uri(f"out-{name}")}
        entry = Entry("transform", name, self.clients.has_outputs, disturbed=True)
        self._create(entry, lambda: jobs.sagemaker.create_transform_job(**request))

    def process(self) -> None:
        jobs, name = self.clients.jobs, self.clients.jobs.new_name("process")
        request = self.clients.processing_request(name)
        entry = Entry("processing", name, self.clients.has_result, disturbed=True)
        self._create(entry, lambda: jobs.sagemaker.create_processing_job(**request))

    def _create(self, entry: Entry, call: Callable[[], object]) -> None:
        self.clients.ledger.entries.append(entry)
        try:
            call()
        except ClientError as error:
            # A create that fails leaves nothing; it says so and is not acknowledged.
            if "disk is full" not in error.response["Error"]["Message"]:
                self.violations.append(f"create {entry.kind} {entry.name}: {error}")
        else:
            entry.acknowledged = True

    # The sweeps

    def writes(self, scenario: Callable[[], None], *, count: int = 1) -> int:
        """Fail every write in turn; return how many there were."""
        for number in range(1, MOST):
            self.fault.arm(number, count)
            if not self._run(scenario, self.fault.disarm, f"write {number}"):
                return self._counted(f"writes of {scenario.__name__}", number - 1)
        raise AssertionError("the scenario has no end")

    def requests(self, scenario: Callable[[], None], kind: str, *, count: int = 1) -> int:
        """Fail every request to S3 in turn; return how many there were."""
        for number in range(1, MOST):
            self.s3.arm(kind, number, count)
            if not self._run(scenario, self.s3.disarm, f"{kind} at request {number}"):
                return self._counted(f"{kind}: requests of {scenario.__name__}", number - 1)
        raise AssertionError("the scenario has no end")

    def _counted(self, what: str, number: int) -> int:
        self.counts[what] = number
        print(f"{what}: {number}, {len(self.violations)} promises broken", flush=True)
        return number

    def _run(self, scenario: Callable[[], None], disarm: Callable[[], bool], what: str) -> bool:
        before, ledger = len(self.violations), self.clients.ledger
        ledger.entries = []
        scenario()
        (entry,) = ledger.entries

        def is_over() -> bool:
            ledger.look(entry)
            return entry.is_over or not entry.exists

        try:
            until(is_over, 90.0)
        except AssertionError:
            ledger.violated(f"{entry.kind} {entry.name} does not end: {entry.last}")
        struck = disarm()
        if entry.exists:
            ledger.judge(entry)
            if not struck and entry.status != "Completed":
                ledger.violated(f"nothing failed, and {entry.name} is {entry.last}")
        for number in range(before, len(self.violations)):
            self.violations[number] = f"{what}: {self.violations[number]}"
            print(self.violations[number], flush=True)
        return struck


@contextmanager
def sweeping(folder: Path, object_store: ObjectStore) -> Iterator[Sweep]:
    """Run a server whose store and S3 fail when told to."""
    with failing_s3(object_store.endpoint) as s3:
        server = FaultServer(folder, object_store, s3.endpoint, program="tests.faults.failing")
        jobs = Jobs(server, object_store, "matinee")
        try:
            server.start()
            clients = Clients(jobs, object_store.session, folder / "gate")
            clients.settle()
            yield Sweep(clients, Fault(server.state), s3)
            clients.close()
        finally:
            jobs.close()
            server.close()


def main(words: list[str]) -> int:
    """Run every sweep and print what was found."""
    argparse.ArgumentParser(prog="python -m tests.faults.sweep", description=__doc__).parse_args(
        words
    )
    with tempfile.TemporaryDirectory(prefix="matinee-sweep-") as name:
        places = [Path(name, part) for part in ("s3", "server")]
        for place in places:
            place.mkdir()
        with object_store_running(places[0]) as store, sweeping(places[1], store) as sweep:
            for scenario in (sweep.train, sweep.tune, sweep.transform, sweep.process):
                sweep.writes(scenario)
            for scenario in (sweep.train, sweep.transform, sweep.process):
                for kind in FAULTS:
                    sweep.requests(scenario, kind)
            violations = list(sweep.violations)
    print(f"{len(violations)} promises broken", *violations, sep="\n")
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
