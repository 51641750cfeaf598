"""Gibbs sampling finds what is in the data, knows its uncertainty, and repeats itself exactly."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from matinee.fm.errors import DataError, DivergedError, HyperparameterError
from matinee.fm.mcmc import McmcSettings, train_mcmc
from matinee.fm.model import Model
from matinee.fm.posterior import Posterior
from tests.fm.observers import EpochLog

SETTINGS = McmcSettings(num_factors=4, epochs=40, burn_in=10)
CLASSIFIER = replace(SETTINGS, predictor_type="binary_classifier")
TWO_THREADS = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")

Data = tuple[scipy.sparse.csr_matrix, NDArray[np.float32]]


def outputs_of(user: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.float64]:
    """What 60 users think of 30 items, by two hidden factors."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(60, 2)), rng.normal(size=(30, 2))
    return np.asarray((users[user] * items[item]).sum(axis=1))


def ratings(seed: int, n: int = 3000, noise: float = 0.5) -> Data:
    """Pairs of one-hot features, and labels around 3."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(60, size=n), rng.integers(30, size=n)
    keys = np.stack([user, item + 60], axis=1).ravel()
    rows = scipy.sparse.csr_matrix((np.ones(2 * n), keys, np.arange(n + 1) * 2), (n, 90))
    labels = 3 + outputs_of(user, item) + noise * rng.normal(size=n)
    return rows, labels.astype(np.float32)


def with_side_features(data: Data) -> Data:
    """The same with a kind of user, decided by the user, and a number of the record's own."""
    rows, labels = data
    n = len(labels)
    kind = np.eye(3)[rows.indices[::2] % 3]
    number = np.random.default_rng(n).normal(size=(n, 1))
    more = scipy.sparse.csr_matrix(np.hstack([kind, number]))
    return scipy.sparse.hstack([rows, more], format="csr"), labels + 2 * number[:, 0].astype("f4")


SIDE_FIELDS = (60, 30, 3, 1)


def train(settings: McmcSettings, data: Data, seed: int = 0, **more: Any) -> Posterior:
    return train_mcmc(settings, *data, np.random.default_rng(seed), **more)


def rmse(posterior: Posterior, data: Data) -> float:
    return float(np.sqrt(np.mean(np.square(posterior.predict(data[0]) - data[1]))))


def contents(posterior: Posterior) -> list[bytes]:
    return [
        part
        for model in (posterior.model, *posterior.samples)
        for part in (repr(model.bias).encode(), model.linear.tobytes(), model.factors.tobytes())
    ]


def test_pairs_are_predicted_as_well_as_noise_allows() -> None:
    posterior = train(SETTINGS, ratings(1))
    assert rmse(posterior, ratings(2)) < 0.55  # the noise is 0.5


def test_side_features_are_used() -> None:
    settings = replace(SETTINGS, field_dims=SIDE_FIELDS)
    posterior = train(settings, with_side_features(ratings(1)))
    assert rmse(posterior, with_side_features(ratings(2, n=2999))) < 0.57


def test_dense_records_are_those_of_their_numbers() -> None:
    rows, labels = with_side_features(ratings(1, n=300))
    settings = replace(SETTINGS, field_dims=SIDE_FIELDS, epochs=12)
    sparse = train(settings, (rows, labels))
    dense = train(settings, (rows.toarray().astype(np.float32), labels))
    assert contents(sparse) == contents(dense)


def test_the_noise_that_is_left_is_reported() -> None:
    log = EpochLog()
    train(SETTINGS, ratings(1), observer=log)
    assert [result.epoch for result in log.epochs] == list(range(40))
    last = log.epochs[-1]
    assert (last.records, last.batches, last.validation) == (3000, 1, None)
    assert last.metrics["rmse"] == pytest.approx(0.5, abs=0.04)
    assert last.metrics["mse"] == pytest.approx(last.metrics["rmse"] ** 2)
    # Of normal errors the mean absolute value is sqrt(2 / pi) standard deviations.
    assert last.metrics["absolute_loss"] == pytest.approx(0.8 * last.metrics["rmse"], rel=0.03)


def test_deviations_say_how_wrong_predictions_are() -> None:
    posterior = train(replace(SETTINGS, epochs=110, num_samples=50), ratings(1))
    rng = np.random.default_rng(5)
    user, item = rng.integers(60, size=2000), rng.integers(30, size=2000)
    keys = np.stack([user, item + 60], axis=1).ravel()
    rows = scipy.sparse.csr_matrix((np.ones(4000), keys, np.arange(2001) * 2), (2000, 90))
    errors = posterior.predict(rows) - 3 - outputs_of(user, item)
    deviations = posterior.predict_std(rows)
    assert np.sqrt(np.mean(np.square(errors / deviations))) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("side", [False, True])
def test_probabilities_are_those_of_the_data(side: bool) -> None:
    """Labels come from a probit model, through whose distribution function outputs must go."""
    settings, data, quiet = CLASSIFIER, ratings(1, n=12_000, noise=1), ratings(1, 12_000, noise=0)
    if side:
        settings = replace(settings, field_dims=SIDE_FIELDS)
        data, quiet = with_side_features(data), with_side_features(quiet)
    scores = train(settings, (data[0], (data[1] > 3).astype(np.float32))).predict(data[0])
    truth = np.array([math.erfc((3 - output) / math.sqrt(2)) / 2 for output in quiet[1]])
    assert np.sqrt(np.mean(np.square(scores - truth))) < 0.07
    # Neither too bold nor too shy: the slope of the truth on the scores.
    assert np.polyfit(scores, truth, 1)[0] == pytest.approx(1, abs=0.05)


def test_labels_may_have_any_unit() -> None:
    rows, labels = ratings(1)
    plain = train(SETTINGS, (rows, labels)).predict(rows)
    other = train(SETTINGS, (rows, labels * 1024 - 70_000)).predict(rows)
    np.testing.assert_allclose((other + 70_000) / 1024, plain, rtol=0, atol=1e-3)


def test_large_values_are_no_different() -> None:
    rows, labels = with_side_features(ratings(1))
    factors = np.ones(94)
    factors[-1] = 4096
    settings = replace(SETTINGS, field_dims=SIDE_FIELDS)
    # Large values in either case, so that both are brought to size.
    small = rows @ scipy.sparse.diags(np.where(factors > 1, 16.0, 1.0))
    large = rows @ scipy.sparse.diags(factors)
    one, other = (train(settings, (x.tocsr(), labels)).predict(x.tocsr()) for x in (small, large))
    np.testing.assert_allclose(one, other, rtol=0, atol=2e-2)


def test_two_numbers_a_record_are_enough() -> None:
    """Few parameters, which the records determine in few directions only."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 2)).astype(np.float32)
    labels = (x.sum(axis=1) + 0.3 * rng.normal(size=2000)).astype(np.float32)
    assert rmse(train(replace(SETTINGS, num_factors=8), (x, labels)), (x, labels)) < 0.32


@pytest.mark.parametrize("settings", [SETTINGS, CLASSIFIER])
@pytest.mark.parametrize("side", [False, True])
def test_the_same_seed_gives_the_same_bytes(settings: McmcSettings, side: bool) -> None:
    data = ratings(1, n=500)
    if side:
        data, settings = with_side_features(data), replace(settings, field_dims=SIDE_FIELDS)
    if settings.predictor_type == "binary_classifier":
        data = (data[0], (data[1] > 3).astype(np.float32))
    first, second, other = (contents(train(settings, data, seed)) for seed in (1, 1, 2))
    assert first == second
    assert first != other


@TWO_THREADS
def test_threads_change_nothing() -> None:
    data = ratings(1)
    one, two = (contents(train(SETTINGS, data, threads=threads)) for threads in (1, 2))
    assert one == two


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(HyperparameterError, match="threads is 9999"):
        train(SETTINGS, ratings(1), threads=9999)


@pytest.mark.parametrize(
    ("given", "kept"),
    [({}, 16), ({"num_samples": 4}, 4), ({"num_samples": 0}, 0), ({"epochs": 13}, 3)],
)
def test_samples_are_bounded(given: dict[str, Any], kept: int) -> None:
    posterior = train(replace(SETTINGS, **given), ratings(1, n=100))
    assert len(posterior.samples) == kept
    assert all(sample.num_factors == 4 for sample in posterior.samples)


@pytest.mark.parametrize(("given", "factors"), [(None, 64), (9, 8), (3, 3)])
def test_the_model_s_factors_are_bounded(given: int | None, factors: int) -> None:
    posterior = train(replace(SETTINGS, artifact_factors=given), ratings(1, n=100))
    assert posterior.model.num_factors == factors


def test_the_mean_is_nearly_that_of_all_samples() -> None:
    rows, labels = ratings(1)
    settings = replace(SETTINGS, num_samples=30)
    few, all_ = (
        train(replace(settings, artifact_factors=factors), (rows, labels)) for factors in (8, 120)
    )
    exact = np.mean([sample.predict(rows) for sample in all_.samples], axis=0)
    np.testing.assert_allclose(all_.predict(rows), exact, rtol=0, atol=1e-4)
    assert np.sqrt(np.mean(np.square(few.predict(rows) - exact))) < 0.1


def test_validation_measures_the_mean_and_keeps_the_best_epoch() -> None:
    log = EpochLog()
    held_out = ratings(2)
    settings = replace(SETTINGS, artifact_factors=120)
    posterior = train(settings, ratings(1), observer=log, validation=held_out)
    losses = [result.validation["rmse"] for result in log.epochs if result.validation is not None]
    assert len(losses) == 40
    assert rmse(posterior, held_out) == pytest.approx(min(losses[10:]), abs=1e-4)


def test_patience_ends_training() -> None:
    log = EpochLog()
    rows, labels = ratings(1)
    # The records held out say the opposite, so that learning makes it worse.
    train(
        replace(SETTINGS, patience=3),
        (rows, labels),
        observer=log,
        validation=(rows, 6 - labels),
    )
    assert len(log.epochs) < 40


def test_training_goes_on_from_a_model() -> None:
    data = ratings(1)
    settings = replace(SETTINGS, epochs=1, burn_in=0)
    trained = train(replace(SETTINGS, artifact_factors=4), data).model
    cold, warm = EpochLog(), EpochLog()
    train(settings, data, observer=cold)
    train(settings, data, observer=warm, initial=trained)
    assert warm.epochs[0].metrics["rmse"] < 0.6 < cold.epochs[0].metrics["rmse"]


def test_a_model_of_another_shape_is_no_start() -> None:
    other = Model(0.0, np.zeros(9, np.float32), np.zeros((9, 4), np.float32), "regressor")
    with pytest.raises(DataError, match="a regressor of 9 features with 4 factors: training needs"):
        train(SETTINGS, ratings(1), initial=other)


@pytest.mark.parametrize("k", [1, 15, 16, 200])
def test_few_records_and_many_factors_are_no_problem(k: int) -> None:
    posterior = train(McmcSettings(num_factors=k, epochs=3, burn_in=1), ratings(1, n=5))
    assert np.isfinite(posterior.model.factors).all()


def test_one_record_and_constant_labels_are_learned() -> None:
    rows, labels = ratings(1, n=1)
    assert train(SETTINGS, (rows, labels)).predict(rows) == pytest.approx(labels, abs=1)
    rows, _ = ratings(1, n=500)
    constant = np.full(500, 7, dtype=np.float32)
    np.testing.assert_allclose(train(SETTINGS, (rows, constant)).predict(rows), 7, atol=0.3)


@pytest.mark.parametrize("labels", [np.zeros(300), np.ones(300)])
def test_classes_may_be_all_the_same(labels: NDArray[np.float64]) -> None:
    rows, _ = ratings(1, n=300)
    scores = train(CLASSIFIER, (rows, labels.astype(np.float32))).predict(rows)
    assert (np.abs(scores - labels) < 0.1).all()


def test_no_records_are_refused() -> None:
    with pytest.raises(DataError, match="there are no records"):
        train(SETTINGS, (scipy.sparse.csr_matrix((0, 3)), np.zeros(0, np.float32)))


def test_fields_must_fit() -> None:
    with pytest.raises(HyperparameterError, match="field_dims add up to 5"):
        train(replace(SETTINGS, field_dims=(2, 3)), ratings(1))


def test_a_start_beyond_all_bounds_ends_training() -> None:
    far = Model(1e30, np.zeros(90, np.float32), np.zeros((90, 4), np.float32), "regressor")
    with pytest.raises(DivergedError, match="in epoch 0"):
        train(SETTINGS, ratings(1), initial=far)


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"num_factors": 0, "patience": 0}, ["num_factors is 0", "patience is 0"]),
        ({"epochs": 5, "burn_in": 5}, ["burn_in is 5: it must be below epochs, which is 5"]),
        ({"init_sigma": float("nan")}, ["init_sigma is nan"]),
        ({"num_samples": -1}, ["num_samples is -1"]),
        ({"predictor_type": "ranker"}, ["predictor_type is 'ranker'"]),
    ],
)
def test_settings_are_checked(given: dict[str, Any], problems: Sequence[str]) -> None:
    with pytest.raises(HyperparameterError) as raised:
        McmcSettings(**given)
    for problem in problems:
        assert problem in str(raised.value)
