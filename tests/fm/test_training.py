"""Training follows the rules to the letter, stops when it should and repeats itself exactly."""

import subprocess
import sys
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

from matinee.fm.data import Features, SparseRows
from matinee.fm.errors import DataError, DivergedError
from matinee.fm.hyperparameters import Hyperparameters
from matinee.fm.metrics import Totals
from matinee.fm.model import Model
from matinee.fm.training import AdamTrainer, evaluate, train
from tests.fm import reference
from tests.fm.observers import Log

# Steps large enough for a wrong rule to show after two epochs.
GIVEN = Hyperparameters(
    feature_dim=9,
    num_factors=3,
    predictor_type="regressor",
    epochs=2,
    mini_batch_size=6,
    linear_lr=0.05,
    factors_lr=0.05,
    linear_wd=0.1,
    factors_wd=0.2,
    linear_init_sigma=0.3,
    factors_init_sigma=0.4,
)
CLASSIFIER = replace(GIVEN, predictor_type="binary_classifier")
CASES = {
    "regressor": GIVEN,
    "classifier": CLASSIFIER,
    "clipped": replace(GIVEN, clip_gradient=0.05),
    # A bias that jumps over its goal, so that both bounds and neither are met.
    "clipped on both sides": replace(GIVEN, clip_gradient=1.0, bias_lr=6.0, epochs=5),
    "clipped by 0 is not clipped": replace(GIVEN, clip_gradient=0.0),
    "clipped below 0 is not clipped": replace(GIVEN, clip_gradient=-0.01),
    "gradients rescaled": replace(GIVEN, rescale_grad=0.01),
    "another epsilon": replace(GIVEN, eps=0.1),
    "epsilon 0": replace(GIVEN, eps=0.0),
    "without bias": replace(GIVEN, use_bias=False),
    "without linear": replace(GIVEN, use_linear=False),
    "base rates": replace(CLASSIFIER, learning_rate=0.5, wd=2.0),
    "one batch, mostly padding": replace(GIVEN, mini_batch_size=100),
    "batches of one": replace(GIVEN, mini_batch_size=1),
    "16 columns": replace(GIVEN, num_factors=15),
    "17 columns": replace(CLASSIFIER, num_factors=16),
    "65 columns": replace(GIVEN, num_factors=64),
}


def sparse_records(rng: np.random.Generator) -> scipy.sparse.csr_matrix:
    """23 records of 9 features: rows of 0 to 4 values, one explicit 0, feature 8 never there."""
    features = scipy.sparse.random(23, 8, 0.25, format="csr", dtype=np.float32, rng=rng)
    features.data[0] = 0
    return scipy.sparse.csr_matrix(
        (features.data, features.indices, features.indptr), shape=(23, 9)
    )


def pair_records(rng: np.random.Generator) -> scipy.sparse.csr_matrix:
    """23 records of two features of value 1, from 4 and from 4 others; feature 8 never there."""
    keys = np.stack([rng.integers(0, 4, 23), rng.integers(4, 8, 23)], axis=1)
    return scipy.sparse.csr_matrix(
        (np.ones(46, np.float32), keys.ravel(), np.arange(0, 47, 2)), shape=(23, 9)
    )


def labels_for(given: Hyperparameters, rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    high = 2 if given.predictor_type == "binary_classifier" else 6
    return rng.integers(0, high, n).astype(np.float32)


def bytes_of(model: Model) -> bytes:
    return np.float32(model.bias).tobytes() + model.linear.tobytes() + model.factors.tobytes()


@pytest.mark.parametrize("given", CASES.values(), ids=CASES)
@pytest.mark.parametrize("kind", ["sparse", "dense", "pairs"])
def test_training_agrees_with_the_reference(given: Hyperparameters, kind: str) -> None:
    rng = np.random.default_rng(1)
    sparse = pair_records(rng) if kind == "pairs" else sparse_records(rng)
    x = sparse.toarray().astype(np.float64)
    stored = np.zeros(x.shape, dtype=bool)
    stored[np.repeat(np.arange(23), np.diff(sparse.indptr)), sparse.indices] = True
    features: Features = sparse
    if kind == "dense":
        features, stored = sparse.toarray(), np.ones_like(stored)
    y = labels_for(given, rng, 23)
    log = Log()

    model = train(given, features, y, np.random.default_rng(7), log)

    expected, predictions = reference.train(given, x, stored, y.astype(np.float64), 7)
    np.testing.assert_allclose(model.bias, expected.bias, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(model.linear, expected.linear, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(model.factors, expected.factors, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(
        model.predict(features), reference.predict(expected, x, given), rtol=2e-4, atol=2e-5
    )
    padded = np.concatenate([y, np.zeros(len(predictions[0]) - 23)])
    for epoch, scores in zip(log.epochs, predictions, strict=True):
        if given.predictor_type == "regressor":
            assert epoch.metrics["mse"] == pytest.approx(np.mean((scores - padded) ** 2), rel=1e-4)
        else:
            expected_totals = Totals("binary_classifier")
            expected_totals.add(scores.astype(np.float32), padded.astype(np.float32))
            assert epoch.metrics == pytest.approx(expected_totals.metrics(), rel=1e-4)


@pytest.mark.parametrize("given", [GIVEN, CLASSIFIER], ids=["regressor", "classifier"])
def test_the_reference_gradient_is_the_slope_of_the_loss(given: Hyperparameters) -> None:
    rng = np.random.default_rng(2)
    x = sparse_records(rng).toarray().astype(np.float64)
    y = labels_for(given, rng, 23).astype(np.float64)
    parameters = reference.initial(given, 3)

    def loss(moved: reference.Parameters) -> float:
        scores = reference.predict(moved, x, given)
        if given.predictor_type == "regressor":
            return float(np.sum((scores - y) ** 2) / 2)
        return float(-np.sum(y * np.log(scores) + (1 - y) * np.log(1 - scores)))

    bias, linear, factors = reference.gradients(parameters, x, y, given)
    h = 1e-6
    for name, gradient, at in (
        ("bias", bias, ()),
        ("linear", linear, (2,)),
        ("factors", factors, (3, 1)),
    ):
        slopes = []
        for sign in (1, -1):
            moved = reference.initial(given, 3)
            values = np.array(getattr(moved, name))
            values[at] += sign * h
            setattr(moved, name, values)
            slopes.append(loss(moved))
        assert (slopes[0] - slopes[1]) / (2 * h) == pytest.approx(gradient[at], rel=1e-4)


@pytest.mark.parametrize("given", CASES.values(), ids=CASES)
def test_pairs_of_features_train_as_records_of_any_kind_do(given: Hyperparameters) -> None:
    rng = np.random.default_rng(1)
    pairs = pair_records(rng)
    y = labels_for(given, rng, 23)

    trainers = [
        AdamTrainer(
            given,
            SparseRows(
                pairs.indptr.astype(np.int64), pairs.indices, pairs.data, (23, 9), all_ones=known
            ),
            y,
            np.random.default_rng(7),
        )
        for known in (True, False)
    ]

    for _ in range(3):
        fast, general = (trainer.run_epoch() for trainer in trainers)
        assert fast == pytest.approx(general, rel=1e-5)
    fast_model, general_model = (trainer.model() for trainer in trainers)
    assert fast_model.bias == pytest.approx(general_model.bias, rel=1e-4, abs=1e-5)
    for name in ("linear", "factors"):
        np.testing.assert_allclose(
            getattr(fast_model, name), getattr(general_model, name), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("value", [1.0, 0.5])
def test_features_train_alike_whatever_their_numbers_are(value: float) -> None:
    rng = np.random.default_rng(1)
    given = replace(GIVEN, feature_dim=300, mini_batch_size=400, epochs=1)
    keys = np.stack([rng.integers(0, 200, 400), rng.integers(200, 300, 400)], axis=1).ravel()
    values, starts = np.full(800, value, np.float32), np.arange(0, 801, 2)
    y = labels_for(given, rng, 400)
    renamed = np.sort(rng.choice(100_000, 300, replace=False))
    linear = rng.standard_normal(100_000, dtype=np.float32)
    factors = rng.standard_normal((100_000, 3), dtype=np.float32)

    few = train(
        given,
        scipy.sparse.csr_matrix((values, keys, starts)),
        y,
        rng,
        initial=Model(0.5, linear[renamed], factors[renamed], "regressor"),
    )
    many = train(
        replace(given, feature_dim=100_000),
        scipy.sparse.csr_matrix((values, renamed[keys], starts)),
        y,
        rng,
        initial=Model(0.5, linear, factors, "regressor"),
    )

    assert many.bias == few.bias
    np.testing.assert_array_equal(many.linear[renamed], few.linear)
    np.testing.assert_array_equal(many.factors[renamed], few.factors)
    others = np.setdiff1d(np.arange(100_000), renamed)
    np.testing.assert_array_equal(many.factors[others], factors[others])


def test_training_starts_from_a_model_given() -> None:
    rng = np.random.default_rng(1)
    features, labels = sparse_records(rng), labels_for(GIVEN, rng, 23)
    still = replace(GIVEN, bias_lr=0.0, linear_lr=0.0, factors_lr=0.0)
    given = train(GIVEN, features, labels, rng)

    assert bytes_of(train(still, features, labels, rng, initial=given)) == bytes_of(given)
    without = replace(still, use_bias=False, use_linear=False)
    model = train(without, features, labels, rng, initial=given)
    assert model.bias == 0
    assert not model.linear.any()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"feature_dim": 10}, "a regressor of 10 features with 3 factors"),
        ({"num_factors": 4}, "a regressor of 9 features with 4 factors"),
        (
            {"predictor_type": "binary_classifier"},
            "a binary_classifier of 9 features with 3 factors",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_no_start(changes: dict[str, int], what: str) -> None:
    initial = Model(0.0, np.zeros(9, np.float32), np.zeros((9, 3), np.float32), "regressor")
    wanted = replace(GIVEN, **changes)  # type: ignore[arg-type]  # values by name

    given = "start from is a regressor of 9 features with 3 factors"
    with pytest.raises(DataError, match=f"{given}: training needs {what}"):
        train(
            wanted, scipy.sparse.csr_matrix((1, 9)), [1.0], np.random.default_rng(), initial=initial
        )


def test_a_feature_that_no_record_holds_keeps_its_initial_values() -> None:
    rng = np.random.default_rng(1)

    model = train(GIVEN, sparse_records(rng), labels_for(GIVEN, rng, 23), np.random.default_rng(7))

    initial = reference.initial(GIVEN, 7)
    np.testing.assert_array_equal(model.linear[8], initial.linear[8].astype(np.float32))
    np.testing.assert_array_equal(model.factors[8], initial.factors[8].astype(np.float32))


def test_a_key_given_twice_counts_as_the_sum_of_its_values() -> None:
    twice = scipy.sparse.csr_matrix(([1.0, 2.0, 4.0], [1, 0, 1], [0, 3]), shape=(1, 9))
    once = scipy.sparse.csr_matrix(([2.0, 5.0], [0, 1], [0, 2]), shape=(1, 9))

    trained = [train(GIVEN, given, [3.0], np.random.default_rng(0)) for given in (twice, once)]

    assert bytes_of(trained[0]) == bytes_of(trained[1])
    np.testing.assert_array_equal(twice.indices, [1, 0, 1])


def test_the_same_seed_gives_the_same_bytes_whatever_the_arrays_are_like() -> None:
    rng = np.random.default_rng(1)
    features, labels = sparse_records(rng), labels_for(GIVEN, rng, 23)
    wide = scipy.sparse.csr_matrix(
        (features.data.astype(np.float64), features.indices, features.indptr), shape=(23, 9)
    )
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    locked = features.copy()
    for array in (locked.data, locked.indices, locked.indptr):
        array.flags.writeable = False

    models = [
        train(GIVEN, given, labels, np.random.default_rng(5)) for given in (features, wide, locked)
    ]
    other = train(GIVEN, features, labels, np.random.default_rng(6))

    assert len({bytes_of(model) for model in models}) == 1
    assert bytes_of(other) != bytes_of(models[0])


def test_another_process_trains_the_same_bytes() -> None:
    program = (
        "import sys, numpy as np\n"
        "from tests.fm.test_training import *\n"
        "rng = np.random.default_rng(1)\n"
        "model = train(CLASSIFIER, sparse_records(rng), labels_for(CLASSIFIER, rng, 23), rng)\n"
        "sys.stdout.buffer.write(bytes_of(model))\n"
    )

    runs = {subprocess.check_output([sys.executable, "-c", program]) for _ in range(2)}  # noqa: S603  (a literal program)

    rng = np.random.default_rng(1)
    here = train(CLASSIFIER, sparse_records(rng), labels_for(CLASSIFIER, rng, 23), rng)
    assert runs == {bytes_of(here)}


def test_batches_are_published_at_multiples_of_the_interval_with_the_metrics_so_far() -> None:
    given = replace(GIVEN, mini_batch_size=5, batch_metrics_publish_interval=2, epochs=1)
    rng = np.random.default_rng(1)
    features, labels = sparse_records(rng), labels_for(given, rng, 23)
    log = Log()

    train(given, features, labels, np.random.default_rng(7), log)

    x = features.toarray().astype(np.float64)
    stored = np.zeros(x.shape, dtype=bool)
    stored[np.repeat(np.arange(23), np.diff(features.indptr)), features.indices] = True
    _, (scores,) = reference.train(given, x, stored, labels.astype(np.float64), 7)
    errors = (scores - np.append(labels, [0, 0])) ** 2
    assert [(result.epoch, result.batch) for result in log.batches] == [(0, 0), (0, 2), (0, 4)]
    for result, records in zip(log.batches, (5, 15, 25), strict=True):
        assert result.metrics["mse"] == pytest.approx(errors[:records].mean(), rel=1e-4)
    assert log.epochs[0].metrics == log.batches[-1].metrics


def test_epochs_are_published_with_true_records_batches_and_seconds() -> None:
    rng = np.random.default_rng(1)
    ticks = count(100.0, 2.5)
    log = Log()

    train(
        GIVEN, sparse_records(rng), labels_for(GIVEN, rng, 23), rng, log, clock=lambda: next(ticks)
    )

    told = [(result.epoch, result.records, result.batches, result.seconds) for result in log.epochs]
    assert told == [(0, 23, 4, 2.5), (1, 23, 4, 2.5)]


@pytest.mark.parametrize(
    ("method", "low", "high"), [("uniform", -0.25, 0.25), ("constant", 0.25, 0.25)]
)
def test_parameters_start_as_the_method_says(method: str, low: float, high: float) -> None:
    still = Hyperparameters.parse(
        {
            "feature_dim": 200,
            "num_factors": 20,
            "predictor_type": "regressor",
            **{f"{group}_lr": 0 for group in ("bias", "linear", "factors")},
            **{f"{group}_init_method": method for group in ("bias", "linear", "factors")},
            **{f"{group}_init_scale": 0.25 for group in ("bias", "linear", "factors")},
            **{f"{group}_init_value": 0.25 for group in ("bias", "linear", "factors")},
        }
    )

    model = train(still, scipy.sparse.csr_matrix((1, 200)), [1.0], np.random.default_rng(0))

    for values in (np.array(model.bias), model.linear, model.factors):
        assert values.min() >= low
        assert values.max() <= high
    if method == "uniform":
        assert model.factors.std() == pytest.approx(0.25 / 3**0.5, rel=0.05)
        assert abs(model.factors.mean()) < 0.02


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"factors_lr": 1e30}, "the prediction for record"),
        ({"bias_lr": 3e38, "mini_batch_size": 1}, "the prediction for record"),
        ({"epochs": 1, "mini_batch_size": 23, "linear_lr": 3e38, "rescale_grad": 1e30}, "linear"),
        ({"epochs": 1, "mini_batch_size": 23, "bias_lr": 3e38, "rescale_grad": 1e30}, "bias"),
        ({"epochs": 1, "mini_batch_size": 23, "factors_lr": 3e38, "rescale_grad": 1e30}, "factors"),
    ],
)
@pytest.mark.parametrize("given", [GIVEN, CLASSIFIER], ids=["regressor", "classifier"])
def test_diverging_training_is_an_error(
    given: Hyperparameters, changes: dict[str, float], what: str
) -> None:
    rng = np.random.default_rng(1)
    wild = replace(given, **changes)  # type: ignore[arg-type]  # floats and integers by name

    with pytest.raises(DivergedError, match=what) as caught:
        train(wild, sparse_records(rng), labels_for(given, rng, 23), rng)

    assert f"factors_lr {wild.factors_lr}" in str(caught.value)


def test_no_records_are_refused() -> None:
    with pytest.raises(DataError, match="no records"):
        train(GIVEN, scipy.sparse.csr_matrix((0, 9)), [], np.random.default_rng(0))
    model = Model(0.0, np.zeros(9, np.float32), np.zeros((9, 1), np.float32), "regressor")
    with pytest.raises(DataError, match="no records"):
        evaluate(model, scipy.sparse.csr_matrix((0, 9)), [])


def test_evaluating_measures_without_padding() -> None:
    model = Model(2.0, np.zeros(2, np.float32), np.zeros((2, 1), np.float32), "regressor")

    assert evaluate(model, np.eye(2, dtype=np.float32), [2.0, 6.0]) == {
        "rmse": 8**0.5,
        "mse": 8.0,
        "absolute_loss": 2.0,
    }
