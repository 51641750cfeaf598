"""What Gibbs samplers of Factorization Machines share: priors, the sums they need, random numbers.

A ``Sampler`` draws the features' parameters and knows how records are laid out. Everything else in
the chain follows from sums: noise and constant term from those of residuals, each field's priors
from those of its parameters (``draw_priors``). What lies above the priors is vague, and presumes
labels with a variance near 1.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from matinee.fm.fields import Fields
from matinee.fm.native import aligned
from matinee.fm.threads import Team

Fill: TypeAlias = Callable[[NDArray[np.float32], int, int], None]
"""Fills an array with the random numbers of a field, from one of its features on."""

_Result = TypeVar("_Result")

# Precisions have the Gamma distribution of this shape and rate before anything is seen; a mean is
# normal around 0, with as much weight as this many parameters. A lower rate drives factors to 0.
_SHAPE = 0.5
_RATE = 0.2
_WEIGHT = 1.0
# Of few features precisions may come out near 0: then float32 could not tell labels from factors.
_LEAST_PRECISION = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Priors:
    """What is believed of each field's parameters before a record is seen.

    Attributes
    ----------
    means, precisions
        float32 (fields, num_factors + 1): of each factor, then of the linear weight.
    """

    means: NDArray[np.float32]
    precisions: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over each field's features.

    Attributes
    ----------
    counts
        Number of features of each field, (fields,).
    sums, squares
        float64 (fields, num_factors + 1): of the parameters and of their squares.
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Residuals:
    """Sums over records of label less prediction, of its square and of its absolute value."""

    sum: float
    squares: float
    absolute: float


def field_moments(
    fields: Fields, linear: NDArray[np.float32], factors: NDArray[np.float32]
) -> Moments:
    """Sum up parameters by field."""
    parameters = np.column_stack([factors, linear]).astype(np.float64)
    starts = fields.starts[:-1]
    return Moments(
        np.array(fields.widths),
        np.add.reduceat(parameters, starts),
        np.add.reduceat(np.square(parameters), starts),
    )


def draw_noise(squares: float, records: int, rng: np.random.Generator) -> float:
    """Draw the variance of labels given the sum of squared residuals."""
    return float((_RATE + squares / 2) / rng.standard_gamma(_SHAPE + records / 2))


def draw_priors(moments: Moments, rng: np.random.Generator) -> Priors:
    """Draw each field's means and precisions given its parameters: a normal-gamma distribution."""
    counts = moments.counts[:, None]
    weights = counts + _WEIGHT
    centres = moments.sums / weights
    spread = np.maximum(moments.squares - weights * np.square(centres), 0)
    precisions = rng.standard_gamma(_SHAPE + counts / 2, spread.shape) / (_RATE + spread / 2)
    precisions = np.maximum(precisions, _LEAST_PRECISION)
    means = centres + rng.standard_normal(centres.shape) / np.sqrt(weights * precisions)
    return Priors(means.astype(np.float32), precisions.astype(np.float32))


def normals(seed: int, sweep: int) -> Fill:
    """Return a source of standard normal numbers that depend on their place, not on their turn.

    Parameters
    ----------
    seed
        Of the whole chain.
    sweep
        Counted from 0.
    """

    def fill(out: NDArray[np.float32], field: int, part: int) -> None:
        source = np.random.SFC64([seed, sweep, field, part])
        np.random.Generator(source).standard_normal(out=out, dtype=np.float32)

    return fill


class Workers(Team):
    """A team that draws: it divides what there is to draw, and each thread keeps scratch space."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._local = threading.local()

    def map_parts(
        self, work: Callable[[int, int], _Result], count: int, part: int
    ) -> list[_Result]:
        """Do ``work(first, last)`` for all parts of ``count`` things; return results in order."""
        firsts = range(0, count, part)
        return self.map(lambda first: work(first, min(first + part, count)), firsts)

    def room(self, name: str, size: int) -> NDArray[np.float32]:
        """Return this thread's array of a name, of at least a size: zeros at first, aligned."""
        room: NDArray[np.float32] | None = getattr(self._local, name, None)
        if room is None or len(room) < size:
            room = aligned(size)
            setattr(self._local, name, room)
        return room


class Sampler(Protocol):
    """Draws all features' parameters given the rest."""

    def moments(self) -> Moments:
        """Return sums over the current parameters."""

    def sweep(self, bias: float, noise: float, priors: Priors, fill: Fill) -> Residuals:
        """Draw every feature's parameters once, in place.

        Parameters
        ----------
        bias
            Constant term.
        noise
            Variance of a label given its prediction.
        fill
            Source of standard normal numbers.
        """

    def residuals(self) -> NDArray[np.float32]:
        """Return label less prediction of each record, (n,), in the records' order."""

    def relabel(self, labels: NDArray[np.float32]) -> None:
        """Go on with other labels, (n,)."""

    def parameters(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the linear weights (d,) and the factors (d, num_factors), which sweeps change."""
