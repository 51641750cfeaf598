"""The best model is kept, and training stops when it has not been bettered for long enough."""

import math

import pytest

from matinee.fm.errors import DivergedError, HyperparameterError
from matinee.fm.stopping import EarlyStopping


def judge(stopping: EarlyStopping[str], losses: list[float]) -> list[bool]:
    return [
        stopping.update(epoch, loss, lambda epoch=epoch: f"model of epoch {epoch}")  # type: ignore[misc]
        for epoch, loss in enumerate(losses)
    ]


def test_training_stops_after_as_many_epochs_without_a_lower_loss_as_patience_says() -> None:
    stopping = EarlyStopping[str](patience=2)

    told = judge(stopping, [5.0, 4.0, 4.0, 4.5])

    assert told == [False, False, False, True]
    assert stopping.best_model == "model of epoch 1"
    assert (stopping.best_epoch, stopping.best_loss) == (1, 4.0)


def test_a_lower_loss_renews_patience() -> None:
    assert judge(EarlyStopping[str](patience=1), [5.0, 4.0, 3.0, 3.5]) == [False] * 3 + [True]


def test_without_patience_training_never_stops_but_the_best_is_kept() -> None:
    stopping = EarlyStopping[str]()

    assert judge(stopping, [5.0, 1.0, *[2.0] * 50]) == [False] * 52
    assert stopping.best_model == "model of epoch 1"


def test_a_model_is_made_only_when_it_is_the_best() -> None:
    stopping = EarlyStopping[int]()
    made: list[int] = []

    for epoch, loss in enumerate([3.0, 4.0, 2.0, 2.0]):
        stopping.update(epoch, loss, lambda epoch=epoch: made.append(epoch) or epoch)  # type: ignore[misc,func-returns-value]

    assert made == [0, 2]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error(loss: float) -> None:
    with pytest.raises(DivergedError, match=f"validation loss is {loss} after epoch 3"):
        EarlyStopping[str]().update(3, loss, lambda: "model")


def test_patience_must_be_positive() -> None:
    with pytest.raises(HyperparameterError, match="patience is 0"):
        EarlyStopping[str](patience=0)


def test_there_is_no_best_model_before_the_first_epoch() -> None:
    with pytest.raises(LookupError, match="no epoch"):
        _ = EarlyStopping[str]().best_model
