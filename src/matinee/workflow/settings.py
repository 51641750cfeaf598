"""The settings of one run: validated parameters, the preset filled in, and where outputs lie.

`Settings.from_parameters` is the only door: it checks each value against the table in `parameters`,
puts the preset's values for nulls, and refuses values that contradict each other, naming all
problems at once.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from matinee.workflow.hyperparameters import (
    HYPERPARAMETERS,
    OF_MATINEE_FM,
    ONE_HOST_SOLVERS,
    PRESETS,
    TUNABLE_BY_MATINEE_FM,
    TUNABLE_INTEGERS,
)
from matinee.workflow.parameters import OF_TIME, PARAMETERS, refuse, validate

# What a state machine has no state for.
_OF_AIRFLOW = {
    "approval": ("person", "a person is asked on Airflow's pages"),
    "deferrable": (True, "it is Airflow's triggerer that would wait"),
    "engine": ("spark", "its jobs have no Spark; duckdb and athena need none"),
}


def run_name(run_id: str) -> str:
    """Name a run, from the id that the orchestrator gave it.

    Fit for the names of SageMaker's jobs: 18 characters, so that the 32 of a tuning job's name
    suffice.
    """
    return f"matinee-{hashlib.sha256(run_id.encode()).hexdigest()[:10]}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a step may need to know of a run's parameters.

    `hyperparameters` holds only those that are sent: the user's and the preset's.
    """

    ratings: str
    output: str
    recommendations: int
    role: str
    columns: Mapping[str, str] | None
    side_columns: Sequence[str]
    features: Sequence[str]
    max_malformed_fraction: float
    engine: str
    athena_database: str
    athena_workgroup: str
    glue_job: str
    preset: str
    image: str | None
    seed: int
    reuse: bool
    check_interval: float
    deferrable: bool
    until: str | None
    min_ratings_per_customer: int
    min_ratings_per_video: int
    retrain: str
    drift_psi: float
    drift_unknown_fraction: float
    drift_mean_shift: float
    train_fraction: float
    validate_fraction: float
    test_fraction: float
    tune: bool
    tuning_ranges: Mapping[str, list[Any]]
    tuning_jobs: int
    tuning_parallel_jobs: int
    configurations: Sequence[Mapping[str, Any]]
    ensemble_size: int
    training_instance_type: str
    training_instance_count: int
    training_volume_gb: int
    training_max_seconds: int
    transform_instance_type: str
    publish: bool
    approval: str
    gate_tolerance: float
    gate_baseline: str
    model_package_group: str
    endpoint: str
    endpoint_instance_type: str
    endpoint_instance_count: int
    hyperparameters: Mapping[str, int | float | str]

    @classmethod
    def from_parameters(cls, values: Mapping[str, Any]) -> Settings:
        """Validate run parameters and fill in the preset.

        Parameters
        ----------
        values : mapping
            Parameter name to JSON value; names left out and nulls take their defaults.

        Raises
        ------
        SettingsError
            Listing every problem: the name, the value and the rule it breaks.
        """
        complete = validate(values)
        preset = PRESETS[complete["preset"]]
        complete = {
            name: preset.get(name) if value is None else value for name, value in complete.items()
        }
        complete["output"] = complete["output"].rstrip("/")
        of_features = [name.partition(":")[2] for name in complete["features"] if ":" in name]
        complete["side_columns"] = list(dict.fromkeys([*complete["side_columns"], *of_features]))
        refuse(_contradictions(complete))
        hyperparameters = {
            name: complete.pop(name) for name in HYPERPARAMETERS if complete[name] is not None
        }
        fields = {name: value for name, value in complete.items() if name not in HYPERPARAMETERS}
        return cls(**fields, hyperparameters=hyperparameters)

    def to_parameters(self) -> dict[str, Any]:
        """Return the run parameters with every preset value spelled out."""
        return {
            name: self.hyperparameters.get(name) if name in HYPERPARAMETERS else getattr(self, name)
            for name in PARAMETERS
        }

    def configured(self, number: int) -> Settings:
        """Return the settings with the hyperparameters of a configuration, by its number from 0."""
        hyperparameters = _configured(self.hyperparameters, self.configurations[number])
        return replace(self, hyperparameters=hyperparameters)

    def refuse_local_files(self) -> None:
        """Refuse ratings that are files of this machine instead of objects.

        Raises
        ------
        SettingsError
            Naming the path.
        """
        if self.ratings.startswith("/"):
            refuse([f"ratings {self.ratings!r} is a file: this run reads s3:// alone"])

    def refuse_what_is_airflows(self) -> None:
        """Refuse what a run needs Airflow for, or the Spark that a worker of it may have.

        Raises
        ------
        SettingsError
            Naming the parameters, and why.
        """
        refuse(
            [
                f"{name} {value!r} cannot be had of a state machine: {reason}"
                for name, (value, reason) in _OF_AIRFLOW.items()
                if getattr(self, name) == value
            ]
        )

    @property
    def is_bayesian(self) -> bool:
        """Whether matinee-fm's solver mcmc trains."""
        return _solver(self.image, self.hyperparameters.get("solver")) == "mcmc"

    @property
    def until_seconds(self) -> float | None:
        """Seconds since 1970 that the time of a rating must be below; None for all ratings."""
        return None if self.until is None else _seconds(self.until)

    @property
    def is_timed(self) -> bool:
        """Whether a feature needs the time of each rating."""
        return not OF_TIME.isdisjoint(self.features)

    def folder(self, run: str) -> str:
        """Return the URI of the run's folder, without a last slash: it holds all the run writes."""
        return f"{self.output}/{run}"


def _contradictions(complete: Mapping[str, Any]) -> list[str]:
    """Return the rules between parameters that do not hold."""
    problems = []
    fractions = [complete[f"{split}_fraction"] for split in ("train", "validate", "test")]
    if not math.isclose(sum(fractions), 1, abs_tol=1e-9):
        problems.append(
            "train_fraction, validate_fraction and test_fraction are"
            f" {fractions[0]}, {fractions[1]} and {fractions[2]}: they must add up to 1"
        )
    if f"{complete['output']}/".startswith(f"{complete['ratings'].rstrip('/')}/"):
        problems.append(
            f"output {complete['output']!r} lies under ratings {complete['ratings']!r}:"
            " the next run would read what this one writes"
        )
    if complete["tuning_parallel_jobs"] > complete["tuning_jobs"]:
        problems.append(
            f"tuning_parallel_jobs {complete['tuning_parallel_jobs']} is more than"
            f" tuning_jobs {complete['tuning_jobs']}"
        )
    if complete["until"] is not None:
        try:
            _seconds(complete["until"])
        except ValueError as error:
            problems.append(f"until {complete['until']!r} is no date: {error}")
    columns = list((complete["columns"] or {}).values())
    if len(set(columns)) < len(columns):
        problems.append(f"columns {complete['columns']}: one column cannot hold two things")
    sides = complete["side_columns"]
    problems += [
        f"side_columns {sides}: {name!r} is a column that the ratings have already"
        for name in sides
        if name in ("customer", "video", "stars")
        or (name == "time" and not OF_TIME.isdisjoint(complete["features"]))
    ]
    if complete["image"] is None:
        problems += [
            f"tuning_ranges[{name!r}] needs an image of matinee-fm: SageMaker's built-in algorithm"
            " does not tune it"
            for name in sorted(TUNABLE_BY_MATINEE_FM & complete["tuning_ranges"].keys())
        ]
    if not complete["configurations"]:
        problems += _algorithm_problems(complete, complete, "")
    for number, configuration in enumerate(complete["configurations"]):
        hyperparameters = _configured(complete, configuration)
        problems += _algorithm_problems(complete, hyperparameters, f"configurations[{number}]: ")
    problems += _choice_problems(complete)
    for name, (low, high, *scaling) in complete["tuning_ranges"].items():
        problems.extend(_range_problems(name, low, high, scaling))
    return problems


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time.removesuffix("Z")).replace(tzinfo=UTC).timestamp()


def _configured(
    hyperparameters: Mapping[str, Any], configuration: Mapping[str, Any]
) -> dict[str, Any]:
    """Put a configuration's hyperparameters over others; a null unsets one."""
    together = {**hyperparameters, **configuration}
    return {name: value for name, value in together.items() if value is not None}


def _algorithm_problems(
    complete: Mapping[str, Any], hyperparameters: Mapping[str, Any], where: str
) -> list[str]:
    """Return why hyperparameters do not suit the algorithm or its instances."""
    problems = []
    if complete["image"] is None:
        problems += [
            f"{where}{name} needs an image of matinee-fm: SageMaker's built-in algorithm does not"
            " know it"
            for name in sorted(OF_MATINEE_FM)
            if hyperparameters.get(name) is not None
        ]
    if complete["training_instance_count"] > 1:
        solver = _solver(complete["image"], hyperparameters.get("solver"))
        if solver in ONE_HOST_SOLVERS:
            problems.append(
                f"{where}training_instance_count {complete['training_instance_count']}: the solver"
                f" {solver} trains on one instance, only adam on several"
            )
    return problems


def _choice_problems(complete: Mapping[str, Any]) -> list[str]:
    """Return why there is not one way to choose the run's model, or too few to choose among."""
    configurations, size = complete["configurations"], complete["ensemble_size"]
    problems = []
    if complete["tune"] and configurations:
        problems.append(
            f"configurations are {len(configurations)} and tune is true: a run does one of both"
        )
    models = complete["tuning_jobs"] if complete["tune"] else max(1, len(configurations))
    if size > models:
        problems.append(
            f"ensemble_size {size} is more than the {models} models that the run trains: use tune"
            " or configurations"
        )
    return problems


def _solver(image: str | None, solver: Any) -> str:
    """Return what trains: the solver that is asked for, or the algorithm's own."""
    repository = (image or "").rpartition("/")[2]
    return str(solver or ("mcmc" if re.match(r"matinee-fm\b(?!-)", repository) else "adam"))


def _range_problems(name: str, low: float, high: float, scaling: list[str]) -> list[str]:
    where = f"tuning_ranges[{name!r}]"
    problems = []
    if low >= high:
        problems.append(f"{where}: smallest {low} must be below largest {high}")
    rule = HYPERPARAMETERS[name][0]
    if low < rule.get("minimum", -math.inf):
        problems.append(f"{where}: {low} is less than the minimum of {rule['minimum']}")
    whole = name in TUNABLE_INTEGERS
    if whole and not (float(low).is_integer() and float(high).is_integer()):
        problems.append(f"{where}: {low} and {high} must be whole numbers")
    if scaling == ["Logarithmic"] and low <= 0:
        problems.append(f"{where}: Logarithmic needs a smallest value above 0, not {low}")
    if scaling == ["ReverseLogarithmic"] and (whole or low < 0 or high >= 1):
        problems.append(
            f"{where}: ReverseLogarithmic needs a fractional hyperparameter with 0 <= smallest and"
            f" largest < 1, not {low} and {high}"
        )
    return problems
