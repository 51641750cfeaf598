"""Stochastic gradient descent: its step to the letter, its orders by seed, and when it stops."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from matinee.fm.data import Features
from matinee.fm.errors import DataError, DivergedError, HyperparameterError
from matinee.fm.hyperparameters import PredictorType
from matinee.fm.model import Model
from matinee.fm.sgd import SgdSettings, train_sgd
from tests.fm.observers import EpochLog

PREDICTOR_TYPES: Sequence[PredictorType] = ("regressor", "binary_classifier")
SETTINGS = SgdSettings(
    num_factors=4, epochs=3, learning_rate=0.1, regularization=0.05, init_sigma=0.3, num_models=1
)
TWO_THREADS = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")


def pairs(first: ArrayLike, second: ArrayLike, width: int) -> scipy.sparse.csr_matrix:
    """Records of two one-hot features, given by their keys."""
    keys = np.stack([np.asarray(first), np.asarray(second)], axis=1).ravel()
    n = len(keys) // 2
    return scipy.sparse.csr_matrix((np.ones(2 * n), keys, np.arange(n + 1) * 2), (n, width))


def ratings(seed: int, n: int = 4000) -> tuple[scipy.sparse.csr_matrix, NDArray[np.float32]]:
    """Ratings of 30 items by 60 users that follow three hidden factors."""
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(60, 3)), rng.normal(size=(30, 3))
    drawn = np.random.default_rng(seed)
    user, item = drawn.integers(60, size=n), drawn.integers(30, size=n)
    outputs = 3 + (users[user] * items[item]).sum(axis=1)
    return pairs(user, item + 60, 90), outputs.astype(np.float32)


def labels_of(predictor_type: PredictorType, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    return outputs if predictor_type == "regressor" else (outputs > 3).astype(np.float32)


def with_values(features: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """The same records with 0.5 instead of the second 1: no longer one-hot."""
    changed = features.copy()
    changed.data[1::2] = 0.5
    return changed


def generator() -> np.random.Generator:
    return np.random.default_rng(7)


def bytes_of(model: Model) -> bytes:
    return np.float32(model.bias).tobytes() + model.linear.tobytes() + model.factors.tobytes()


def reference(
    initial: Model, settings: SgdSettings, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear terms and factors in float64, after visits of the records in the order given."""
    w, v = initial.linear.astype(np.float64), initial.factors.astype(np.float64)
    for _ in range(settings.epochs):
        for record, label in zip(x, y, strict=True):
            held = np.flatnonzero(record)
            part, rows = record[held], v[held]
            sums = part @ rows
            output = initial.bias + part @ w[held]
            output += (sums @ sums - np.square(part) @ np.square(rows).sum(axis=1)) / 2
            if settings.predictor_type == "binary_classifier":
                output = 1 / (1 + np.exp(-output))
            residual = output - label
            gradient = residual * (part[:, None] * sums - np.square(part)[:, None] * rows)
            v[held] -= settings.learning_rate * (gradient + settings.regularization * rows)
            w[held] -= settings.learning_rate * (
                residual * part + settings.regularization * w[held]
            )
    return w, v


@pytest.mark.parametrize("num_factors", [1, 3, 14, 15, 16, 30, 31, 64, 200])
@pytest.mark.parametrize("predictor_type", PREDICTOR_TYPES)
@pytest.mark.parametrize("kind", ["pairs", "pairs the other way", "values", "dense"])
def test_steps_agree_with_the_reference(
    kind: str, predictor_type: PredictorType, num_factors: int
) -> None:
    # No two records share a feature, so that their order does not matter.
    sparse = pairs(range(5), range(5, 10), 12)
    if kind == "pairs the other way":
        sparse = pairs([0, 1], [2, 3], 12)
    elif kind != "pairs":
        sparse = scipy.sparse.csr_matrix(
            (np.arange(-4, 7, dtype=np.float32) / 4, range(11), [0, 3, 4, 4, 9, 11]), shape=(5, 12)
        )
    x = sparse.toarray().astype(np.float64)
    features: Features = sparse.toarray() if kind == "dense" else sparse
    rng = np.random.default_rng(0)
    n = x.shape[0]
    y = labels_of(predictor_type, rng.normal(3, 1, n).astype(np.float32))
    initial = Model(
        0.75,
        rng.normal(0, 0.5, 12).astype(np.float32),
        rng.normal(0, 0.5, (12, num_factors)).astype(np.float32),
        predictor_type,
    )
    settings = replace(SETTINGS, num_factors=num_factors, predictor_type=predictor_type)

    model = train_sgd(settings, features, y, rng, initial=initial)

    linear, factors = reference(initial, settings, x, y.astype(np.float64))
    assert model.bias == initial.bias
    np.testing.assert_allclose(model.linear, linear, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.factors, factors, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("predictor_type", PREDICTOR_TYPES)
@pytest.mark.parametrize("kind", ["pairs", "values"])
def test_what_there_is_to_learn_is_learned(kind: str, predictor_type: PredictorType) -> None:
    features, outputs = ratings(1)
    test, test_outputs = ratings(2, 500)
    if kind == "values":
        features, test = with_values(features), with_values(test)
    settings = replace(SETTINGS, predictor_type=predictor_type, epochs=30, regularization=0.001)

    model = train_sgd(settings, features, labels_of(predictor_type, outputs), generator())

    expected = labels_of(predictor_type, test_outputs)
    if predictor_type == "regressor":
        assert np.square(model.predict(test) - expected).mean() < 0.05 * np.var(expected)
    else:
        assert np.mean((model.predict(test) > 0.5) == expected) > 0.95


@pytest.mark.parametrize("num_models", [1, 3])
@pytest.mark.parametrize("kind", ["pairs", "values"])
@pytest.mark.parametrize("predictor_type", PREDICTOR_TYPES)
def test_the_same_seed_gives_the_same_bytes(
    predictor_type: PredictorType, kind: str, num_models: int
) -> None:
    features, outputs = ratings(1, 500)
    if kind == "values":
        features = with_values(features)
    labels = labels_of(predictor_type, outputs)
    settings = replace(SETTINGS, predictor_type=predictor_type, num_models=num_models)

    models = [
        train_sgd(settings, features, labels, np.random.default_rng(seed)) for seed in (1, 1, 2)
    ]

    assert bytes_of(models[0]) == bytes_of(models[1]) != bytes_of(models[2])


@TWO_THREADS
def test_two_threads_give_the_same_bytes_each_time_and_nearly_the_model_of_one() -> None:
    features, labels = ratings(1)
    settings = replace(SETTINGS, epochs=20, regularization=0.001)

    one, *two = (
        train_sgd(settings, features, labels, generator(), threads=threads) for threads in (1, 2, 2)
    )

    assert bytes_of(two[0]) == bytes_of(two[1]) != bytes_of(one)
    errors = [float(np.square(model.predict(features) - labels).mean()) for model in (one, two[0])]
    assert errors[1] == pytest.approx(errors[0], rel=0.5)
    assert errors[1] < 0.05 * float(np.var(labels))


@TWO_THREADS
@pytest.mark.parametrize("kind", ["pairs", "values"])
def test_the_average_of_models_does_not_depend_on_the_threads(kind: str) -> None:
    features, labels = ratings(1, 500)
    if kind == "values":
        features = with_values(features)
    settings = replace(SETTINGS, num_models=3)

    models = [
        train_sgd(settings, features, labels, generator(), threads=threads) for threads in (1, 2)
    ]

    assert bytes_of(models[0]) == bytes_of(models[1])


def test_more_threads_than_cores_are_refused() -> None:
    features, labels = ratings(1, 10)

    with pytest.raises(HyperparameterError, match="threads is 100000"):
        train_sgd(SETTINGS, features, labels, generator(), threads=100_000)


def test_the_average_of_models_is_more_accurate_than_one() -> None:
    features, labels = ratings(1, 600)
    noisy = labels + np.random.default_rng(0).normal(0, 1, 600).astype(np.float32)
    test, expected = ratings(2, 500)
    errors = []
    for num_models in (1, 8):
        settings = replace(SETTINGS, epochs=20, num_models=num_models)
        model = train_sgd(settings, features, noisy, generator())
        errors.append(np.square(model.predict(test) - expected).mean())

    assert errors[1] < errors[0]


def test_an_average_keeps_as_many_factors_as_asked_for() -> None:
    features, labels = ratings(1, 500)
    settings = replace(SETTINGS, num_models=3)

    whole, half = (
        train_sgd(replace(settings, artifact_factors=factors), features, labels, generator())
        for factors in (12, 6)
    )

    assert (whole.num_factors, half.num_factors) == (12, 6)
    change = np.square(whole.predict(features) - half.predict(features)).mean()
    assert 0 < change < 0.1 * np.var(whole.predict(features))


def test_an_observer_is_told_of_each_epoch() -> None:
    features, labels = ratings(1, 500)
    ticks = iter(np.arange(0, 100, 2.5))
    log = EpochLog()

    train_sgd(SETTINGS, features, labels, generator(), observer=log, clock=lambda: next(ticks))

    told = [(epoch.epoch, epoch.records, epoch.batches, epoch.seconds) for epoch in log.epochs]
    assert told == [(epoch, 500, 500, 2.5) for epoch in range(3)]
    assert all(epoch.validation is None for epoch in log.epochs)
    errors = [epoch.metrics["mse"] for epoch in log.epochs]
    assert errors[0] > errors[1] > errors[2] > 0


@pytest.mark.parametrize("predictor_type", PREDICTOR_TYPES)
def test_metrics_of_a_model_that_stands_still_are_its_own(predictor_type: PredictorType) -> None:
    features, outputs = ratings(1, 500)
    labels = labels_of(predictor_type, outputs)
    still = replace(SETTINGS, predictor_type=predictor_type, learning_rate=0.0)
    for records in (features, with_values(features)):
        log = EpochLog()

        train_sgd(still, records, labels, generator(), observer=log, validation=(records, labels))

        validation = log.epochs[0].validation
        assert validation is not None
        assert log.epochs[0].metrics == pytest.approx(validation, rel=1e-5)


def test_the_model_of_the_best_epoch_is_kept_and_training_stops_early() -> None:
    features, labels = ratings(1, 300)
    noisy = labels + np.random.default_rng(0).normal(0, 3, 300).astype(np.float32)
    test = ratings(2, 500)
    settings = replace(SETTINGS, num_factors=8, epochs=200, regularization=0.0, patience=3)
    log = EpochLog()

    model = train_sgd(settings, features, noisy, generator(), observer=log, validation=test)

    losses = [epoch.validation["mse"] for epoch in log.epochs if epoch.validation is not None]
    best = int(np.argmin(losses))
    assert len(losses) == best + 4 < 200
    error = float(np.square(model.predict(test[0]) - test[1]).mean())
    assert error == pytest.approx(losses[best], rel=1e-4)


def test_features_that_no_record_holds_predict_nothing() -> None:
    features = pairs([0, 1], [3, 3], 5)

    model = train_sgd(SETTINGS, features, [1.0, 2.0], generator())

    assert model.bias == 1.5
    for feature in (2, 4):
        assert model.linear[feature] == 0
        np.testing.assert_array_equal(model.factors[feature], 0)


@pytest.mark.parametrize(
    ("predictor_type", "label", "bias"),
    [("regressor", 4.0, 4.0), ("binary_classifier", 1.0, np.log(2.5 / 0.5))],
)
def test_labels_that_are_all_the_same_are_the_constant_term(
    predictor_type: PredictorType, label: float, bias: float
) -> None:
    settings = replace(SETTINGS, predictor_type=predictor_type, init_sigma=0.0)

    model = train_sgd(settings, pairs([0, 1], [2, 3], 4), [label, label], generator())

    assert model.bias == pytest.approx(bias)
    assert np.isfinite(model.linear).all()
    if predictor_type == "regressor":
        np.testing.assert_array_equal(model.linear, 0)


def test_training_goes_on_from_an_initial_model() -> None:
    features, labels = ratings(1)
    log = EpochLog()
    settings = replace(SETTINGS, epochs=10, regularization=0.001)

    first = train_sgd(settings, features, labels, generator(), observer=log)
    train_sgd(settings, features, labels, generator(), observer=log, initial=first)

    assert log.epochs[10].metrics["rmse"] < log.epochs[5].metrics["rmse"]


@pytest.mark.parametrize(
    "changes", [{"num_factors": 5}, {"predictor_type": "binary_classifier"}, {"feature_dim": 91}]
)
def test_an_initial_model_of_another_kind_is_refused(changes: dict[str, Any]) -> None:
    features, labels = ratings(1, 10)
    given = {"feature_dim": 90, "num_factors": 4, "predictor_type": "regressor", **changes}
    d, k = given["feature_dim"], given["num_factors"]
    initial = Model(
        0.0, np.zeros(d, np.float32), np.zeros((d, k), np.float32), given["predictor_type"]
    )

    with pytest.raises(DataError, match=f"a {initial.predictor_type} of {d} features with {k}"):
        train_sgd(SETTINGS, features, labels, generator(), initial=initial)


@pytest.mark.parametrize("kind", ["pairs", "values"])
@pytest.mark.parametrize("predictor_type", PREDICTOR_TYPES)
@pytest.mark.parametrize("changes", [{"learning_rate": 1e30}, {"init_sigma": 1e30}])
def test_diverging_training_is_an_error(
    changes: dict[str, Any], predictor_type: PredictorType, kind: str
) -> None:
    features, outputs = ratings(1, 500)
    if kind == "values":
        features = with_values(features)
    settings = replace(SETTINGS, predictor_type=predictor_type, **changes)

    with pytest.raises(DivergedError, match="learning_rate below"):
        train_sgd(settings, features, labels_of(predictor_type, outputs), generator())


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("num_factors", [1, 1000])
def test_few_records_and_few_or_many_factors_will_do(num_factors: int, n: int) -> None:
    settings = replace(SETTINGS, num_factors=num_factors, init_sigma=0.01)
    for features in (pairs([0] * n, [1] * n, 2), with_values(pairs([0] * n, [1] * n, 2))):
        model = train_sgd(settings, features, [3.0] * n, generator())

        assert model.factors.shape == (2, num_factors)
        assert model.predict(features)[0] == pytest.approx(3, abs=0.01)


def test_records_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DataError, match="no records"):
        train_sgd(SETTINGS, scipy.sparse.csr_matrix((0, 3)), [], generator())
    with pytest.raises(DataError, match="nan"):
        train_sgd(SETTINGS, np.array([[np.nan]], np.float32), [1.0], generator())
    settings = replace(SETTINGS, predictor_type="binary_classifier")
    with pytest.raises(DataError, match="labels 0 and 1"):
        train_sgd(settings, pairs([0], [1], 2), [2.0], generator())
    with pytest.raises(DataError, match="no validation records"):
        train_sgd(
            SETTINGS,
            pairs([0], [1], 2),
            [2.0],
            generator(),
            validation=(scipy.sparse.csr_matrix((0, 2)), []),
        )


def test_settings_outside_their_range_are_refused_all_at_once() -> None:
    with pytest.raises(HyperparameterError) as caught:
        SgdSettings(
            num_factors=0,
            predictor_type="ranker",  # type: ignore[arg-type]
            epochs=0,
            learning_rate=-1.0,
            regularization=float("nan"),
            init_sigma=float("inf"),
            num_models=0,
            artifact_factors=0,
            patience=0,
        )

    for name in SgdSettings.__dataclass_fields__:
        assert f"{name} is " in str(caught.value)
