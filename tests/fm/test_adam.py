"""The solver adam: SageMaker's training to the byte, and what is around it."""

from dataclasses import replace

import numpy as np
import pytest

from matinee.fm.adam import AdamSettings, train_adam
from matinee.fm.averaging import average
from matinee.fm.errors import DataError, HyperparameterError
from matinee.fm.hyperparameters import Hyperparameters
from matinee.fm.model import Model
from matinee.fm.training import evaluate, train
from tests.fm.checkerboard import SIDE, checkerboard
from tests.fm.observers import Log

GIVEN = Hyperparameters(
    feature_dim=2 * SIDE,
    num_factors=4,
    predictor_type="regressor",
    epochs=3,
    mini_batch_size=10,
    factors_lr=0.03,
    factors_init_sigma=0.3,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def same(one: Model, other: Model) -> bool:
    return (
        one.bias == other.bias
        and np.array_equal(one.linear, other.linear)
        and np.array_equal(one.factors, other.factors)
    )


def test_without_extras_it_is_sagemakers_training() -> None:
    features, labels = checkerboard()
    told, expected = Log(), Log()

    model = train_adam(AdamSettings(hyperparameters=GIVEN), features, labels, rng(), observer=told)

    assert same(model, train(GIVEN, features, labels, rng(), expected))
    assert told.batches == expected.batches
    assert [result.metrics for result in told.epochs] == [
        result.metrics for result in expected.epochs
    ]


def test_several_models_are_averaged() -> None:
    features, labels = checkerboard()
    settings = AdamSettings(hyperparameters=GIVEN, num_models=3, artifact_factors=12)
    told = Log()

    model = train_adam(settings, features, labels, rng(), observer=told)

    members = [train(GIVEN, features, labels, part) for part in rng().spawn(3)]
    assert same(model, average(members))
    mean = np.mean([member.predict(features) for member in members], axis=0)
    np.testing.assert_allclose(model.predict(features), mean, rtol=1e-5)
    assert [result.epoch for result in told.epochs] == list(range(9))
    assert [result.epoch for result in told.batches] == list(range(9))


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_an_average_has_as_many_factors_as_a_model_unless_more_are_asked_for(kind: str) -> None:
    features, labels = checkerboard()
    settings = AdamSettings(hyperparameters=GIVEN, num_models=3)

    model = train_adam(
        settings, features if kind == "sparse" else features.toarray(), labels, rng()
    )

    assert model.num_factors == 4


def test_validation_keeps_the_best_epoch() -> None:
    features, labels = checkerboard()
    # Memorised squares say the opposite of what is held out, so the first epochs are the best.
    held_out = features[24:], 6 - labels[24:]
    settings = AdamSettings(hyperparameters=replace(GIVEN, epochs=30))
    told = Log()

    model = train_adam(
        settings, features[24:], labels[24:], rng(), observer=told, validation=held_out
    )

    losses = [result.validation["rmse"] for result in told.epochs if result.validation]
    assert len(losses) == 30
    assert losses.index(min(losses)) < 29
    assert evaluate(model, *held_out)["rmse"] == min(losses)


def test_patience_ends_training() -> None:
    features, labels = checkerboard()
    held_out = features[24:], 6 - labels[24:]
    settings = AdamSettings(hyperparameters=replace(GIVEN, epochs=30), patience=2, num_models=2)
    told = Log()

    train_adam(settings, features[24:], labels[24:], rng(), observer=told, validation=held_out)

    epochs = [result.epoch for result in told.epochs]
    first = [epoch for epoch in epochs if epoch < 30]
    # Each model has its own end; the second one's epochs come after all of the first one's.
    assert 3 <= len(first) < 30
    assert epochs[len(first)] == 30
    assert len(epochs) < 60
    losses = [result.validation["rmse"] for result in told.epochs if result.validation]
    assert losses.index(min(losses[: len(first)])) == len(first) - 3


def test_training_starts_from_a_model() -> None:
    features, labels = checkerboard()
    first = train(GIVEN, features, labels, rng())
    still = replace(GIVEN, learning_rate=0.0)

    model = train_adam(AdamSettings(hyperparameters=still), features, labels, rng(), initial=first)

    assert same(model, first)


def test_several_models_from_one_start_are_refused() -> None:
    first = train(GIVEN, *checkerboard(), rng())
    settings = AdamSettings(hyperparameters=GIVEN, num_models=2)

    with pytest.raises(HyperparameterError, match="num_models is 2 but all would start"):
        train_adam(settings, *checkerboard(), rng(), initial=first)


def test_records_are_needed() -> None:
    features, labels = checkerboard()

    with pytest.raises(DataError, match="no records"):
        train_adam(AdamSettings(hyperparameters=GIVEN), features[:0], labels[:0], rng())
