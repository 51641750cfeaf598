"""The run parameters: one table of names, JSON schemas, help texts and defaults.

Airflow's trigger form, its REST API, the command line and `Settings` all read this table, so a
value that one of them accepts is accepted by all. A parameter that a preset decides defaults to
null, "as the preset has it". Refuses unknown names and values that break their schema; rules
between parameters are `Settings`'.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matinee.workflow.errors import SettingsError
from matinee.workflow.hyperparameters import (
    HYPERPARAMETERS,
    POSITIVE_INTEGER,
    POSITIVE_OR_ZERO,
    PRESETS,
    TUNABLE,
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One run parameter, as the trigger form and the validation both need it."""

    name: str
    default: Any
    schema: Mapping[str, Any]
    help: str
    section: str


_BUCKET = r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]"
_INSTANCE_TYPE = r"^ml\.[a-z0-9\-]+\.[a-z0-9]+$"
_FRACTION = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}

FEATURE = r"^(history|raters|month|day|(customer|video|rating):.+)$"
# Of the features, the ones that need the time of a rating.
OF_TIME = frozenset({"month", "day"})

_COLUMN_NAME = {"type": "string", "minLength": 1}
_COLUMNS = {
    "type": ["object", "null"],
    "properties": dict.fromkeys(("customer", "video", "stars", "title", "time"), _COLUMN_NAME),
    "required": ["customer", "video", "stars"],
    "additionalProperties": False,
}
_CONFIGURATIONS = {
    "type": "array",
    "maxItems": 100,
    "items": {
        "type": "object",
        "minProperties": 1,
        "properties": {
            name: {"anyOf": [schema, {"type": "null"}]}
            for name, (schema, _, _) in HYPERPARAMETERS.items()
        },
        "additionalProperties": False,
    },
}
_TUNING_RANGES = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"enum": sorted(TUNABLE)},
    "additionalProperties": {
        "type": "array",
        "minItems": 2,
        "maxItems": 3,
        "prefixItems": [
            {"type": "number"},
            {"type": "number"},
            {"enum": ["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]},
        ],
    },
}


def _decided_by_preset(
    name: str, schema: Mapping[str, Any], help_text: str, section: str, unset: str = "not set"
) -> Parameter:
    values = ", ".join(
        f"{preset} {json.dumps(chosen[name]) if name in chosen else unset}"
        for preset, chosen in PRESETS.items()
    )
    nullable = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return Parameter(name, None, nullable, f"{help_text} Presets: {values}.", section)


def _hyperparameter(name: str) -> Parameter:
    schema, algorithm_default, help_text = HYPERPARAMETERS[name]
    unset = "not set" if algorithm_default is None else f"unset ({algorithm_default})"
    return _decided_by_preset(name, schema, help_text, "Hyperparameters", unset)


_DATA = "Ratings"
_RUN = "Run"
_MACHINES = "Machines"
_TUNING = "Tuning"
_PUBLISH = "Publish"

PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "ratings",
            "s3://matinee/ratings/movielens-100k.tsv.gz",
            {"type": "string", "pattern": rf"^(s3://{_BUCKET}/|/).+$"},
            "The ratings: an s3:// object, or a folder whose objects are all read; outside Airflow"
            " also an absolute path. Amazon's reviews, TSV, CSV or JSON Lines (plain, .gz or .zst),"
            " or Parquet.",
            _DATA,
        ),
        Parameter(
            "columns",
            None,
            _COLUMNS,
            "Which column holds the customer, video, stars and, if there, title and time; as an"
            " object. Null: known by the column names of Amazon Customer Reviews (2015), Amazon"
            " Reviews 2023 and MovieLens.",
            _DATA,
        ),
        Parameter(
            "side_columns",
            [],
            {"type": "array", "items": _COLUMN_NAME, "uniqueItems": True, "maxItems": 64},
            "More columns to keep beside the ratings, as text.",
            _DATA,
        ),
        Parameter(
            "features",
            [],
            {
                "type": "array",
                "items": {"type": "string", "pattern": FEATURE},
                "uniqueItems": True,
                "maxItems": 16,
            },
            "What a record says beside customer and video: history (the videos that the customer"
            " rated), raters (who rated the video), month or day of the rating, and columns as"
            " customer:NAME, video:NAME or rating:NAME, by what they describe; several values"
            " in one with | between them. These columns are kept like side_columns.",
            _DATA,
        ),
        Parameter(
            "max_malformed_fraction",
            0.05,
            {"type": "number", "minimum": 0, "maximum": 1},
            "The run stops if a larger share of the rows is malformed.",
            _DATA,
        ),
        Parameter(
            "until",
            None,
            {
                "type": ["string", "null"],
                "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$",
            },
            "Only ratings before this date, or date and time (UTC), count, and none without a time."
            " Null: all of them; in a backfill those before the end of its data interval.",
            _DATA,
        ),
        Parameter(
            "min_ratings_per_customer",
            5,
            POSITIVE_INTEGER,
            "Customers with fewer ratings are left out.",
            _DATA,
        ),
        Parameter(
            "min_ratings_per_video",
            10,
            POSITIVE_INTEGER,
            "Videos with fewer ratings are left out.",
            _DATA,
        ),
        Parameter(
            "retrain",
            "always",
            {"type": "string", "enum": ["always", "drift"]},
            "Train in every run, or only if the ratings have drifted from those that the model in"
            " service learned from.",
            _DATA,
        ),
        Parameter(
            "drift_psi",
            0.25,
            POSITIVE_OR_ZERO,
            "Ratings have drifted if the population stability index of their stars, or of how"
            " active customers or how popular videos are, is larger.",
            _DATA,
        ),
        Parameter(
            "drift_unknown_fraction",
            0.2,
            {"type": "number", "minimum": 0, "maximum": 1},
            "They have drifted if a larger share of them is by customers, or of videos, that the"
            " model in service does not know.",
            _DATA,
        ),
        Parameter(
            "drift_mean_shift",
            0.25,
            POSITIVE_OR_ZERO,
            "They have drifted if the mean of the stars is off by more.",
            _DATA,
        ),
        Parameter("train_fraction", 0.6, _FRACTION, "Share of ratings to learn from.", _DATA),
        Parameter(
            "validate_fraction", 0.2, _FRACTION, "Share of ratings to choose by in tuning.", _DATA
        ),
        Parameter("test_fraction", 0.2, _FRACTION, "Share of ratings to judge by.", _DATA),
        Parameter(
            "output",
            "s3://matinee/runs",
            {"type": "string", "pattern": rf"^s3://{_BUCKET}(/.*)?$"},
            "The s3:// folder in which each run has its own.",
            _RUN,
        ),
        Parameter(
            "recommendations",
            10,
            {"type": "integer", "minimum": 0, "maximum": 1000},
            "Videos to recommend to every customer, in recommendations.parquet; 0 writes none.",
            _RUN,
        ),
        Parameter(
            "engine",
            "duckdb",
            {"type": "string", "enum": ["duckdb", "spark", "athena", "glue"]},
            "What preprocesses: DuckDB within the task, Spark, Athena, or Spark in a Glue job.",
            _RUN,
        ),
        Parameter(
            "athena_database",
            "matinee",
            {"type": "string", "pattern": r"^[a-z0-9_]{1,255}$"},
            "Database of the Glue catalog in which Athena makes the run's tables.",
            _RUN,
        ),
        Parameter(
            "athena_workgroup",
            "primary",
            {"type": "string", "pattern": r"^[\w.\-]{1,128}$"},
            "Workgroup of Athena's queries.",
            _RUN,
        ),
        Parameter(
            "glue_job",
            "matinee",
            {"type": "string", "pattern": r"^[\w.\-]{1,255}$"},
            "Name of the Glue job that preprocesses.",
            _RUN,
        ),
        Parameter(
            "role",
            "matinee-sagemaker",
            {"type": "string", "pattern": r"^[\w+=,.@/:\-]{1,2048}$"},
            "IAM role of the SageMaker jobs: a name or an ARN.",
            _RUN,
        ),
        Parameter(
            "preset",
            "default",
            {"type": "string", "enum": list(PRESETS)},
            "Where null parameters come from: matinee's own values, those of the Bayesian solver"
            " of matinee-fm, or the published example's.",
            _RUN,
        ),
        _decided_by_preset(
            "image",
            {"type": "string", "pattern": r"^[\w./:@\-]{1,255}$"},
            "URI of the algorithm's image; unset: SageMaker's built-in Factorization Machines. On"
            " AWS matinee-fm is an image of your own.",
            _RUN,
        ),
        Parameter(
            "seed",
            1,
            {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
            "Decides the split, the start of training and the search of tuning.",
            _RUN,
        ),
        Parameter(
            "reuse",
            True,
            {"type": "boolean"},
            "Take what an earlier run under the same output has made of the same ratings, settings"
            " and code, instead of making it again.",
            _RUN,
        ),
        Parameter(
            "check_interval",
            2,
            {"type": "number", "minimum": 0.1, "maximum": 3600},
            "Seconds between two looks at a running job.",
            _RUN,
        ),
        Parameter(
            "deferrable",
            False,
            {"type": "boolean"},
            "Wait for jobs in Airflow's triggerer, which takes no worker's place. Needs the extra"
            " aiobotocore of Airflow's Amazon provider.",
            _RUN,
        ),
        Parameter(
            "tune",
            False,
            {"type": "boolean"},
            "Search hyperparameters with a tuning job instead of training once.",
            _TUNING,
        ),
        _decided_by_preset(
            "tuning_ranges",
            _TUNING_RANGES,
            "What tuning searches: an object of hyperparameter to [smallest, largest] or"
            " [smallest, largest, scaling].",
            _TUNING,
        ),
        _decided_by_preset(
            "tuning_jobs", {**POSITIVE_INTEGER, "maximum": 750}, "Training jobs to try.", _TUNING
        ),
        _decided_by_preset(
            "tuning_parallel_jobs",
            {**POSITIVE_INTEGER, "maximum": 100},
            "Training jobs to run at a time.",
            _TUNING,
        ),
        Parameter(
            "configurations",
            [],
            _CONFIGURATIONS,
            "Train several models side by side and keep the best by the validation split: objects"
            " of hyperparameters, each over the run's own; null unsets one. Not with tune.",
            _TUNING,
        ),
        Parameter(
            "ensemble_size",
            1,
            {**POSITIVE_INTEGER, "maximum": 20},
            "Models to average into one: the best trials of tune, or the best of configurations.",
            _TUNING,
        ),
        _decided_by_preset(
            "training_instance_type",
            {"type": "string", "pattern": _INSTANCE_TYPE},
            "Instance type of training jobs.",
            _MACHINES,
        ),
        Parameter(
            "training_instance_count",
            1,
            {**POSITIVE_INTEGER, "maximum": 20},
            "Instances of a training job; of several, each gets an equal share of the training"
            " ratings.",
            _MACHINES,
        ),
        _decided_by_preset(
            "training_volume_gb",
            {**POSITIVE_INTEGER, "maximum": 16384},
            "Storage of a training job in GB.",
            _MACHINES,
        ),
        _decided_by_preset(
            "training_max_seconds",
            {**POSITIVE_INTEGER, "maximum": 28 * 24 * 3600},
            "A training job is stopped after this time.",
            _MACHINES,
        ),
        _decided_by_preset(
            "transform_instance_type",
            {"type": "string", "pattern": _INSTANCE_TYPE},
            "Instance type of the batch transform job.",
            _MACHINES,
        ),
        Parameter(
            "publish",
            True,
            {"type": "boolean"},
            "Register the model, compare it with the one in service and, if it is approved, put it"
            " into service.",
            _PUBLISH,
        ),
        Parameter(
            "approval",
            "gate",
            {"type": "string", "enum": ["gate", "person"]},
            "Who approves: the gate, by its rule, or a person, whom Airflow asks and shows what the"
            " gate found. The run waits for the answer, and so do later ones.",
            _PUBLISH,
        ),
        Parameter(
            "gate_tolerance",
            0.01,
            POSITIVE_OR_ZERO,
            "How much larger the RMSE may be than that of the model in service, in stars. The 95 %"
            " interval of the difference must lie below it.",
            _PUBLISH,
        ),
        Parameter(
            "gate_baseline",
            "bias",
            {"type": "string", "enum": ["bias", "mean", "none"]},
            "What a model must beat where none is in service: the biases of customers and videos,"
            " the mean of all stars, or nothing.",
            _PUBLISH,
        ),
        Parameter(
            "model_package_group",
            "recommender",
            {"type": "string", "pattern": r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$"},
            "Model package group in which the model becomes the next version.",
            _PUBLISH,
        ),
        Parameter(
            "endpoint",
            "recommender",
            {"type": "string", "pattern": r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,39}$"},
            "Endpoint that serves the model.",
            _PUBLISH,
        ),
        Parameter(
            "endpoint_instance_type",
            "ml.m5.large",
            {"type": "string", "pattern": _INSTANCE_TYPE},
            "Instance type of the endpoint.",
            _PUBLISH,
        ),
        Parameter(
            "endpoint_instance_count",
            1,
            {**POSITIVE_INTEGER, "maximum": 20},
            "Instances of the endpoint.",
            _PUBLISH,
        ),
        *(_hyperparameter(name) for name in HYPERPARAMETERS),
    )
}


def validate(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check values against their schemas and add the defaults of the names left out.

    Parameters
    ----------
    values : mapping of parameter name to JSON value

    Returns
    -------
    dict
        Every parameter of `PARAMETERS`, nulls still null.

    Raises
    ------
    SettingsError
        Naming every unknown name, and every value that breaks its rule.
    """
    from jsonschema import Draft202012Validator  # slow to import, and only tasks validate

    problems = [
        f"there is no parameter {name!r}; the parameters are {', '.join(PARAMETERS)}"
        for name in values
        if name not in PARAMETERS
    ]
    complete = {name: parameter.default for name, parameter in PARAMETERS.items()}
    complete.update((name, value) for name, value in values.items() if name in PARAMETERS)
    for name, value in complete.items():
        for error in Draft202012Validator(PARAMETERS[name].schema).iter_errors(value):
            where = "".join(f"[{part!r}]" for part in error.absolute_path)
            problems.append(f"{name}{where}: {error.message}")
        complete[name] = _whole(value, PARAMETERS[name].schema)
    refuse(problems)
    complete["configurations"] = [
        {name: _whole(value, HYPERPARAMETERS[name][0]) for name, value in configuration.items()}
        for configuration in complete["configurations"]
    ]
    return complete


def _whole(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return an integer as one: JSON schema takes 3.0 for it, but no algorithm reads "3.0" so."""
    return int(value) if isinstance(value, float) and "integer" in schema["type"] else value


def refuse(problems: list[str]) -> None:
    """Raise one `SettingsError` that lists the problems, if there are any."""
    if problems:
        noun = "parameter is" if len(problems) == 1 else "parameters are"
        raise SettingsError(f"{len(problems)} run {noun} wrong: " + "; ".join(problems))


def from_text(name: str, text: str) -> Any:
    """Read one parameter's value from a command line's NAME=VALUE.

    A parameter that can only be text takes the text as it is; every other takes JSON, in which text
    needs no quotes.

    Raises
    ------
    SettingsError
        If there is no such parameter.
    """
    if name not in PARAMETERS:
        refuse([f"there is no parameter {name!r}; the parameters are {', '.join(PARAMETERS)}"])
    if PARAMETERS[name].schema["type"] == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
