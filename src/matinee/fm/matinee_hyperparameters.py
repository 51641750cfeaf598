"""The hyperparameters of ``matinee-fm``: which solver, and what that solver takes.

Every hyperparameter of ``factorization-machines`` keeps its name and rule and belongs to the solver
``adam``; ``sgd`` and ``mcmc`` have fewer of their own. One that the chosen solver does not use is
refused instead of ignored, like an unknown one; all problems are told at once.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from matinee.fm import hyperparameters, rules
from matinee.fm.adam import AdamSettings
from matinee.fm.artifact import MOST_SAMPLES
from matinee.fm.errors import HyperparameterError
from matinee.fm.hyperparameters import Hyperparameters, PredictorType
from matinee.fm.mcmc import McmcSettings
from matinee.fm.rules import (
    NATURAL_NUMBER,
    NON_NEGATIVE_NUMBER,
    POSITIVE_INTEGER,
    POSITIVE_INTEGERS,
    SEED,
    Rule,
    natural_number,
    one_of,
)
from matinee.fm.sgd import SgdSettings
from matinee.fm.threads import check_threads

Solver = Literal["adam", "sgd", "mcmc"]
Settings: TypeAlias = AdamSettings | SgdSettings | McmcSettings

DEFAULT_SOLVER: Solver = "mcmc"
REQUIRED = ("feature_dim", "predictor_type")

# SageMaker's algorithm has no default, the settings of the other solvers have their own.
_ADAM_FACTORS = 64
# Unless burn_in says how many sweeps are forgotten, it is the default, but at most one in so many.
_BURN_IN_SHARE = 6

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "solver": one_of(*get_args(Solver)),
        **hyperparameters.RULES,
        "artifact_factors": POSITIVE_INTEGER,
        "burn_in": NATURAL_NUMBER,
        "field_dims": POSITIVE_INTEGERS,
        "init_sigma": NON_NEGATIVE_NUMBER,
        "learning_rate": NON_NEGATIVE_NUMBER,
        "num_models": POSITIVE_INTEGER,
        "num_samples": natural_number(MOST_SAMPLES),
        "patience": POSITIVE_INTEGER,
        "regularization": NON_NEGATIVE_NUMBER,
        "seed": SEED,
        "threads": POSITIVE_INTEGER,
    }
)
"""Every hyperparameter of every solver, and what its value may be."""

# Nothing depends on most underscored names: they choose between MXNet's devices and executors.
_OF_ALL = frozenset({"solver", "feature_dim", "predictor_type", "seed"}) | {
    name for name in RULES if name.startswith("_") and name not in {"_learning_rate", "_wd"}
}


def _names(settings: type[Settings]) -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(settings))


SOLVERS: Mapping[Solver, frozenset[str]] = MappingProxyType(
    {
        "adam": _OF_ALL | hyperparameters.RULES.keys() | _names(AdamSettings) - {"hyperparameters"},
        "sgd": _OF_ALL | _names(SgdSettings) | {"threads"},
        "mcmc": _OF_ALL | _names(McmcSettings) | {"threads"},
    }
)
"""The names of the hyperparameters that each solver takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatineeHyperparameters:
    """Checked, typed hyperparameters of ``matinee-fm``; ``parse`` makes them.

    Attributes
    ----------
    feature_dim
        Width of the features.
    settings
        Of the chosen solver; their type says which one it is.
    threads
        None for the solver's choice.
    seed
        None for a fresh one.
    """

    feature_dim: int
    settings: Settings
    threads: int | None = None
    seed: int | None = None

    @property
    def predictor_type(self) -> PredictorType:
        return self.settings.predictor_type

    @property
    def epochs(self) -> int:
        """How many epochs an observer is told of, unless training stops early."""
        settings = self.settings
        if isinstance(settings, AdamSettings):
            return settings.num_models * settings.hyperparameters.epochs
        return settings.epochs

    @property
    def mini_batch_size(self) -> int | None:
        """Records of a mini-batch; None for solvers without mini-batches."""
        if isinstance(self.settings, AdamSettings):
            return self.settings.hyperparameters.mini_batch_size
        return None

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> "MatineeHyperparameters":
        """Check hyperparameters and give them types.

        Parameters
        ----------
        values
            Name to value, as in ``hyperparameters.json``: strings, or the JSON number, boolean or
            list that the string would spell.

        Raises
        ------
        HyperparameterError
            If a required name is missing, a name is unknown or not one of the solver, or a value
            breaks its rule. The message holds every problem found.
        """
        typed, problems = rules.check(values, RULES, REQUIRED)
        solver = solver_of(values)
        if solver is not None:
            problems += _foreign(solver, values)
        problems += _contradictions(typed)
        if solver is None or problems:
            raise HyperparameterError("; ".join(problems))
        return cls(
            feature_dim=typed["feature_dim"],
            settings=_settings(solver, typed),
            threads=typed.get("threads"),
            seed=typed.get("seed"),
        )


def solver_of(values: Mapping[str, object]) -> Solver | None:
    """Return the solver that hyperparameters ask for; None if there is no such solver."""
    asked = values.get("solver", DEFAULT_SOLVER)
    return next((solver for solver in SOLVERS if solver == asked), None)


def default_configuration(solver: Solver) -> dict[str, str | int]:
    """Return what a job of a solver starts from, in its printed form."""
    base: Mapping[str, str | int] = {}
    if solver == "adam":
        kind: type[Settings] = AdamSettings
        base = {"num_factors": str(_ADAM_FACTORS), **hyperparameters.DEFAULT_CONFIGURATION}
    else:
        kind = SgdSettings if solver == "sgd" else McmcSettings
    defaults = {
        field.name: str(field.default)
        for field in dataclasses.fields(kind)
        if field.name in RULES
        and field.name not in {"predictor_type", "burn_in"}
        and field.default not in (None, dataclasses.MISSING)
    }
    return {"solver": solver, **base, **defaults}


def _settings(solver: Solver, typed: Mapping[str, Any]) -> Settings:
    if solver == "adam":
        of_adam = Hyperparameters.from_typed({"num_factors": _ADAM_FACTORS, **typed})
        return AdamSettings(hyperparameters=of_adam, **_of(AdamSettings, typed))
    if solver == "sgd":
        return SgdSettings(**_of(SgdSettings, typed))
    own = _of(McmcSettings, typed)
    if "epochs" in own:
        own.setdefault("burn_in", min(McmcSettings().burn_in, own["epochs"] // _BURN_IN_SHARE))
    return McmcSettings(**own)


def _of(settings: type[Settings], typed: Mapping[str, Any]) -> dict[str, Any]:
    names = _names(settings)
    return {name: value for name, value in typed.items() if name in names}


def _foreign(solver: Solver, values: Mapping[str, object]) -> list[str]:
    """Return a sentence for each name that only other solvers take."""
    return [
        f"{name!r} is not a hyperparameter of solver {solver!r}, only of "
        + " and ".join(repr(other) for other, names in SOLVERS.items() if name in names)
        for name in RULES
        if name in values and name not in SOLVERS[solver]
    ]


def _contradictions(typed: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each value that others of the hyperparameters rule out."""
    problems = []
    widths, feature_dim = typed.get("field_dims", ()), typed.get("feature_dim")
    if widths and feature_dim is not None and sum(widths) != feature_dim:
        problems.append(
            f"'field_dims' add up to {sum(widths)} but 'feature_dim' is {feature_dim}: "
            "the fields must cover all features"
        )
    burn_in, epochs = typed.get("burn_in"), typed.get("epochs")
    if burn_in is not None and epochs is not None and burn_in >= epochs:
        problems.append(f"'burn_in' is {burn_in}: it must be below 'epochs', which is {epochs}")
    if "threads" in typed:
        try:
            check_threads(typed["threads"])
        except HyperparameterError as error:
            problems.append(str(error))
    return problems
