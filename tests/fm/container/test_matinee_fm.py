"""Training jobs of matinee-fm: solvers, the channels validation and model, and what is refused."""

import re
from pathlib import Path

import numpy
import pytest

from matinee.fm import artifact
from matinee.fm.metrics import METRICS
from matinee.fm.training import evaluate
from matinee.recordio import encode
from tests.fm.container.processes import CLASSIFIER, REGRESSOR, Job, ratings, serving, stars
from tests.fm.container.test_train import check_failure, metrics, values

SOLVERS = {
    "adam": {"solver": "adam", "num_factors": "2", "epochs": "3"},
    "sgd": {"solver": "sgd", "num_factors": "2", "epochs": "3", "num_models": "1"},
    "mcmc": {"solver": "mcmc", "num_factors": "2", "epochs": "3", "burn_in": "1"},
}
REQUIRED = {"feature_dim": "6", "predictor_type": "regressor"}


def make(base: Path, solver: str, **changes: str) -> Job:
    return Job(base, {**REQUIRED, **SOLVERS[solver], **changes}, "matinee-fm")


@pytest.mark.parametrize("predictor_type", METRICS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_s_log_has_what_metric_definitions_scrape(
    tmp_path: Path, solver: str, predictor_type: str
) -> None:
    job = make(tmp_path, solver, predictor_type=predictor_type)
    for channel, rows in (("test", 7), ("validation", 5)):
        job.add(channel, {"part": encode(ratings(rows), stars(rows) % 2)})
    log = job.train()

    model = artifact.read(job.model)
    host = r"#quality_metric: host=\S+,"
    for metric in METRICS[model.predictor_type]:
        value = rf"{metric.name} <{metric.kind}>=(\S+)"
        of_epochs = values(log, rf"{host} epoch=\S+, train {value}")
        assert len(of_epochs) == 3
        assert values(log, rf"{host} train {value}") == of_epochs[-1:]
        assert len(values(log, rf"{host} epoch=\S+, validation {value}")) == 3
        for channel, rows in (("test", 7), ("validation", 5)):
            expected = evaluate(model, ratings(rows), stars(rows) % 2)[metric.name]
            assert values(log, rf"{host} {channel} {value}") == [expected]
            assert f"#{channel}_score (algo-1) : ('{metric.name}', {expected!r})" in log
    completed = values(log, r"#progress_metric: host=\S+, completed (\S+) %")
    assert completed == pytest.approx([100 / 3, 200 / 3, 100])
    throughput = r"#throughput_metric: host=\S+, train throughput=(\S+) records/second"
    assert len(values(log, throughput)) == 3
    assert {line["Dimensions"]["Algorithm"] for line in metrics(log)} == {"matinee-fm"}


def test_adam_trains_as_the_strict_algorithm_does(tmp_path: Path) -> None:
    given = {**REGRESSOR, "epochs": "2", "mini_batch_size": "4"}
    strict, other = Job(tmp_path / "strict", given), make(tmp_path / "other", "adam", **given)
    strict.train()
    other.train()

    assert other.model.read_bytes() == strict.model.read_bytes()


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, solver: str) -> None:
    job = make(tmp_path, solver, seed="5")
    assert "Random seed: 5" in job.train()
    first = job.model.read_bytes()
    # The hyperparameter is the job's own; the environment belongs to whoever runs it.
    job.environment["MATINEE_SEED"] = "8"
    job.train()
    assert job.model.read_bytes() == first
    job.write_config("hyperparameters", {**REQUIRED, **SOLVERS[solver]})
    job.train()
    assert job.model.read_bytes() != first


def test_the_defaults_are_the_solver_s(tmp_path: Path) -> None:
    final = re.search(r"Final configuration: (.*)", make(tmp_path, "mcmc").train())
    assert final is not None
    assert "'num_samples': '" in final[1]
    assert "mini_batch_size" not in final[1]


def test_training_stops_early(tmp_path: Path) -> None:
    job = make(tmp_path, "adam", epochs="200", patience="3", bias_lr="1.0")
    # What is held out is far below what is learned, so the loss soon rises.
    job.add("validation", {"part": encode(ratings(10), stars(10) * 0)})
    log = job.train()
    losses = values(log, r"epoch=\S+, validation rmse <loss>=(\S+)")
    assert len(losses) < 200
    assert losses.index(min(losses)) == len(losses) - 4
    assert f"Training stopped early, after {len(losses)} epochs" in log
    assert values(log, r"host=\S+, validation rmse <loss>=(\S+)") == [min(losses)]
    of_epochs = values(log, r"epoch=\S+, train rmse <loss>=(\S+)")
    assert values(log, r"host=\S+, train rmse <loss>=(\S+)") == of_epochs[-1:]


def test_training_starts_from_a_model(tmp_path: Path) -> None:
    first = make(tmp_path / "first", "mcmc", artifact_factors="4")
    first.train()
    still = make(tmp_path / "still", "adam", num_factors="4", _learning_rate="0")
    content = {"model.tar.gz": first.model.read_bytes()}
    still.add("model", content, ContentType="application/x-sagemaker-model")
    still.train()

    start, end = (artifact.read(job.model) for job in (first, still))
    assert start.num_factors == 4
    numpy.testing.assert_array_equal(start.factors, end.factors)
    numpy.testing.assert_array_equal(start.linear, end.linear)


@pytest.mark.parametrize("solver", SOLVERS)
def test_both_algorithms_serve_each_other_s_models(tmp_path: Path, solver: str) -> None:
    job = make(tmp_path, solver)
    job.train()
    with serving(job.base) as client:
        answer = client.post(
            "/invocations",
            content=encode(ratings(3)),
            headers={"Content-Type": "application/x-recordio-protobuf"},
        )
    scores = [prediction["score"] for prediction in answer.json()["predictions"]]
    expected = artifact.read(job.model).predict(ratings(3))
    numpy.testing.assert_array_equal(numpy.array(scores, dtype=numpy.float32), expected)


@pytest.mark.parametrize(
    ("hyperparameters", "problem"),
    [
        ({"predictor_type": "regressor"}, "No value(s) were specified for 'feature_dim' which are"),
        ({**REQUIRED, "solver": "als"}, "'als' is not valid for 'solver'"),
        ({**REQUIRED, "bias_lr": "1"}, "'bias_lr' is not a hyperparameter of solver 'mcmc'"),
        ({**REQUIRED, "field_dims": "3,4"}, "'field_dims' add up to 7 but 'feature_dim' is 6"),
        ({**REQUIRED, "epochs": "5", "burn_in": "5"}, "'burn_in' is 5: it must be below 'epochs'"),
        ({**REQUIRED, "threads": "4096"}, "threads is 4096: it must be 1 or more, and at most "),
        ({**REQUIRED, "patience": "3"}, "'patience' needs the channel 'validation' to stop by"),
    ],
)
def test_bad_hyperparameters_are_named(
    tmp_path: Path, hyperparameters: dict[str, str], problem: str
) -> None:
    job = Job(tmp_path, hyperparameters, "matinee-fm")
    check_failure(job, "ClientError", problem)
    assert job.failure.read_text().endswith("(caused by ValidationError)")


def test_the_strict_algorithm_has_no_solvers(tmp_path: Path) -> None:
    job = Job(tmp_path, {**REGRESSOR, "solver": "adam", "seed": "1"})
    check_failure(job, "ClientError", "('seed', 'solver' were unexpected)")


def test_channels_that_are_not_known(tmp_path: Path) -> None:
    job = make(tmp_path, "adam")
    job.add("valid", {"part": b""})
    known = "only 'train' and 'test' and 'validation' and 'model' are"
    check_failure(job, "ClientError", f"channel 'valid' isn't known: {known}")


@pytest.mark.parametrize(
    ("files", "configuration", "problem"),
    [
        ({}, {}, "channel 'model' must hold one model.tar.gz, but has []"),
        ({"a": b"1", "b": b"2"}, {}, "must hold one model.tar.gz, but has ['a', 'b']"),
        ({"model.tar.gz": b"no model"}, {}, "neither a ZIP nor a gzipped tar file"),
        (
            {"a": b"1"},
            {"ContentType": "application/x-recordio-protobuf"},
            "channel 'model': ContentType 'application/x-recordio-protobuf' isn't supported",
        ),
    ],
)
def test_a_bad_model_channel_is_named(
    tmp_path: Path, files: dict[str, bytes], configuration: dict[str, str], problem: str
) -> None:
    job = make(tmp_path, "adam")
    job.add("model", files, **configuration)
    check_failure(job, "ClientError", problem)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (CLASSIFIER, "is a regressor of 6 features, not a binary_classifier of 6"),
        ({"feature_dim": "7"}, "is a regressor of 6 features, not a regressor of 7"),
    ],
)
def test_a_model_of_something_else_is_refused(
    tmp_path: Path, changes: dict[str, str], problem: str
) -> None:
    first = make(tmp_path / "first", "adam")
    first.train()
    job = make(tmp_path / "second", "sgd", **changes)
    job.add("model", {"model_algo-1": first.model.read_bytes()})
    check_failure(job, "ClientError", f"the model to start from {problem}")
