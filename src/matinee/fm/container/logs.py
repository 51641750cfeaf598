"""The training log: the lines that SageMaker's metric definitions are scraped from.

Lines carry the prefix `[MM/DD/YYYY HH:MM:SS LEVEL thread] ` in UTC, except for `#metrics` lines,
which are JSON. Wording, order and the irregular commas are those of the container's public logs,
because the regular expressions of CloudWatch metrics and tuning objectives match them.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping

from matinee.fm.matinee_hyperparameters import MatineeHyperparameters
from matinee.fm.metrics import METRICS
from matinee.fm.training import BatchResult, EpochResult

LOGGER = logging.getLogger("matinee.fm.container")


def configure() -> None:
    """Send every logger's lines to stdout, prefixed as the container does it."""
    formatter = logging.Formatter(
        "[%(asctime)s %(levelname)s %(thread)d] %(message)s", "%m/%d/%Y %H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class TrainingLog:
    """Prints a training run; an `Observer` of `matinee.fm.training`.

    Parameters
    ----------
    host : str
        This instance's name.
    algorithm : str
        The algorithm's name.
    hyperparameters : MatineeHyperparameters
        Of the run.
    records : int
        Records of the train channel.
    clock : callable
        Seconds since 1970.
    started : float
        When the process began its work, by that clock.
    """

    def __init__(
        self,
        *,
        host: str,
        algorithm: str,
        hyperparameters: MatineeHyperparameters,
        records: int,
        clock: Callable[[], float],
        started: float,
    ) -> None:
        self._host = host
        self._algorithm = algorithm
        self._epochs = hyperparameters.epochs
        # Solvers without batches take all records at once.
        self._batch_size = hyperparameters.mini_batch_size or records
        self._kinds = {
            metric.name: metric.kind for metric in METRICS[hyperparameters.predictor_type]
        }
        self._clock = clock
        self._started = self._initialized = self._step_started = started
        # The first batch is looked at once before training, and counts.
        self._records_seen = self._most_records = min(records, self._batch_size)
        self._batches_seen = self._most_batches = 1
        self._last: EpochResult | None = None

    def on_initialized(self) -> None:
        """The data are read; training begins."""
        self._print_time("initialize.time")
        self._initialized = self._step_started
        self._print_counters({"Meta": "init_train_data_iter"}, resets=1)

    def on_batch(self, result: BatchResult) -> None:
        """Metrics since the beginning of an epoch."""
        self._print_quality(f"epoch={result.epoch}, batch={result.batch} train", result.metrics)

    def on_epoch(self, result: EpochResult) -> None:
        """An epoch's metrics, progress and throughput."""
        epochs = self._epochs
        self._print_quality(f"epoch={result.epoch}, train", result.metrics)
        if result.epoch + 1 == epochs:
            self._print_quality("train", result.metrics)
        if result.validation is not None:
            self._print_quality(f"epoch={result.epoch}, validation", result.validation)
        self._last = result
        # Not since the last step: before the first epoch compiled code is loaded.
        self._step_started = self._clock() - result.seconds
        self._print_time("update.time", epochs=epochs if result.epoch == 0 else None)
        LOGGER.info(
            "#progress_metric: host=%s, completed %s %% of epochs",
            self._host,
            100 * (result.epoch + 1) / epochs,
        )
        self._records_seen += result.records
        self._batches_seen += result.batches
        self._most_records = max(self._most_records, result.records)
        self._most_batches = max(self._most_batches, result.batches)
        self._print_counters(
            {"epoch": result.epoch, "Meta": "training_data_iter"}, resets=result.epoch + 2
        )
        LOGGER.info(
            "#throughput_metric: host=%s, train throughput=%s records/second",
            self._host,
            # A clock may be too coarse for a tiny epoch.
            result.records / max(result.seconds, 1e-9),
        )

    def on_finalized(self) -> None:
        """The model is written."""
        if self._last is not None and self._last.epoch + 1 < self._epochs:
            LOGGER.info("Training stopped early, after %d epochs", self._last.epoch + 1)
            self._print_quality("train", self._last.metrics)
        self._print_time("finalize.time")

    def on_channel(self, name: str, metrics: Mapping[str, float], records: int) -> None:
        """The model's metrics on the records of the channel `validation` or `test`."""
        self._records_seen = self._most_records = records
        self._batches_seen = self._most_batches = -(-records // self._batch_size)
        self._print_counters({"Meta": f"{name}_data_iter"}, resets=1)
        for metric, value in metrics.items():
            LOGGER.info("#%s_score (%s) : %s", name, self._host, (metric, value))
        self._print_quality(name, metrics)

    def on_end(self) -> None:
        """The job's last line."""
        times = {"setuptime": self._initialized, "totaltime": self._clock()}
        self._print_metrics(
            {}, {name: _measure((end - self._started) * 1000) for name, end in times.items()}
        )

    def _print_quality(self, what: str, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            LOGGER.info(
                "#quality_metric: host=%s, %s %s <%s>=%s",
                self._host,
                what,
                name,
                self._kinds[name],
                value,
            )

    def _print_time(self, name: str, epochs: int | None = None) -> None:
        """How long the step took that ends now."""
        counts = {} if epochs is None else {"epochs": _measure(epochs)}
        milliseconds = (self._clock() - self._step_started) * 1000
        self._print_metrics({}, {**counts, name: _measure(milliseconds)})
        self._step_started = self._clock()

    def _print_counters(self, dimensions: Mapping[str, object], resets: int) -> None:
        counters = {
            "Total Records Seen": self._records_seen,
            "Total Batches Seen": self._batches_seen,
            "Max Records Seen Between Resets": self._most_records,
            "Max Batches Seen Between Resets": self._most_batches,
            "Reset Count": resets,
            "Number of Records Since Last Reset": 0,
            "Number of Batches Since Last Reset": 0,
        }
        self._print_metrics(dimensions, {name: _measure(value) for name, value in counters.items()})

    def _print_metrics(
        self, dimensions: Mapping[str, object], metrics: Mapping[str, object]
    ) -> None:
        line = {
            "StartTime": self._step_started,
            "EndTime": self._clock(),
            "Dimensions": {
                "Algorithm": self._algorithm,
                "Host": self._host,
                "Operation": "training",
                **dimensions,
            },
            "Metrics": metrics,
        }
        print(f"#metrics {json.dumps(line)}", flush=True)


def _measure(value: float) -> dict[str, float]:
    return {"sum": float(value), "count": 1, "min": value, "max": value}
