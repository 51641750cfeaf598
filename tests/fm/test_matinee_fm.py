"""MatineeFM: an obvious data set gets the obvious answer from every solver, by every road."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from matinee.fm import DataError, FactorizationMachine, HyperparameterError, MatineeFM
from matinee.fm.matinee_hyperparameters import RULES, SOLVERS
from matinee.fm.training import EpochResult
from tests.fm.checkerboard import SIDE, checkerboard

QUICK: dict[str, dict[str, Any]] = {
    "adam": {"epochs": 60, "mini_batch_size": 10, "factors_lr": 0.03, "bias_lr": 1.0},
    "sgd": {"epochs": 60, "learning_rate": 0.1, "regularization": 0.01, "init_sigma": 0.3},
    "mcmc": {"epochs": 60, "burn_in": 20, "init_sigma": 0.3},
}
every_solver = pytest.mark.parametrize("solver", SOLVERS)


def make(solver: str, **changes: Any) -> MatineeFM:
    return MatineeFM(4, **{"solver": solver, "random_state": 0, **QUICK[solver], **changes})


@every_solver
def test_unseen_squares_of_a_checkerboard_have_their_colour(solver: str) -> None:
    features, labels = checkerboard()

    fm = make(solver).fit(features[24:], labels[24:])

    assert fm.score(features[:24], labels[:24]) > 0.9
    assert fm.linear_.shape == (2 * SIDE,)
    assert fm.factors_.shape[0] == 2 * SIDE
    assert bool(fm.samples_) == (solver == "mcmc")


@every_solver
def test_fitting_again_with_the_same_seed_changes_nothing(solver: str) -> None:
    fm = make(solver, epochs=25).fit(*checkerboard())
    first = fm.factors_.tobytes()

    assert fm.fit(*checkerboard()).factors_.tobytes() == first
    assert make(solver, epochs=25, random_state=1).fit(*checkerboard()).factors_.tobytes() != first


@every_solver
def test_a_saved_model_predicts_the_same(solver: str, tmp_path: Path) -> None:
    features, labels = checkerboard()
    fm = make(solver).fit(features, labels)
    fm.save(tmp_path / "model_algo-1")

    loaded = MatineeFM.load(tmp_path / "model_algo-1")

    np.testing.assert_array_equal(loaded.predict(features), fm.predict(features))
    assert len(loaded.samples_) == len(fm.samples_)
    if solver == "mcmc":
        np.testing.assert_array_equal(loaded.predict_std(features), fm.predict_std(features))
    strict = FactorizationMachine.load(tmp_path / "model_algo-1")
    np.testing.assert_array_equal(strict.predict(features), fm.predict(features))


def test_what_was_never_seen_is_less_sure() -> None:
    features, labels = checkerboard()
    seen = features[:, 0].toarray().ravel() == 0

    fm = make("mcmc").fit(features[seen], labels[seen])

    sure = fm.predict_std(features)
    assert sure.shape == labels.shape
    assert sure[~seen].min() > np.median(sure[seen])


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_only_mcmc_knows_how_sure_it_is(solver: str) -> None:
    features, labels = checkerboard()

    with pytest.raises(DataError, match="posterior samples"):
        make(solver).fit(features, labels).predict_std(features)


def test_training_starts_from_an_estimator_or_a_file(tmp_path: Path) -> None:
    features, labels = checkerboard()
    first = make("adam").fit(features, labels)
    first.save(tmp_path / "model_algo-1")
    still = make("adam", epochs=1, bias_lr=0.0, linear_lr=0.0, factors_lr=0.0)

    for initial in (first, tmp_path / "model_algo-1", str(tmp_path / "model_algo-1")):
        np.testing.assert_array_equal(
            still.fit(features, labels, initial=initial).factors_, first.factors_
        )


def test_validation_is_told_and_stops_training() -> None:
    features, labels = checkerboard()
    told: list[EpochResult] = []

    make("adam", epochs=200, patience=3).fit(
        features[24:],
        labels[24:],
        validation=(features[24:], 6 - labels[24:]),
        on_epoch=told.append,
    )

    assert 4 <= len(told) < 200
    assert all(result.validation for result in told)


def test_the_constructor_stores_and_fit_checks() -> None:
    fm = MatineeFM(0, solver="sgd", burn_in=5, epochs=-1)

    assert (fm.num_factors, fm.epochs) == (0, -1)
    with pytest.raises(HyperparameterError) as caught:
        fm.fit(*checkerboard())
    said = str(caught.value)
    assert "0 is not valid for 'num_factors'" in said
    assert "-1 is not valid for 'epochs'" in said
    assert "'burn_in' is not a hyperparameter of solver 'sgd', only of 'mcmc'" in said


def test_patience_needs_validation() -> None:
    with pytest.raises(HyperparameterError, match="'patience' needs validation"):
        make("mcmc", patience=3).fit(*checkerboard())


def test_an_untrained_model_says_so() -> None:
    features, _ = checkerboard()

    for use in (MatineeFM().predict, MatineeFM().predict_std):
        with pytest.raises(DataError, match="this MatineeFM is not trained"):
            use(features)


def test_every_hyperparameter_of_sgd_and_mcmc_is_a_parameter() -> None:
    parameters = inspect.signature(MatineeFM).parameters.keys()

    assert parameters - RULES.keys() == {"random_state"}
    own = {name for name in SOLVERS["sgd"] | SOLVERS["mcmc"] if not name.startswith("_")}
    assert own - parameters == {"feature_dim", "seed"}
