"""The algorithms of this container: what each calls itself, takes and defaults to.

`factorization-machines` is SageMaker's built-in algorithm and takes what that takes, nothing else;
`matinee-fm` has more solvers, hyperparameters and channels. Both train through the same code, so
the first is the second's solver `adam` without any of its extras.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from matinee.fm import hyperparameters, matinee_hyperparameters
from matinee.fm.adam import AdamSettings
from matinee.fm.container.inputs import MODEL_CHANNEL
from matinee.fm.hyperparameters import DEFAULT_CONFIGURATION, Hyperparameters
from matinee.fm.matinee_hyperparameters import (
    MatineeHyperparameters,
    default_configuration,
    solver_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """What the container's `train` asks of an algorithm.

    Attributes
    ----------
    name
        Also the repository of its image.
    channels
        Those that it knows, in the order in which they are read.
    source
        Where its default configuration stands.
    defaults
        The hyperparameters that a job starts from, by what it was given.
    parse
        Checks hyperparameters; raises HyperparameterError.
    """

    name: str
    channels: tuple[str, ...]
    source: str
    defaults: Callable[[Mapping[str, object]], Mapping[str, object]]
    parse: Callable[[Mapping[str, object]], MatineeHyperparameters]


def _parse_strictly(values: Mapping[str, object]) -> MatineeHyperparameters:
    given = Hyperparameters.parse(values)
    settings = AdamSettings(hyperparameters=given)
    return MatineeHyperparameters(feature_dim=given.feature_dim, settings=settings)


def _matinee_defaults(given: Mapping[str, object]) -> Mapping[str, object]:
    solver = solver_of(given)
    # A solver that doesn't exist has no defaults; it is refused when the values are checked.
    return {} if solver is None else default_configuration(solver)


FACTORIZATION_MACHINES = Algorithm(
    name="factorization-machines",
    channels=("train", "test"),
    source=hyperparameters.__name__,
    defaults=lambda given: DEFAULT_CONFIGURATION,  # noqa: ARG005 - whatever is given
    parse=_parse_strictly,
)
MATINEE_FM = Algorithm(
    name="matinee-fm",
    channels=("train", "test", "validation", MODEL_CHANNEL),
    source=matinee_hyperparameters.__name__,
    defaults=_matinee_defaults,
    parse=MatineeHyperparameters.parse,
)
ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {algorithm.name: algorithm for algorithm in (FACTORIZATION_MACHINES, MATINEE_FM)}
)
