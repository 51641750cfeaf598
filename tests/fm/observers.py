"""Observers of training that keep what they are told."""

from matinee.fm.training import BatchResult, EpochResult


class Log:
    """Keeps batches and epochs."""

    def __init__(self) -> None:
        self.batches: list[BatchResult] = []
        self.epochs: list[EpochResult] = []

    def on_batch(self, result: BatchResult) -> None:
        self.batches.append(result)

    def on_epoch(self, result: EpochResult) -> None:
        self.epochs.append(result)


class EpochLog(Log):
    """Keeps the epochs of a solver that has no batches."""

    def on_batch(self, result: BatchResult) -> None:
        raise AssertionError(f"there are no batches: {result}")
