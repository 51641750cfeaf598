"""The hyperparameters of Factorization Machines: their names, defaults and rules.

They arrive as the strings of ``hyperparameters.json`` and leave as one typed, immutable value.
Names, defaults and valid ranges are those of the SageMaker Developer Guide, "Factorization Machines
Hyperparameters", together with the undocumented ones of the container's printed default
configuration. Unknown names, missing required ones and values outside their range are refused, all
of them at once.
"""

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, cast

from matinee.fm.errors import HyperparameterError

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

_LARGEST_INTEGER = 2**31 - 1  # keys are 32-bit inside the training loop
_LARGEST_FLOAT = 3.4028234663852886e38  # all arithmetic is float32
_INTEGER = re.compile(r"[1-9][0-9]*", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One kind of value: how it is read (None when it is not one) and how the rule is said."""

    read: Callable[[object], Any]
    text: str


def _read_positive_integer(value: object) -> int | None:
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value) or len(value) > len(str(_LARGEST_INTEGER)):
            return None
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 1 <= value <= _LARGEST_INTEGER else None


def _read_number(value: object) -> float | None:
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return None
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # NaN fails the comparison too.
    return float(value) if abs(value) <= _LARGEST_FLOAT else None


def _read_non_negative_number(value: object) -> float | None:
    number = _read_number(value)
    return number if number is not None and number >= 0 else None


def _read_boolean(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def _read_text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _one_of(*choices: str) -> _Rule:
    return _Rule(lambda value: value if value in choices else None, f"one of {list(choices)}")


_POSITIVE_INTEGER = _Rule(
    _read_positive_integer,
    "a string matching '^([1-9][0-9]*)$' or an integer with minimum 1 and maximum 2147483647",
)
_NUMBER_RULE = _Rule(_read_number, "a finite float32 number or a string of one")
_NON_NEGATIVE = _Rule(
    _read_non_negative_number, "a finite float32 number with minimum 0 or a string of one"
)
_BOOLEAN = _Rule(_read_boolean, "one of ['true', 'false']")
_TEXT = _Rule(_read_text, "a string")
_INIT_METHOD = _one_of("normal", "uniform", "constant")

_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "feature_dim": _POSITIVE_INTEGER,
        "num_factors": _POSITIVE_INTEGER,
        "predictor_type": _one_of("binary_classifier", "regressor"),
        "epochs": _POSITIVE_INTEGER,
        "mini_batch_size": _POSITIVE_INTEGER,
        **{
            f"{group}_{name}": rule
            for group in ("bias", "linear", "factors")
            for name, rule in (
                ("lr", _NON_NEGATIVE),
                ("wd", _NON_NEGATIVE),
                ("init_method", _INIT_METHOD),
                ("init_sigma", _NON_NEGATIVE),
                ("init_scale", _NON_NEGATIVE),
                ("init_value", _NUMBER_RULE),
            )
        },
        "clip_gradient": _NUMBER_RULE,
        "rescale_grad": _NUMBER_RULE,
        "eps": _NUMBER_RULE,
        "use_bias": _BOOLEAN,
        "use_linear": _BOOLEAN,
        "batch_metrics_publish_interval": _POSITIVE_INTEGER,
        "_data_format": _one_of("record"),
        "_kvstore": _TEXT,
        "_learning_rate": _NON_NEGATIVE,
        "_log_level": _TEXT,
        "_num_gpus": _TEXT,
        "_num_kv_servers": _TEXT,
        "_optimizer": _one_of("adam"),
        "_tuning_objective_metric": _TEXT,
        "_use_full_symbolic": _BOOLEAN,
        "_wd": _NON_NEGATIVE,
    }
)


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
        problems = _missing(values) + _unknown(values)
        typed: dict[str, Any] = {}
        for name, rule in _RULES.items():
            if name not in values:
                continue
            value = rule.read(values[name])
            if value is None:
                problems.append(f"{values[name]!r} is not valid for {name!r}: expected {rule.text}")
            typed[name.removeprefix("_")] = value
        if problems:
            raise HyperparameterError("; ".join(problems))
        kept = {field.name for field in dataclasses.fields(cls)}
        parsed = cls(**{name: value for name, value in typed.items() if name in kept})
        for group in ("bias", "linear", "factors"):
            _warn_of_fallback(group, typed)
        return parsed


def _missing(values: Mapping[str, object]) -> list[str]:
    names = [name for name in REQUIRED if name not in values]
    if not names:
        return []
    listed = ", ".join(repr(name) for name in names)
    return [f"No value(s) were specified for {listed} which are required hyperparameter(s)"]


def _unknown(values: Mapping[str, object]) -> list[str]:
    names = sorted(str(name) for name in values if name not in _RULES)
    if not names:
        return []
    listed = ", ".join(repr(name) for name in names)
    verb = "was" if len(names) == 1 else "were"
    return [f"Additional properties are not allowed ({listed} {verb} unexpected)"]


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
