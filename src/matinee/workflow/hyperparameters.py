"""The hyperparameters that a run may set, which of them tuning may search, and the presets.

They are SageMaker's Factorization Machines' own, and those that only matinee-fm knows. The presets
also choose machines and tuning's extent, which `parameters` describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

POSITIVE_INTEGER = {"type": "integer", "minimum": 1}
POSITIVE_OR_ZERO = {"type": "number", "minimum": 0}
_INIT_METHOD = {"type": "string", "enum": ["normal", "uniform", "constant"]}

# What the algorithm takes for a hyperparameter that nobody sets: Amazon SageMaker Developer Guide,
# "Factorization Machines Hyperparameters"; None where the guide names no value.
HYPERPARAMETERS: dict[str, tuple[Mapping[str, Any], Any, str]] = {
    "num_factors": (POSITIVE_INTEGER, None, "Length of a customer's and a video's vector."),
    "epochs": (POSITIVE_INTEGER, 1, "Passes over the training ratings."),
    "mini_batch_size": (POSITIVE_INTEGER, 1000, "Ratings in one step of the optimiser."),
    "bias_lr": (POSITIVE_OR_ZERO, 0.1, "Learning rate of the global bias."),
    "linear_lr": (POSITIVE_OR_ZERO, 0.001, "Learning rate of the biases of customers and videos."),
    "factors_lr": (POSITIVE_OR_ZERO, 0.0001, "Learning rate of the vectors."),
    "bias_wd": (POSITIVE_OR_ZERO, 0.01, "Weight decay of the global bias."),
    "linear_wd": (POSITIVE_OR_ZERO, 0.001, "Weight decay of the biases of customers and videos."),
    "factors_wd": (POSITIVE_OR_ZERO, 0.00001, "Weight decay of the vectors."),
    "bias_init_method": (_INIT_METHOD, "normal", "How the global bias starts."),
    "linear_init_method": (_INIT_METHOD, "normal", "How the biases of customers and videos start."),
    "factors_init_method": (_INIT_METHOD, "normal", "How the vectors start."),
    "bias_init_sigma": (POSITIVE_OR_ZERO, 0.01, "Standard deviation of a normal start."),
    "linear_init_sigma": (POSITIVE_OR_ZERO, 0.01, "Standard deviation of a normal start."),
    "factors_init_sigma": (POSITIVE_OR_ZERO, 0.001, "Standard deviation of a normal start."),
    "bias_init_scale": (POSITIVE_OR_ZERO, None, "Half-width of a uniform start."),
    "linear_init_scale": (POSITIVE_OR_ZERO, None, "Half-width of a uniform start."),
    "factors_init_scale": (POSITIVE_OR_ZERO, None, "Half-width of a uniform start."),
    "bias_init_value": ({"type": "number"}, None, "Value of a constant start."),
    "linear_init_value": ({"type": "number"}, None, "Value of a constant start."),
    "factors_init_value": ({"type": "number"}, None, "Value of a constant start."),
    "clip_gradient": ({"type": "number"}, None, "Gradients are clipped to plus and minus this."),
    "rescale_grad": ({"type": "number"}, None, "Gradients are multiplied by this."),
    "eps": ({"type": "number"}, None, "Adam's epsilon."),
    "solver": (
        {"type": "string", "enum": ["adam", "sgd", "mcmc"]},
        None,
        "How matinee-fm trains.",
    ),
    "burn_in": ({"type": "integer", "minimum": 0}, None, "First epochs that mcmc forgets."),
    "learning_rate": (POSITIVE_OR_ZERO, None, "Learning rate of sgd."),
    "regularization": (POSITIVE_OR_ZERO, None, "Weight decay of sgd."),
    "init_sigma": (POSITIVE_OR_ZERO, None, "Standard deviation of the start of sgd and mcmc."),
    "num_models": (POSITIVE_INTEGER, None, "Models whose predictions adam and sgd average."),
}
# Of these, the ones that SageMaker's own algorithm does not know.
OF_MATINEE_FM = frozenset(
    {"solver", "burn_in", "learning_rate", "regularization", "init_sigma", "num_models"}
)
# Of the solvers, the ones that several instances cannot share.
ONE_HOST_SOLVERS = frozenset({"sgd", "mcmc"})

# Amazon SageMaker Developer Guide, "Tune a Factorization Machines Model": all are numbers.
_TUNABLE = {"epochs", "mini_batch_size"} | {
    f"{group}_{suffix}"
    for group in ("bias", "linear", "factors")
    for suffix in ("lr", "wd", "init_sigma", "init_scale", "init_value")
}
TUNABLE_BY_MATINEE_FM = (OF_MATINEE_FM - {"solver"}) | {"num_factors"}
TUNABLE = _TUNABLE | TUNABLE_BY_MATINEE_FM
TUNABLE_INTEGERS = frozenset(
    name for name in TUNABLE if HYPERPARAMETERS[name][0]["type"] == "integer"
)

PRESETS: dict[str, dict[str, Any]] = {
    # matinee's own values, chosen by trials on MovieLens 100K.
    "default": {
        "num_factors": 64,
        "epochs": 15,
        "mini_batch_size": 200,
        "bias_lr": 0.01,
        "linear_lr": 0.003,
        "factors_lr": 0.0006,
        "linear_wd": 0.0002,
        "factors_wd": 0.0004,
        "factors_init_sigma": 0.01,
        "bias_init_method": "constant",
        "bias_init_value": 3.5,
        "tuning_ranges": {
            "factors_lr": [0.0003, 0.0015, "Logarithmic"],
            "factors_wd": [0.0002, 0.001, "Logarithmic"],
            "linear_lr": [0.001, 0.01, "Logarithmic"],
            "epochs": [10, 20, "Linear"],
        },
        "tuning_jobs": 8,
        "tuning_parallel_jobs": 2,
        "training_instance_type": "ml.c5.xlarge",
        "training_volume_gb": 30,
        "training_max_seconds": 3600,
        "transform_instance_type": "ml.c5.xlarge",
    },
    # The Bayesian solver of matinee's own algorithm: slower, more accurate, nothing to tune.
    "bayesian": {
        "image": "matinee-fm",
        "solver": "mcmc",
        "num_factors": 8,
        "epochs": 300,
        "burn_in": 20,
        "tuning_ranges": {"num_factors": [4, 16, "Linear"]},
        "tuning_jobs": 4,
        "tuning_parallel_jobs": 2,
        "training_instance_type": "ml.c5.xlarge",
        "training_volume_gb": 30,
        "training_max_seconds": 3600,
        "transform_instance_type": "ml.c5.xlarge",
    },
    # The published example's values, to the letter.
    "original": {
        "num_factors": 64,
        "epochs": 10,
        "mini_batch_size": 200,
        "tuning_ranges": {"factors_lr": [0.0001, 0.2], "factors_init_sigma": [0.0001, 1]},
        "tuning_jobs": 20,
        "tuning_parallel_jobs": 2,
        "training_instance_type": "ml.c5.4xlarge",
        "training_volume_gb": 30,
        "training_max_seconds": 3600,
        "transform_instance_type": "ml.c4.xlarge",
    },
}
