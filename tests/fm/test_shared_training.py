"""Several hosts train as one host would on all of their records, and always the same."""

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from matinee.fm.adam import AdamSettings, train_adam
from matinee.fm.data import Features
from matinee.fm.errors import DataError, DivergedError
from matinee.fm.hosts import Hosts, HostsError, added_up, gather
from matinee.fm.hyperparameters import Hyperparameters
from matinee.fm.model import Model
from matinee.fm.training import evaluate, train
from tests.fm.cluster import on_hosts
from tests.fm.observers import Log

GIVEN = Hyperparameters(
    feature_dim=9,
    num_factors=3,
    predictor_type="regressor",
    epochs=3,
    mini_batch_size=4,
    linear_lr=0.05,
    factors_lr=0.05,
    linear_wd=0.1,
    factors_wd=0.2,
    linear_init_sigma=0.3,
    factors_init_sigma=0.4,
)
CASES = {
    "regressor": GIVEN,
    "classifier": replace(GIVEN, predictor_type="binary_classifier"),
    "clipped": replace(GIVEN, clip_gradient=0.05),
    "gradients rescaled": replace(GIVEN, rescale_grad=0.01),
    "without bias": replace(GIVEN, use_bias=False),
    "without linear": replace(GIVEN, use_linear=False),
    "17 columns": replace(GIVEN, num_factors=17),
}


def records(n: int, given: Hyperparameters = GIVEN) -> tuple[Any, Any]:
    """n records of 9 features, some of them 0 but stored, and labels of both predictor types."""
    rng = np.random.default_rng(5)
    features = scipy.sparse.random(n, 9, 0.3, format="csr", dtype=np.float32, rng=rng)
    features.data[::5] = 0
    high = 2 if given.predictor_type == "binary_classifier" else 6
    return features, rng.integers(0, high, n).astype(np.float32)


def train_on_hosts(
    given: Hyperparameters, parts: list[tuple[Features, Any]], **settings: Any
) -> tuple[list[Model], list[Log]]:
    """Train with a part of the records on each host; return the models and what hosts were told."""
    logs = [Log() for _ in parts]

    def work(hosts: Hosts) -> Model:
        features, labels = parts[hosts.rank]
        return train_adam(
            AdamSettings(hyperparameters=given, **settings),
            features,
            labels,
            np.random.default_rng(1),
            observer=logs[hosts.rank],
            hosts=hosts,
        )

    return on_hosts(len(parts), work), logs


def dealt(features: Any, labels: Any, hosts: int) -> list[tuple[Any, Any]]:
    return [(features[rank::hosts], labels[rank::hosts]) for rank in range(hosts)]


def values(model: Model) -> Any:
    return np.concatenate([[model.bias], model.linear, model.factors.ravel()])


@pytest.mark.parametrize("dense", [False, True], ids=["sparse", "dense"])
@pytest.mark.parametrize("given", CASES.values(), ids=CASES)
def test_two_hosts_train_as_one_with_batches_twice_as_large(
    given: Hyperparameters, dense: bool
) -> None:
    features, labels = records(24, given)
    if dense:
        features = features.toarray()
    models, _ = train_on_hosts(given, dealt(features, labels, 2))
    whole = replace(given, mini_batch_size=2 * given.mini_batch_size)
    expected = train(whole, features, labels, np.random.default_rng(1))

    np.testing.assert_allclose(values(models[0]), values(expected), rtol=1e-4, atol=1e-5)
    assert values(models[1]).tolist() == values(models[0]).tolist()


def test_the_same_hosts_reach_the_same_bytes() -> None:
    parts = dealt(*records(30), 3)
    first, _ = train_on_hosts(GIVEN, parts)
    again, _ = train_on_hosts(GIVEN, parts)
    assert values(first[0]).tobytes() == values(again[0]).tobytes()


def test_hosts_with_all_records_train_as_one() -> None:
    features, labels = records(23)
    models, _ = train_on_hosts(GIVEN, [(features, labels)] * 2)
    expected = train(GIVEN, features, labels, np.random.default_rng(1))
    np.testing.assert_allclose(values(models[0]), values(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dense", [False, True], ids=["sparse", "dense"])
def test_a_host_adds_nothing_once_its_records_are_used_up(dense: bool) -> None:
    features, labels = records(20)
    if dense:
        features = features.toarray()
    none = scipy.sparse.csr_matrix((0, 9), dtype=np.float32)
    parts = [(none, labels[:0]), (features, labels), (none, labels[:0])]
    models, logs = train_on_hosts(GIVEN, parts)
    # One host's gradients, divided by the records of three.
    alone = replace(GIVEN, rescale_grad=1 / 12)
    expected = train(alone, features, labels, np.random.default_rng(1))

    np.testing.assert_allclose(values(models[0]), values(expected), rtol=1e-4, atol=1e-5)
    assert [epoch.metrics for epoch in logs[0].epochs] == [{}, {}, {}]
    assert logs[0].batches == []


def test_each_host_is_told_of_its_own_records() -> None:
    features, labels = records(10)
    parts = [(features[:7], labels[:7]), (features[7:], labels[7:])]
    _, logs = train_on_hosts(replace(GIVEN, batch_metrics_publish_interval=1), parts)
    assert [(epoch.records, epoch.batches) for epoch in logs[0].epochs] == [(7, 2)] * 3
    assert [(epoch.records, epoch.batches) for epoch in logs[1].epochs] == [(3, 1)] * 3
    assert [batch.batch for batch in logs[0].batches] == [0, 1] * 3
    assert [batch.batch for batch in logs[1].batches] == [0] * 3
    assert logs[0].epochs[0].metrics == logs[0].batches[1].metrics
    assert logs[0].epochs[0].metrics["mse"] != logs[1].epochs[0].metrics["mse"]


def test_several_models_are_averaged_as_on_one_host() -> None:
    features, labels = records(24)
    models, _ = train_on_hosts(GIVEN, dealt(features, labels, 2), num_models=2)
    whole = replace(GIVEN, mini_batch_size=8)
    settings = AdamSettings(hyperparameters=whole, num_models=2)
    expected = train_adam(settings, features, labels, np.random.default_rng(1))
    scores, expected_scores = models[0].predict(features), expected.predict(features)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-3, atol=1e-4)


def test_records_held_out_are_measured_by_all_and_end_training_everywhere() -> None:
    features, labels = records(24)
    parts = dealt(features, labels, 2)
    given = replace(GIVEN, epochs=30, factors_lr=0.3)
    settings = AdamSettings(hyperparameters=given, patience=1)
    logs = [Log(), Log()]

    def work(hosts: Hosts) -> tuple[Model, dict[str, float]]:
        held_out = parts[hosts.rank]
        rng = np.random.default_rng(1)
        model = train_adam(
            settings,
            *parts[hosts.rank],
            rng,
            observer=logs[hosts.rank],
            validation=(held_out[0], 6 - held_out[1]),
            hosts=hosts,
        )
        return model, evaluate(model, *held_out, hosts)

    (model, measured), (_, same) = on_hosts(2, work)
    assert measured == same
    assert measured == pytest.approx(evaluate(model, features, labels))
    told = [[epoch.validation for epoch in log.epochs] for log in logs]
    assert told[0] == told[1]
    assert 1 < len(told[0]) < 30


def test_records_of_two_kinds_are_refused_everywhere() -> None:
    features, labels = records(8)
    parts = [(features, labels), (features.toarray(), labels)]
    with pytest.raises(DataError, match="host 2 has dense records and host 1 sparse ones"):
        train_on_hosts(GIVEN, parts)


def test_without_records_there_is_nothing_to_train() -> None:
    none = scipy.sparse.csr_matrix((0, 9), dtype=np.float32)
    with pytest.raises(DataError, match="no host has records"):
        train_on_hosts(GIVEN, [(none, np.zeros(0, np.float32))] * 2)


def test_a_step_has_to_fit_a_message() -> None:
    given = replace(GIVEN, feature_dim=3_000_000, num_factors=200)
    features = scipy.sparse.csr_matrix((1, 3_000_000), dtype=np.float32)
    wide = scipy.sparse.random(
        4, 3_000_000, 0.2, format="csr", dtype=np.float32, rng=np.random.default_rng(0)
    )
    parts = [(features, np.ones(1)), (wide, np.ones(4))]
    with pytest.raises(DataError, match="too many for hosts to send in each step, above"):
        train_on_hosts(given, parts)


def step_message(*keys: int) -> bytes:
    """The gradients of one step, all 1."""
    head = struct.pack(f"<If{len(keys)}i", len(keys), 1, *keys)
    return head + np.ones((len(keys), 4), dtype=np.float32).tobytes()


@pytest.mark.parametrize("wrong", [0, 1], ids=["the first one", "another one"])
@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (bytes(4), "a host sent 4 bytes, not the gradients of a step"),
        (step_message(0)[:-1], "a host sent 27 bytes for 1 features"),
        (step_message(9), "features that the model does not have"),
        (step_message(-1), "features that the model does not have"),
    ],
)
def test_what_no_host_would_send_is_refused(message: bytes, problem: str, wrong: int) -> None:
    features, labels = records(8)

    def work(hosts: Hosts) -> None:
        if hosts.rank != wrong:
            settings = AdamSettings(hyperparameters=GIVEN)
            train_adam(settings, features, labels, np.random.default_rng(1), hosts=hosts)
        gather(hosts, {"records": 8, "dense": False, "values": 9})
        for _ in hosts.collect(message, 1 << 20):
            pass
        hosts.spread(message, 1 << 20)

    with pytest.raises(HostsError, match=problem):
        on_hosts(2, work)


def test_more_features_than_a_host_has_told_are_refused() -> None:
    one = scipy.sparse.csr_matrix(([1.0], [3], [0, 1]), shape=(1, 9), dtype=np.float32)

    def work(hosts: Hosts) -> None:
        if hosts.rank == 0:
            settings = AdamSettings(hyperparameters=GIVEN)
            train_adam(settings, one, np.ones(1), np.random.default_rng(1), hosts=hosts)
        gather(hosts, {"records": 1, "dense": False, "values": 1})
        hosts.collect(step_message(4, 5), 1 << 20)
        hosts.spread(b"", 1 << 20)

    with pytest.raises(HostsError, match="a host sent more features than it has told of"):
        on_hosts(2, work)


def test_what_diverges_on_one_host_ends_all() -> None:
    features, labels = records(8)
    given = replace(GIVEN, epochs=9, linear_lr=1e38)
    errors = []

    def work(hosts: Hosts) -> None:
        try:
            rng = np.random.default_rng(1)
            part = dealt(features, labels, 2)[hosts.rank]
            train_adam(AdamSettings(hyperparameters=given), *part, rng, hosts=hosts)
        except (DivergedError, HostsError) as error:
            errors.append(error)
            raise

    with pytest.raises((DivergedError, HostsError)):
        on_hosts(2, work)
    assert len(errors) == 2
    assert any(isinstance(error, DivergedError) for error in errors)


def test_hosts_gather_and_add_up() -> None:
    def work(hosts: Hosts) -> tuple[list[Any], list[float]]:
        sums = added_up(hosts, np.array([hosts.rank, 1.5]))
        return gather(hosts, {"rank": hosts.rank}), sums.tolist()

    expected = ([{"rank": 0}, {"rank": 1}, {"rank": 2}], [3.0, 4.5])
    assert on_hosts(3, work) == [expected] * 3
    assert added_up(None, np.array([2.0])).tolist() == [2.0]
