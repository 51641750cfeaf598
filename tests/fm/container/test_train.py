"""Training jobs as SageMaker starts them: folders in, a model file and a log out."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import numpy
import pytest

from matinee.fm import artifact
from matinee.fm.training import evaluate
from matinee.recordio import encode
from tests.fm.container.processes import (
    CLASSIFIER,
    DEADLINE_SECONDS,
    REGRESSOR,
    Job,
    ratings,
    stars,
)

PREFIX = re.compile(r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d (INFO|WARNING|ERROR) \d+\] ")
RECORD = encode(ratings(1), stars(1))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def values(log: str, pattern: str) -> list[float]:
    return [float(value) for value in re.findall(pattern, log)]


def metrics(log: str) -> list[dict[str, Any]]:
    prefix = "#metrics "
    return [
        json.loads(line.removeprefix(prefix))
        for line in log.splitlines()
        if line.startswith(prefix)
    ]


def test_a_regressor_s_log_has_what_metric_definitions_scrape(job: Job) -> None:
    job.write_config("hyperparameters", {**REGRESSOR, "epochs": "2", "mini_batch_size": "5"})
    job.add("train", {"train.pbr": encode(ratings(12), stars(12))})
    job.add("test", {"test.pbr": encode(ratings(7), stars(7))})
    log = job.train()

    expected = evaluate(artifact.read(job.model), ratings(7), stars(7))
    host = r"#quality_metric: host=\S+,"
    for name in ("rmse", "mse", "absolute_loss"):
        # The patterns of the algorithm's metric definitions.
        epochs = values(log, rf"{host} epoch=\S+, train {name} <loss>=(\S+)")
        batches = values(log, rf"{host} epoch=\S+, batch=\S+ train {name} <loss>=(\S+)")
        assert len(epochs) == len(batches) == 2
        assert values(log, rf"{host} train {name} <loss>=(\S+)") == epochs[-1:]
        assert values(log, rf"{host} test {name} <loss>=(\S+)") == [expected[name]]
        assert f"#test_score (algo-1) : ('{name}', {expected[name]!r})" in log
    assert values(log, r"#progress_metric: host=\S+, completed (\S+) %") == [50.0, 100.0]
    throughputs = values(
        log, r"#throughput_metric: host=\S+, train throughput=(\S+) records/second"
    )
    assert len(throughputs) == 2
    assert min(throughputs) > 0


def test_a_classifier_s_metrics(tmp_path: Path) -> None:
    job = Job(tmp_path, CLASSIFIER)
    job.add("test", {"test.pbr": encode(ratings(7), stars(7) % 2)})
    log = job.train()
    expected = evaluate(artifact.read(job.model), ratings(7), stars(7) % 2)
    for name, kind in (
        ("binary_classification_accuracy", "score"),
        ("binary_classification_cross_entropy", "loss"),
        ("binary_f_1.000", "score"),
    ):
        pattern = rf"#quality_metric: host=\S+, test {name} <{kind}>=(\S+)"
        assert values(log, pattern) == [expected[name]]
        assert len(values(log, rf", epoch=\S+, train {name} <{kind}>=(\S+)")) == 1


def test_the_order_of_the_log(job: Job) -> None:
    job.add("test", {"test.pbr": RECORD})
    lines = job.train().splitlines()
    beginnings = (
        "Reading default configuration from",
        "Merging with provided configuration from",
        "Final configuration: {",
        "Checkpoint loading and saving are disabled.",
        "[Sparse network] Building a sparse network.",
        "#quality_metric: host=algo-1, epoch=0, batch=0 train rmse <loss>=",
        "#quality_metric: host=algo-1, epoch=0, train rmse <loss>=",
        "#quality_metric: host=algo-1, train rmse <loss>=",
        "#progress_metric: host=algo-1, completed 100.0 % of epochs",
        "#throughput_metric: host=algo-1, train throughput=",
        "#test_score (algo-1) : ('rmse', ",
        "#quality_metric: host=algo-1, test rmse <loss>=",
    )
    texts = [PREFIX.sub("", line) for line in lines]
    found = [
        next(index for index, text in enumerate(texts) if text.startswith(beginning))
        for beginning in beginnings
    ]
    assert found == sorted(found)
    assert all(line.startswith("#metrics ") or PREFIX.match(line) for line in lines)


def test_counters_and_times(job: Job) -> None:
    job.write_config("hyperparameters", {**REGRESSOR, "epochs": "2", "mini_batch_size": "4"})
    job.add("test", {"test.pbr": encode(ratings(7), stars(7))})
    lines = metrics(job.train())
    dimensions = {"Algorithm": "factorization-machines", "Host": "algo-1", "Operation": "training"}
    counters = [line for line in lines if "Meta" in line["Dimensions"]]
    assert [line["Dimensions"] for line in counters] == [
        dimensions | {"Meta": "init_train_data_iter"},
        dimensions | {"epoch": 0, "Meta": "training_data_iter"},
        dimensions | {"epoch": 1, "Meta": "training_data_iter"},
        dimensions | {"Meta": "test_data_iter"},
    ]
    # Ten records in batches of four, after a first look at one batch.
    for name, expected in (
        ("Total Records Seen", [4, 14, 24, 7]),
        ("Total Batches Seen", [1, 4, 7, 2]),
        ("Max Records Seen Between Resets", [4, 10, 10, 7]),
        ("Max Batches Seen Between Resets", [1, 3, 3, 2]),
        ("Reset Count", [1, 2, 3, 1]),
    ):
        assert [line["Metrics"][name]["sum"] for line in counters] == expected
    times = [list(line["Metrics"]) for line in lines if line not in counters]
    assert times == [
        ["initialize.time"],
        ["epochs", "update.time"],
        ["update.time"],
        ["finalize.time"],
        ["setuptime", "totaltime"],
    ]
    assert all(line["StartTime"] <= line["EndTime"] for line in lines)


def test_the_configuration_is_merged_over_the_defaults(job: Job) -> None:
    job.write_config(
        "hyperparameters", {**REGRESSOR, "bias_lr": "0.25", "_tuning_objective_metric": "test:rmse"}
    )
    log = job.train()
    final = next(line for line in log.splitlines() if "Final configuration: " in line)
    assert "'bias_lr': '0.25'" in final
    assert "'linear_lr': '0.001'" in final


def test_batch_metrics_come_at_every_interval(job: Job) -> None:
    job.write_config(
        "hyperparameters",
        {**REGRESSOR, "mini_batch_size": "2", "batch_metrics_publish_interval": "3"},
    )
    assert values(job.train(), r"epoch=0, batch=(\d+) train mse ") == [0, 3]


def test_dense_records_are_trained(job: Job) -> None:
    dense = ratings(10).toarray()
    job.add("train", {"train.pbr": encode(dense, stars(10))})
    assert "[Fully symbolic network] Building a fully symbolic network." in job.train()
    assert artifact.read(job.model).feature_dim == 6


def test_without_a_test_channel(job: Job) -> None:
    log = job.train()
    assert "Test data is not provided." in log
    assert "test rmse" not in log


def test_the_same_seed_gives_the_same_bytes(job: Job) -> None:
    job.train()
    first = job.model.read_bytes()
    job.train()
    assert job.model.read_bytes() == first
    job.environment["MATINEE_SEED"] = "8"
    job.train()
    assert job.model.read_bytes() != first


def test_a_run_without_a_seed_can_be_repeated(job: Job) -> None:
    del job.environment["MATINEE_SEED"]
    [seed] = re.findall(r"Random seed: (\d+)", job.train())
    first = job.model.read_bytes()
    job.environment["MATINEE_SEED"] = seed
    job.train()
    assert job.model.read_bytes() == first


@pytest.mark.parametrize("dense", [False, True], ids=["sparse", "dense"])
def test_files_of_a_channel_follow_each_other_in_sorted_order(job: Job, dense: bool) -> None:
    features = ratings(10).toarray() if dense else ratings(10)
    labels = stars(10)
    job.add("train", {"one.pbr": encode(features, labels)})
    job.train()
    whole = job.model.read_bytes()
    parts = {
        "b/part-1": encode(features[7:], labels[7:]),
        "a/part-2": encode(features[2:7], labels[2:7]),
        "a/part-1": encode(features[:2], labels[:2]),
        "empty": b"",
    }
    job.add("train", parts)
    job.train()
    assert job.model.read_bytes() == whole


def test_narrower_sparse_files_are_widened(job: Job) -> None:
    job.write_config("hyperparameters", {**REGRESSOR, "feature_dim": "9"})
    narrow, wide = ratings(5), ratings(5, width=8)
    job.add("train", {"a": encode(narrow, stars(5)), "b": encode(wide, stars(5))})
    job.train()
    assert artifact.read(job.model).feature_dim == 9


def test_what_a_channel_may_say(job: Job) -> None:
    job.add(
        "train",
        {"train.pbr": RECORD},
        ContentType="application/x-recordio-protobuf",
        TrainingInputMode="FastFile",
        CompressionType="None",
    )
    job.train()


def corrupt(data: bytes, at: int, octets: bytes) -> bytes:
    return data[:at] + octets + data[at + len(octets) :]


def with_value(value: float) -> bytes:
    features = ratings(3)
    features.data[4] = value
    return encode(features, stars(3))


def with_label(label: float) -> bytes:
    labels = numpy.array([0, 1, label], dtype=numpy.float32)
    return encode(ratings(3), labels)


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "channel 'train' has no records"),
        ({"empty": b""}, "channel 'train' has no records"),
        (
            {"a": RECORD, "b": RECORD + b"\0" * 8},
            f"channel 'train', file 'b': record 1 at byte {len(RECORD)}: "
            "bad magic 0x00000000, not 0xCED7230A",
        ),
        (
            {"a": RECORD[:-4]},
            "channel 'train', file 'a': record 0 at byte 0: truncated payload: ",
        ),
        (
            {"a": encode(ratings(3))},
            "channel 'train', file 'a': records have no label",
        ),
        (
            {"a": encode(ratings(3, width=8), stars(3))},
            "channel 'train', file 'a': sparse records are 8 wide but feature_dim is 6",
        ),
        (
            {"a": encode(ratings(3).toarray()[:, :5], stars(3))},
            "channel 'train', file 'a': dense records hold 5 values but feature_dim is 6",
        ),
        ({"a": with_value(numpy.nan)}, "feature 2 of record 2 is nan: values must be finite"),
        ({"a": with_value(-numpy.inf)}, "feature 2 of record 2 is -inf: values must be finite"),
        ({"a": with_label(numpy.nan)}, "label of record 2 is nan: labels must be finite"),
        (
            {"a": RECORD, "b": encode(ratings(1).toarray(), stars(1))},
            "channel 'train', file 'b': dense records in a channel of sparse ones",
        ),
    ],
)
def test_bad_data_is_named(job: Job, files: dict[str, bytes], problem: str) -> None:
    job.add("train", files)
    check_failure(job, "ClientError", problem)


def test_bad_test_data_ends_the_job_before_training(job: Job) -> None:
    job.add("test", {"a": corrupt(RECORD, 8, b"\xff")})
    log = check_failure(job, "ClientError", "channel 'test', file 'a': record 0 at byte 0: ")
    assert "epoch=" not in log


def test_a_classifier_s_labels_are_0_and_1(tmp_path: Path) -> None:
    job = Job(tmp_path, CLASSIFIER)
    job.add("train", {"a": with_label(2)})
    check_failure(job, "ClientError", "label of record 2 is 2.0: a binary_classifier needs labels")


@pytest.mark.parametrize(
    ("hyperparameters", "problem"),
    [
        (
            {"feature_dim": "6", "predictor_type": "regressor"},
            "No value(s) were specified for 'num_factors' which are required hyperparameter(s)",
        ),
        (
            {**REGRESSOR, "mini_batch_siz": "10"},
            "Additional properties are not allowed ('mini_batch_siz' was unexpected)",
        ),
        ({**REGRESSOR, "feature_dim": "abc"}, "'abc' is not valid for 'feature_dim'"),
        ({**REGRESSOR, "bias_lr": "nan"}, "'nan' is not valid for 'bias_lr'"),
    ],
)
def test_bad_hyperparameters_are_named(
    job: Job, hyperparameters: dict[str, str], problem: str
) -> None:
    job.write_config("hyperparameters", hyperparameters)
    check_failure(job, "ClientError", problem)
    assert job.failure.read_text().endswith("(caused by ValidationError)")


def test_diverging_training_leaves_no_model(job: Job) -> None:
    job.write_config("hyperparameters", {**REGRESSOR, "epochs": "9", "linear_lr": "1e38"})
    check_failure(job, "ClientError", "training diverged")


@pytest.mark.parametrize(
    ("configuration", "problem"),
    [
        ({"TrainingInputMode": "Tape"}, "TrainingInputMode 'Tape' isn't supported, only File"),
        ({"ContentType": "text/csv"}, "ContentType 'text/csv' isn't supported, only application/x"),
        ({"RecordWrapperType": "RecordIO"}, "RecordWrapperType 'RecordIO' isn't supported"),
        ({"CompressionType": "Zip"}, "CompressionType 'Zip' isn't supported"),
        ({"S3DistributionType": "Some"}, "S3DistributionType 'Some' isn't supported"),
    ],
)
def test_an_unsupported_channel_is_named(
    job: Job, configuration: dict[str, str], problem: str
) -> None:
    job.add("train", {"a": RECORD}, **configuration)
    check_failure(job, "ClientError", f"channel 'train': {problem}")


def test_channels_are_train_and_test(job: Job) -> None:
    job.add("validation", {"a": RECORD})
    check_failure(job, "ClientError", "channel 'validation' isn't known: only 'train' and 'test'")
    job.write_config("inputdataconfig", {"test": {}})
    check_failure(job, "ClientError", "the channel 'train' is required; the job has ['test']")


@pytest.mark.parametrize("host", ["algo-3", "algo-0", "main"])
def test_a_host_is_one_of_the_job_s(job: Job, host: str) -> None:
    hosts = ["algo-1", "algo-2"]
    job.write_config("resourceconfig", {"current_host": host, "hosts": hosts})
    check_failure(job, "AlgorithmError", f"resourceconfig.json: {'current_' * (host == 'algo-3')}")


def test_a_seed_must_be_a_natural_number(job: Job) -> None:
    job.environment["MATINEE_SEED"] = "-1"
    check_failure(job, "ClientError", "MATINEE_SEED must be a natural number")


def test_what_is_not_the_author_s_mistake_is_an_algorithm_error(job: Job) -> None:
    (job.base / "input/config/resourceconfig.json").write_text("{")
    check_failure(job, "AlgorithmError", "resourceconfig.json isn't JSON")


def test_a_long_reason_is_cut(job: Job) -> None:
    names = {f"unknown_hyperparameter_{number:03}": "1" for number in range(100)}
    job.write_config("hyperparameters", {**REGRESSOR, **names})
    status, _ = job.run()
    assert status == 1
    assert len(job.failure.read_text()) == 1024


def test_sigterm_ends_a_running_job(job: Job) -> None:
    job.write_config("hyperparameters", {**REGRESSOR, "epochs": "2147483647"})
    with job.start() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "epoch=0, train rmse" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM
    assert not job.model.exists()
    assert not job.failure.exists()


def check_failure(job: Job, kind: str, problem: str) -> str:
    """A job must fail for this reason, in the failure file and in the log, without a model."""
    status, log = job.run()
    assert status == 1, log
    reason = job.failure.read_text()
    assert reason.startswith(f"{kind}: ")
    assert problem in reason
    assert re.search(PREFIX.pattern + re.escape(reason), log)
    assert not job.model.exists()
    return log
