"""What an orchestrator does around the steps, whichever it is: the DAG's tasks and the state
machine's jobs call these.

Here stands what a step is worth to other runs: what an earlier one has made is taken instead of
made again (`reuse`), and what this one made is recorded. Refuses nothing itself; the steps do.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from matinee.workflow.evaluate import Evaluated, evaluate
from matinee.workflow.parts import Preprocessed
from matinee.workflow.preprocess import preprocess
from matinee.workflow.reuse import find, preprocess_key, remember, reusing, training_key
from matinee.workflow.settings import Settings

Training = Literal["train", "tune", "configure"]


class EvaluatedRun(Evaluated):
    """What `evaluate` returned, and of each reused step the run that it is taken from."""

    reused: dict[str, str]


def preprocess_or_reuse(settings: Settings, run: str, image: str) -> tuple[Preprocessed, str]:
    """Preprocess the ratings, unless an earlier run did the same.

    Parameters
    ----------
    settings : Settings
    run : str
        The run's name.
    image : str
        URI of the algorithm's image.

    Returns
    -------
    tuple of Preprocessed and str
        What the step returned, and the key by which a later run finds this one's model.

    Raises
    ------
    ObjectsError, RatingsError
        As of `preprocess`.
    """
    key = preprocess_key(settings)
    done = reusing(settings, run, "preprocess", key, lambda: preprocess(settings, {"run": run}))
    return cast("Preprocessed", done), training_key(settings, key, image)


def training(settings: Settings) -> Training:
    """Return how the run's models are trained: one, by tuning, or one for each configuration."""
    if settings.configurations:
        return "configure"
    return "tune" if settings.tune else "train"


def find_trained(settings: Settings, run: str, trained_by: str) -> dict[str, Any] | None:
    """Return the model of an earlier run that was trained alike, with `reused_from`, if there is.

    Parameters
    ----------
    settings : Settings
    run : str
        This run's name.
    trained_by : str
        The key that `preprocess_or_reuse` returned.
    """
    found = find(settings, run, "train", trained_by)
    return None if found is None else {**found["outputs"], "reused_from": found["run"]}


def evaluate_and_remember(
    settings: Settings, inputs: dict[str, Any], trained_by: str
) -> EvaluatedRun:
    """Evaluate a run, and record its model for later ones if it is the run's own.

    Parameters
    ----------
    settings : Settings
    inputs : dict
        As of `evaluate`.
    trained_by : str
        The key that `preprocess_or_reuse` returned.

    Raises
    ------
    ObjectsError, EvaluationError
        As of `evaluate`.
    """
    preprocessed, trained = inputs["preprocessed"], inputs["trained"]
    made = {"preprocess": preprocessed, "train": trained}
    reused = {
        name: outputs["reused_from"] for name, outputs in made.items() if "reused_from" in outputs
    }
    if "train" not in reused:
        remember(settings, preprocessed["run"], "train", trained_by, trained)
    return {**evaluate(settings, inputs), "reused": reused}
