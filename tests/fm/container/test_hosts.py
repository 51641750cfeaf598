"""Training jobs of several hosts, each a process with a folder of its own."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest

from matinee.fm import artifact
from matinee.fm.training import evaluate
from matinee.recordio import encode
from tests.fm.cluster import addresses, environment
from tests.fm.container.processes import REGRESSOR, Job, ratings, stars

SHARDED = {"S3DistributionType": "ShardedByS3Key"}


class Cluster:
    """A job's hosts, with the records dealt out among them."""

    def __init__(self, base: Path, count: int, algorithm: str = "factorization-machines") -> None:
        hosts = addresses(count)
        self.jobs = [Job(base / host, algorithm=algorithm) for host in hosts]
        for job, host in zip(self.jobs, hosts, strict=True):
            # In whatever order they are listed, algo-1 is the first.
            resources = {"current_host": host, "hosts": list(reversed(hosts))}
            job.write_config("resourceconfig", resources)
            job.environment |= environment(hosts)

    def configure(self, **hyperparameters: str) -> None:
        for job in self.jobs:
            job.write_config("hyperparameters", {**REGRESSOR, **hyperparameters})

    def deal(self, channel: str, features: Any, labels: Any) -> None:
        for rank, job in enumerate(self.jobs):
            part = slice(rank, None, len(self.jobs))
            job.add(channel, {"part": encode(features[part], labels[part])}, **SHARDED)

    def run(self) -> tuple[list[int], list[str]]:
        """Run all hosts; give their exit statuses and logs."""
        with ThreadPoolExecutor(len(self.jobs)) as threads:
            results = list(threads.map(Job.run, self.jobs))
        return [status for status, _ in results], [log for _, log in results]

    def train(self) -> list[str]:
        statuses, logs = self.run()
        assert statuses == [0] * len(self.jobs), "\n".join(logs)
        return logs

    def failures(self) -> list[str]:
        """Run all hosts, which must all fail; give their reasons."""
        statuses, logs = self.run()
        assert statuses == [1] * len(self.jobs), "\n".join(logs)
        assert not any(job.model.exists() for job in self.jobs)
        return [job.failure.read_text() for job in self.jobs]


@pytest.fixture
def pair(tmp_path: Path) -> Cluster:
    cluster = Cluster(tmp_path, 2)
    cluster.configure(epochs="2", mini_batch_size="4")
    cluster.deal("train", ratings(16), stars(16))
    return cluster


def scores(log: str, what: str) -> list[float]:
    found = re.findall(rf"#quality_metric: host=\S+, {what} rmse <loss>=(\S+)", log)
    return [float(value) for value in found]


def test_hosts_train_one_model_on_all_records(pair: Cluster, tmp_path: Path) -> None:
    pair.deal("test", ratings(9), stars(9))
    first, second = pair.train()

    model = artifact.read(pair.jobs[0].model)
    alone = Job(tmp_path / "alone", {**REGRESSOR, "epochs": "2", "mini_batch_size": "8"})
    alone.add("train", {"train.pbr": encode(ratings(16), stars(16))})
    alone.train()
    expected = artifact.read(alone.model).predict(ratings(9))
    numpy.testing.assert_allclose(model.predict(ratings(9)), expected, rtol=1e-4, atol=1e-5)

    assert list(pair.jobs[1].base.glob("model*/*")) == []
    measured = evaluate(model, ratings(9), stars(9))["rmse"]
    assert scores(first, "test") == [pytest.approx(measured)]
    assert scores(second, "test") == []
    for host, log in (("algo-1", first), ("algo-2", second)):
        assert len(scores(log, r"epoch=\S+, train")) == 2
        assert f"#quality_metric: host={host}, epoch=0, batch=0 train rmse" in log
        assert f'"Host": "{host}"' in log
        assert f"host={host}, completed 100.0 % of epochs" in log


def test_the_same_seed_gives_the_same_bytes(pair: Cluster) -> None:
    # The first host's seed is that of all.
    pair.jobs[1].environment["MATINEE_SEED"] = "8"
    pair.train()
    first = pair.jobs[0].model.read_bytes()
    pair.train()
    assert pair.jobs[0].model.read_bytes() == first


def test_records_that_all_hosts_have_are_measured_once(pair: Cluster) -> None:
    for job in pair.jobs:
        job.add("test", {"test.pbr": encode(ratings(9), stars(9))})
    first, _ = pair.train()
    model = artifact.read(pair.jobs[0].model)
    assert scores(first, "test") == [evaluate(model, ratings(9), stars(9))["rmse"]]
    counters = re.search(r'"test_data_iter"}, "Metrics": {"Total Records Seen": {"sum": 9.0', first)
    assert counters


def test_a_host_may_have_no_records(pair: Cluster) -> None:
    pair.jobs[1].add("train", {}, **SHARDED)
    first, second = pair.train()
    assert len(scores(first, r"epoch=\S+, train")) == 2
    assert scores(second, r"epoch=\S+, train") == []


def test_one_of_the_hosts_has_records(pair: Cluster) -> None:
    for job in pair.jobs:
        job.add("train", {}, **SHARDED)
    reason = "channel 'train' has no records on any host"
    assert all(reason in failure for failure in pair.failures())


def test_bad_data_on_one_host_end_all_with_the_reason(pair: Cluster) -> None:
    pair.jobs[1].add("train", {"part": b"bad magic"}, **SHARDED)
    first, second = pair.failures()
    reason = "channel 'train', file 'part': record 0 at byte 0: bad magic"
    assert second.startswith(f"ClientError: {reason}")
    assert first.startswith(f"ClientError: host 'algo-2' has failed: {reason}")


def test_a_host_that_dies_is_named(pair: Cluster) -> None:
    pair.configure(epochs="2147483647")
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(pair.jobs[0].run)
        with pair.jobs[1].start() as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "epoch=0, train rmse" in line:
                    break
            process.kill()
            process.communicate()
        assert first.result()[0] == 1
    failure = pair.jobs[0].failure.read_text()
    assert failure.startswith("AlgorithmError: host 'algo-2' was lost: ")


@pytest.mark.parametrize("solver", ["sgd", "mcmc"])
def test_other_solvers_train_on_one_host(tmp_path: Path, solver: str) -> None:
    cluster = Cluster(tmp_path, 2, "matinee-fm")
    for job in cluster.jobs:
        given = {"feature_dim": "6", "predictor_type": "regressor", "solver": solver}
        job.write_config("hyperparameters", given)
    reason = "ClientError: only the solver 'adam' trains on several hosts: InstanceCount must be 1"
    assert all(failure.startswith(reason) for failure in cluster.failures())


def test_matinee_fm_stops_early_on_all_hosts(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 3, "matinee-fm")
    settings = {"solver": "adam", "epochs": "40", "mini_batch_size": "4", "patience": "1"}
    cluster.configure(**settings, factors_lr="0.3")
    cluster.deal("train", ratings(30), stars(30))
    cluster.deal("validation", ratings(9), 6 - stars(9))
    logs = cluster.train()
    epochs = [len(scores(log, r"epoch=\S+, train")) for log in logs]
    assert len(set(epochs)) == 1
    assert epochs[0] < 40
    assert "Training stopped early" in logs[2]
