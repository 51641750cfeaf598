"""The hyperparameters of Factorization Machines: their names, defaults and rules.

They arrive as the strings of ``hyperparameters.json`` and leave as one typed, immutable value.
Names, defaults and valid ranges are those of the SageMaker Developer Guide, "Factorization Machines
Hyperparameters", together with the undocumented ones of the container's printed default
configuration. Unknown names, missing required ones and values outside their range are refused, all
of them at once.
"""

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from matinee.fm import rules
from matinee.fm.errors import HyperparameterError
from matinee.fm.rules import (
    BOOLEAN,
    NON_NEGATIVE_NUMBER,
    NUMBER,
    POSITIVE_INTEGER,
    TEXT,
    Rule,
    one_of,
)

PredictorType = Literal["binary_classifier", "regressor"]
InitMethod = Literal["normal", "uniform", "constant"]

LOGGER = logging.getLogger(__name__)

DEFAULT_CONFIGURATION: Mapping[str, str | int] = MappingProxyType(
    {
        "epochs": 1,
        "mini_batch_size": "1000",
        "use_bias": "true",
        "use_linear": "true",
        "bias_lr": "0.1",
        "linear_lr": "0.001",
        "factors_lr": "0.0001",
        "bias_wd": "0.01",
        "linear_wd": "0.001",
        "factors_wd": "0.00001",
        "bias_init_method": "normal",
        "bias_init_sigma": "0.01",
        "linear_init_method": "normal",
        "linear_init_sigma": "0.01",
        "factors_init_method": "normal",
        "factors_init_sigma": "0.001",
        "batch_metrics_publish_interval": "500",
        "_data_format": "record",
        "_kvstore": "auto",
        "_learning_rate": "1.0",
        "_log_level": "info",
        "_num_gpus": "auto",
        "_num_kv_servers": "auto",
        "_optimizer": "adam",
        "_tuning_objective_metric": "",
        "_use_full_symbolic": "true",
        "_wd": "1.0",
    }
)
"""What the container starts from before it merges in the job's own values (its printed form)."""

REQUIRED = ("feature_dim", "num_factors", "predictor_type")

# MXNet's mx.init.Uniform() and an unset constant: what the initialisers fall back to.
UNIFORM_SCALE = 0.07
CONSTANT_VALUE = 0.0

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "feature_dim": POSITIVE_INTEGER,
        "num_factors": POSITIVE_INTEGER,
        "predictor_type": one_of("binary_classifier", "regressor"),
        "epochs": POSITIVE_INTEGER,
        "mini_batch_size": POSITIVE_INTEGER,
        **{
            f"{group}_{name}": rule
            for group in ("bias", "linear", "factors")
            for name, rule in (
                ("lr", NON_NEGATIVE_NUMBER),
                ("wd", NON_NEGATIVE_NUMBER),
                ("init_method", one_of("normal", "uniform", "constant")),
                ("init_sigma", NON_NEGATIVE_NUMBER),
                ("init_scale", NON_NEGATIVE_NUMBER),
                ("init_value", NUMBER),
            )
        },
        "clip_gradient": NUMBER,
        "rescale_grad": NUMBER,
        "eps": NUMBER,
        "use_bias": BOOLEAN,
        "use_linear": BOOLEAN,
        "batch_metrics_publish_interval": POSITIVE_INTEGER,
        "_data_format": one_of("record"),
        "_kvstore": TEXT,
        "_learning_rate": NON_NEGATIVE_NUMBER,
        "_log_level": TEXT,
        "_num_gpus": TEXT,
        "_num_kv_servers": TEXT,
        "_optimizer": one_of("adam"),
        "_tuning_objective_metric": TEXT,
        "_use_full_symbolic": BOOLEAN,
        "_wd": NON_NEGATIVE_NUMBER,
    }
)
"""Every hyperparameter that the algorithm takes, and what its value may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """Checked, typed hyperparameters; ``parse`` makes one from what a training job was given.

    Fields are named as the hyperparameters are, without the leading underscore of
    ``_learning_rate`` and ``_wd``, the base values that the groups' ``*_lr`` and ``*_wd`` multiply.
    ``None`` stands for "not given". The other underscored names are accepted and checked but change
    nothing here, because they choose between MXNet's devices, key-value stores and graph executors.
    """

    feature_dim: int
    num_factors: int
    predictor_type: PredictorType
    epochs: int = 1
    mini_batch_size: int = 1000
    bias_lr: float = 0.1
    linear_lr: float = 0.001
    factors_lr: float = 0.0001
    bias_wd: float = 0.01
    linear_wd: float = 0.001
    factors_wd: float = 0.00001
    bias_init_method: InitMethod = "normal"
    bias_init_sigma: float = 0.01
    bias_init_scale: float = UNIFORM_SCALE
    bias_init_value: float = CONSTANT_VALUE
    linear_init_method: InitMethod = "normal"
    linear_init_sigma: float = 0.01
    linear_init_scale: float = UNIFORM_SCALE
    linear_init_value: float = CONSTANT_VALUE
    factors_init_method: InitMethod = "normal"
    factors_init_sigma: float = 0.001
    factors_init_scale: float = UNIFORM_SCALE
    factors_init_value: float = CONSTANT_VALUE
    clip_gradient: float | None = None
    rescale_grad: float | None = None
    eps: float | None = None
    use_bias: bool = True
    use_linear: bool = True
    batch_metrics_publish_interval: int = 500
    learning_rate: float = 1.0
    wd: float = 1.0

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> "Hyperparameters":
        """Check a job's hyperparameters and give them types.

        Parameters
        ----------
        values
            Name to value, as in ``hyperparameters.json``: strings, or the JSON number or boolean
            that the string would spell.

        Raises
        ------
        HyperparameterError
            If a required name is missing, a name is unknown or a value breaks its rule. The message
            holds every problem found.
        """
        typed, problems = rules.check(values, RULES, REQUIRED)
        if problems:
            raise HyperparameterError("; ".join(problems))
        return cls.from_typed(typed)

    @classmethod
    def from_typed(cls, values: Mapping[str, Any]) -> "Hyperparameters":
        """Make hyperparameters of values that ``matinee.fm.rules.check`` found good."""
        kept = {field.name for field in dataclasses.fields(cls)}
        fields = {name.removeprefix("_"): value for name, value in values.items()}
        for group in ("bias", "linear", "factors"):
            _warn_of_fallback(group, fields)
        return cls(**{name: value for name, value in fields.items() if name in kept})


def _warn_of_fallback(group: str, given: Mapping[str, Any]) -> None:
    needed = {"uniform": ("scale", UNIFORM_SCALE), "constant": ("value", CONSTANT_VALUE)}
    method = cast(str, given.get(f"{group}_init_method", "normal"))
    if method not in needed:
        return
    suffix, fallback = needed[method]
    if f"{group}_init_{suffix}" not in given:
        LOGGER.warning(
            "%s_init_method is %r but %s_init_%s is not given: %s is used",
            group,
            method,
            group,
            suffix,
            fallback,
        )


def settings_problems(settings: Any, counts: Sequence[str], amounts: Sequence[str]) -> list[str]:
    """Return a sentence for each value of a solver's settings that is outside its range.

    Parameters
    ----------
    settings
        With the attributes named, and ``predictor_type``.
    counts
        Names of values that must be 1 or more, or None where nothing is chosen.
    amounts
        Names of values that must be finite and 0 or more.
    """
    problems = [
        f"{name} is {value!r}: it must be 1 or more"
        for name in counts
        if (value := getattr(settings, name)) is not None and not value >= 1
    ]
    problems += [
        f"{name} is {value!r}: it must be a finite number of 0 or more"
        for name in amounts
        if not 0 <= (value := getattr(settings, name)) < math.inf
    ]
    if settings.predictor_type not in get_args(PredictorType):
        expected = list(get_args(PredictorType))
        problems.append(f"predictor_type is {settings.predictor_type!r}: expected {expected}")
    return problems
