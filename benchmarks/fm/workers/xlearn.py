"""xLearn: ``sgd`` and ``adagrad``, from its own text format.

It measures epochs to a hundredth of a second. What one costs is found as the difference of a short
and a longer training, which read the same file and write as large a model.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xlearn

from benchmarks.fm.workers.task import Answer, Task, load, rmse, serve, timed


def work(task: Task) -> Answer:
    os.environ.setdefault("USER", "benchmark")  # it names its log after it, and crashes without
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        train, test = (write(task.data, part, folder) for part in ("train", "test"))

        def fit(epochs: int) -> tuple[Any, tuple[float, float]]:
            machine = xlearn.create_fm()
            machine.setTrain(str(train))
            machine.setQuiet()
            machine.disableNorm()
            machine.disableEarlyStop()
            settings = {
                "task": "reg",
                "metric": "rmse",
                "opt": task.method,
                "k": task.num_factors,
                "epoch": epochs,
                "nthread": task.threads,
                **task.options,
            }
            _, seconds = timed(lambda: machine.fit(settings, str(folder / "model")))
            return machine, seconds

        fit(1)  # turns the text into a binary file, once
        _, once = fit(1)
        machine, longer = fit(1 + task.epochs)
        machine.setTest(str(test))
        machine.predict(str(folder / "model"), str(folder / "scores"))
        scores = np.loadtxt(folder / "scores", dtype=np.float32)
    epoch = tuple((more - less) / task.epochs for more, less in zip(longer, once, strict=True))
    training = tuple(seconds * (1 + task.epochs) for seconds in epoch)
    _, stars = load(task.data, "test")
    return Answer([(epoch[0], epoch[1])], (training[0], training[1]), rmse(scores, stars))


def write(data: str, part: str, folder: Path) -> Path:
    keys, stars = load(data, part)
    path = folder / f"{part}.libsvm"
    rows = zip(stars.astype(int).tolist(), *keys.T.tolist(), strict=True)
    path.write_text("".join(f"{label} {first}:1 {second}:1\n" for label, first, second in rows))
    return path


if __name__ == "__main__":
    serve(work)
