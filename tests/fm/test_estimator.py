"""FactorizationMachine: an obvious data set gets the obvious answer, by every road."""

import inspect
import io
import tarfile
from dataclasses import MISSING, fields
from pathlib import Path

import numpy as np
import pytest

import matinee.fm
from matinee.fm import DataError, FactorizationMachine, HyperparameterError
from matinee.fm.hyperparameters import Hyperparameters
from tests.fm.checkerboard import SIDE, checkerboard


def make(predictor_type: str = "regressor", random_state: int | None = 0) -> FactorizationMachine:
    return FactorizationMachine(
        4,
        predictor_type,  # type: ignore[arg-type]  # a literal at every call
        epochs=60,
        mini_batch_size=10,
        factors_lr=0.03,
        factors_init_sigma=0.3,
        random_state=random_state,
    )


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_unseen_squares_of_a_checkerboard_have_their_colour(kind: str) -> None:
    features, labels = checkerboard()
    x = features if kind == "sparse" else features.toarray()

    fm = make().fit(x[24:], labels[24:])

    np.testing.assert_array_equal(np.sign(fm.predict(x[:24]) - 3), np.sign(labels[:24] - 3))
    assert fm.score(x[:24], labels[:24]) > 0.9


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_unseen_squares_are_classified(kind: str) -> None:
    features, labels = checkerboard()
    x = features if kind == "sparse" else features.toarray()
    white = labels == 5

    fm = make("binary_classifier").fit(x[24:], white[24:])

    assert fm.score(x[:24], white[:24]) == 1
    scores = fm.predict(x[:24])
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_learned_attributes() -> None:
    fm = make().fit(*checkerboard())

    assert isinstance(fm.bias_, float)
    assert fm.linear_.shape == (2 * SIDE,)
    assert fm.factors_.shape == (2 * SIDE, 4)
    assert fm.linear_.dtype == fm.factors_.dtype == np.float32


def test_fitting_again_with_the_same_seed_changes_nothing() -> None:
    fm = make().fit(*checkerboard())
    first = fm.factors_.tobytes()

    assert fm.fit(*checkerboard()).factors_.tobytes() == first
    assert make(random_state=1).fit(*checkerboard()).factors_.tobytes() != first


def test_without_a_seed_every_fit_differs() -> None:
    features, labels = checkerboard()

    fits = {make(random_state=None).fit(features, labels).factors_.tobytes() for _ in range(2)}

    assert len(fits) == 2


def test_epochs_are_told() -> None:
    errors: list[float] = []

    make().fit(*checkerboard(), on_epoch=lambda result: errors.append(result.metrics["rmse"]))

    assert len(errors) == 60
    assert errors[-1] < errors[0] / 4


@pytest.mark.parametrize("predictor_type", ["regressor", "binary_classifier"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_saved_model_predicts_the_same(predictor_type: str, packed: bool, tmp_path: Path) -> None:
    features, labels = checkerboard()
    fm = make(predictor_type).fit(features, labels == 5)
    path = tmp_path / "model_algo-1"
    fm.save(path)
    if packed:
        archive = tmp_path / "model.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(path, path.name)
        path = archive

    loaded = FactorizationMachine.load(path)

    assert (loaded.num_factors, loaded.predictor_type) == (4, predictor_type)
    np.testing.assert_array_equal(loaded.predict(features), fm.predict(features))
    assert loaded.score(features, labels == 5) == fm.score(features, labels == 5)


def test_the_constructor_stores_and_fit_checks() -> None:
    fm = FactorizationMachine(0, epochs=-1)

    assert (fm.num_factors, fm.epochs) == (0, -1)
    with pytest.raises(HyperparameterError, match=r"0 is not valid for 'num_factors'.*'epochs'"):
        fm.fit(*checkerboard())


def test_a_failed_fit_leaves_the_model_that_was_there() -> None:
    features, labels = checkerboard()
    fm = make().fit(features, labels)
    before = fm.predict(features)

    with pytest.raises(DataError):
        fm.fit(features, labels[1:])

    np.testing.assert_array_equal(fm.predict(features), before)


def test_an_untrained_model_says_so(tmp_path: Path) -> None:
    features, labels = checkerboard()
    for use in (
        lambda: FactorizationMachine().predict(features),
        lambda: FactorizationMachine().score(features, labels),
        lambda: FactorizationMachine().save(tmp_path / "model_algo-1"),
    ):
        with pytest.raises(DataError, match="not trained"):
            use()


def test_a_score_that_means_nothing_is_refused() -> None:
    features, labels = checkerboard()
    fm = make().fit(features, labels)

    with pytest.raises(DataError, match="no meaning"):
        fm.score(features, np.ones_like(labels))
    with pytest.raises(DataError, match="no records"):
        fm.score(features[:0], labels[:0])


def test_features_need_two_dimensions() -> None:
    with pytest.raises(DataError, match="2 dimensions"):
        FactorizationMachine().fit(np.ones(3, dtype=np.float32), [1.0])


def test_defaults_are_the_hyperparameters() -> None:
    parameters = inspect.signature(FactorizationMachine).parameters
    known = {field.name: field.default for field in fields(Hyperparameters)}

    for name, parameter in parameters.items():
        if name == "random_state":
            continue
        if parameter.default is not None and known[name] is not MISSING:
            assert parameter.default == known[name], name
    hidden = {"feature_dim", "use_bias", "use_linear", "learning_rate", "wd"}
    assert set(known) - set(parameters) == hidden | {"batch_metrics_publish_interval"}


def test_public_names_exist() -> None:
    assert [name for name in matinee.fm.__all__ if not hasattr(matinee.fm, name)] == []


def test_a_tar_file_without_a_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("other")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"hi"))

    with pytest.raises(matinee.fm.ArtifactError, match="no member 'model_algo-1'"):
        FactorizationMachine.load(path)
