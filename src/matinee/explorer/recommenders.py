"""The recommender of the run in service, kept as long as nobody asks for another run's.

Refuses nothing of its own: what is missing is `runs`' and `Recommender`'s to say.
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

from matinee.workflow import runs
from matinee.workflow.objects import Objects
from matinee.workflow.recommender import Recommender
from matinee.workflow.runs import Run


class Recommenders:
    """Finds runs and loads what recommends of them, one at a time; for many threads.

    Parameters
    ----------
    objects : Objects
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._loaded: tuple[str, Recommender] | None = None

    def run(self, name: str, sagemaker: Any) -> Run:
        """Return a run by its name; by an empty one that in service, else the latest.

        Raises
        ------
        ObjectsError
            If there is none.
        """
        if name:
            return runs.by_name(self._objects, name)
        served = runs.in_service(self._objects, sagemaker, runs.ENDPOINT)
        return served or runs.latest(self._objects)

    def of(self, run: Run) -> Recommender:
        """Return a run's recommender; who asks first waits until it is loaded.

        Raises
        ------
        ObjectsError, EvaluationError
            If the run is not as it was left.
        """
        with self._lock:
            if self._loaded is None or self._loaded[0] != run.model:
                self._loaded = None  # two need not fit into memory
                # What is mapped of the folder stays there until the recommender is forgotten.
                with tempfile.TemporaryDirectory(prefix="matinee-explorer-") as folder:
                    recommender = Recommender.load(
                        self._objects, run.preprocessed, run.model, Path(folder)
                    )
                self._loaded = (run.model, recommender)
            return self._loaded[1]
