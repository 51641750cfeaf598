"""One way to train with any solver: the same records, starts and refusals for all of them."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from matinee.fm import solvers
from matinee.fm.data import SparseRows
from matinee.fm.errors import DataError, DivergedError, HyperparameterError
from matinee.fm.matinee_hyperparameters import MatineeHyperparameters
from matinee.fm.model import Model
from matinee.fm.training import evaluate
from tests.fm.checkerboard import SIDE, checkerboard
from tests.fm.observers import Log

SOLVERS = {
    "adam": {"solver": "adam", "factors_lr": 0.03, "factors_init_sigma": 0.3, "bias_lr": 1.0},
    "sgd": {
        "solver": "sgd",
        "learning_rate": 0.1,
        "regularization": 0.01,
        "init_sigma": 0.3,
        "num_models": 1,
    },
    "mcmc": {"solver": "mcmc", "init_sigma": 0.3, "burn_in": 10},
}
every_solver = pytest.mark.parametrize("solver", SOLVERS)


def parse(solver: str, **changes: Any) -> MatineeHyperparameters:
    given = {
        "feature_dim": 2 * SIDE,
        "predictor_type": "regressor",
        "num_factors": 4,
        "epochs": 40,
        **SOLVERS[solver],
        **({"mini_batch_size": 10} if solver == "adam" else {}),
        **changes,
    }
    return MatineeHyperparameters.parse(given)


def train(
    hyperparameters: MatineeHyperparameters, features: Any, labels: Any, **more: Any
) -> Model:
    rng = np.random.default_rng(0)
    return solvers.train(hyperparameters, features, labels, rng, **more).model


@every_solver
@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_unseen_squares_of_a_checkerboard_have_their_colour(solver: str, kind: str) -> None:
    features, labels = checkerboard()
    x = features if kind == "sparse" else features.toarray()

    model = train(parse(solver), x[24:], labels[24:])

    np.testing.assert_array_equal(np.sign(model.predict(x[:24]) - 3), np.sign(labels[:24] - 3))


@every_solver
def test_unseen_squares_are_classified(solver: str) -> None:
    features, labels = checkerboard()
    white = labels == 5

    hyperparameters = parse(solver, predictor_type="binary_classifier", epochs=100)
    model = train(hyperparameters, features[24:], white[24:])

    scores = model.predict(features[:24])
    np.testing.assert_array_equal(scores >= 0.5, white[:24])
    assert scores.min() >= 0
    assert scores.max() <= 1


@every_solver
def test_it_learns_the_same_from_its_own_and_scipy_s_rows(solver: str) -> None:
    features, labels = checkerboard()
    hyperparameters = parse(solver, epochs=12)

    one, other = (train(hyperparameters, x, labels) for x in (features, SparseRows.of(features)))

    np.testing.assert_array_equal(one.factors, other.factors)


@every_solver
def test_an_observer_is_told_of_every_epoch(solver: str) -> None:
    features, labels = checkerboard()
    hyperparameters = parse(solver, epochs=12)
    told = Log()

    train(
        hyperparameters,
        features[24:],
        labels[24:],
        observer=told,
        validation=(features[:24], labels[:24]),
    )

    assert [result.epoch for result in told.epochs] == list(range(hyperparameters.epochs))
    for result in told.epochs:
        assert result.records == 120
        assert result.metrics.keys() == {"rmse", "mse", "absolute_loss"}
        assert result.validation is not None
        assert result.validation.keys() == result.metrics.keys()


@every_solver
def test_patience_ends_training(solver: str) -> None:
    features, labels = checkerboard()
    # What is held out says the opposite of what is learned.
    held_out = features[24:], 6 - labels[24:]
    hyperparameters = parse(solver, epochs=200, patience=3)
    told = Log()

    model = train(hyperparameters, features[24:], labels[24:], observer=told, validation=held_out)

    losses = [result.validation["rmse"] for result in told.epochs if result.validation]
    assert len(losses) < 200
    # The sampler forgets its first epochs, however good; its model is nearly what was judged.
    judged, near = (losses[10:], 5e-3) if solver == "mcmc" else (losses, 1e-3)
    assert evaluate(model, *held_out)["rmse"] == pytest.approx(min(judged), rel=near)


def start() -> Model:
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(2 * SIDE, 4)).astype(np.float32)
    return Model(3.0, rng.normal(size=2 * SIDE).astype(np.float32), factors, "regressor")


@every_solver
def test_training_starts_from_a_model(solver: str) -> None:
    features, labels = checkerboard()
    trained = train(parse(solver), features, labels)
    short = parse(solver, epochs=1, **({"burn_in": 0} if solver == "mcmc" else {}))

    again = train(short, features, labels, initial=trained)

    fresh = evaluate(train(short, features, labels), features, labels)["rmse"]
    assert evaluate(again, features, labels)["rmse"] < fresh / 2


@pytest.mark.parametrize("num_factors", [2, 4, 7])
def test_a_start_may_have_other_factors(num_factors: int) -> None:
    still = parse("adam", epochs=1, _learning_rate=0, num_factors=num_factors)

    model = train(still, *checkerboard(), initial=start())

    assert model.num_factors == num_factors
    features, _ = checkerboard()
    expected = start().predict(features)
    difference = np.abs(model.predict(features) - expected).max()
    assert difference < (0.01 if num_factors >= 4 else 10)
    # Factors that were missing can move: they are not all zero.
    assert np.abs(model.factors).sum(axis=0).min() > 0


@every_solver
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"feature_dim": 30}, "is a regressor of 24 features, not a regressor of 30"),
        ({"predictor_type": "binary_classifier"}, "not a binary_classifier of 24"),
    ],
)
def test_a_start_of_something_else_is_refused(
    solver: str, changes: dict[str, Any], said: str
) -> None:
    features, labels = checkerboard()

    with pytest.raises(DataError, match=said):
        train(parse(solver, **changes), features, labels == 5, initial=start())


@every_solver
@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (scipy.sparse.csr_matrix(([1, 1], [0, 12], [0, 2]), (1, 24)), [4]),
        (checkerboard()[0], [3] * SIDE * SIDE),
        (checkerboard()[0] * 0.5, checkerboard()[1]),
        (checkerboard()[0] * 0, checkerboard()[1]),
        (scipy.sparse.csr_matrix((2, 24), dtype=np.float32), [1, 5]),
        (scipy.sparse.csr_matrix(([1, 1, 1], [3, 3, 20], [0, 3]), (1, 24)), [2]),
        (checkerboard()[0][:, :20], checkerboard()[1]),
    ],
    ids=[
        "one row",
        "constant labels",
        "real values",
        "explicit zeros",
        "empty rows",
        "a duplicate key",
        "narrower",
    ],
)
def test_unusual_records_are_trained(solver: str, features: Any, labels: Any) -> None:
    model = train(parse(solver, epochs=12), features, labels)

    assert model.feature_dim == 24
    assert np.isfinite(model.predict(checkerboard()[0])).all()


@every_solver
@pytest.mark.parametrize("num_factors", [1, 1000])
def test_few_and_many_factors(solver: str, num_factors: int) -> None:
    changes: dict[str, Any] = {"num_factors": num_factors, "epochs": 2}
    if solver != "adam":
        changes["init_sigma"] = 0.01
    if solver == "mcmc":
        changes["burn_in"] = 1

    model = train(parse(solver, **changes), *checkerboard())

    assert np.isfinite(model.predict(checkerboard()[0])).all()


@every_solver
@pytest.mark.parametrize(
    ("value", "label", "predictor_type", "said"),
    [
        (np.nan, 1, "regressor", "feature 0 of record 1 is nan"),
        (np.inf, 1, "regressor", "feature 0 of record 1 is inf"),
        (1, np.nan, "regressor", "label of record 1 is nan"),
        (1, 2, "binary_classifier", "label of record 1 is 2.0"),
    ],
)
def test_bad_records_are_named(
    solver: str, value: float, label: float, predictor_type: str, said: str
) -> None:
    features = np.zeros((2, 2 * SIDE), dtype=np.float32)
    features[1, 0] = value

    with pytest.raises(DataError, match=said):
        train(parse(solver, predictor_type=predictor_type), features, [0, label])


@every_solver
def test_records_are_needed(solver: str) -> None:
    features, labels = checkerboard()

    with pytest.raises(DataError, match="no records"):
        train(parse(solver), features[:0], labels[:0])


@pytest.mark.parametrize(
    ("solver", "changes"), [("adam", {"linear_lr": 1e38}), ("sgd", {"learning_rate": 1e10})]
)
def test_diverging_training_leaves_no_model(solver: str, changes: dict[str, float]) -> None:
    with pytest.raises(DivergedError, match="training diverged"):
        train(parse(solver, **changes), *checkerboard())


@pytest.mark.parametrize("solver", ["sgd", "mcmc"])
def test_more_threads_than_cores_are_refused(solver: str) -> None:
    with pytest.raises(HyperparameterError, match="threads is 4096: it must be"):
        parse(solver, threads=4096)


def test_mcmc_s_threads_change_nothing() -> None:
    one, all_of_them = (
        train(parse("mcmc", epochs=12, **changes), *checkerboard())
        for changes in ({"threads": 1}, {})
    )

    np.testing.assert_array_equal(one.factors, all_of_them.factors)
