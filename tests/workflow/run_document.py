"""What `report.gather` finds of a run, made up: small, complete, and with hostile names in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from matinee.workflow.metrics import measure
from matinee.workflow.settings import Settings
from tests.workflow.test_ranking import of_videos, pairs, random_splits

HOSTILE = "</script><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"
CUSTOMERS, VIDEOS = 30, 20


def metrics() -> dict[str, Any]:
    ratings = random_splits(1, CUSTOMERS, VIDEOS)
    rng = np.random.default_rng(1)
    predicted = ratings["test"].stars * 0.4 + 2 + rng.normal(0, 0.4, len(ratings["test"].stars))
    model = of_videos(rng.normal(size=VIDEOS).tolist(), CUSTOMERS)
    return measure(predicted, ratings, model, pairs(CUSTOMERS, VIDEOS), seed=1)


def trial(number: int, objective: float | None, **hyperparameters: float) -> dict[str, Any]:
    status = "Failed" if objective is None else "Completed"
    return {
        "job": f"matinee-1-tune-1-{number:03d}",
        "status": status,
        "objective": objective,
        "hyperparameters": hyperparameters,
    }


def recommendation(rank: int, title: str, stars: float) -> dict[str, Any]:
    reason = {"video": "v9", "title": HOSTILE, "stars": 5.0, "adds": 0.25}
    return {
        "rank": rank,
        "video": f"v{rank}",
        "title": title,
        "stars": stars,
        "ratings": 12,
        "reasons": [reason],
    }


def step(name: str, ratings: int, customers: int, videos: int) -> dict[str, Any]:
    return {"step": name, "ratings": ratings, "customers": customers, "videos": videos}


def run_document() -> dict[str, Any]:
    names = ("model", "predictions", "metrics", "report", "customers", "videos")
    return {
        "run": "matinee-1",
        "settings": Settings.from_parameters({"ratings": f"s3://bucket/{HOSTILE}"}).to_parameters(),
        "decision": {
            "decision": "rejected",
            "reason": f"worse than the model in service {HOSTILE}",
            "run": "matinee-1",
            "test_rows": 100,
            "candidate": {"rmse": 0.92, "mae": 0.71},
            "in_service": {"run": "matinee-0", "model_package": "arn", "rmse": 0.9, "mae": 0.7},
            "difference": {"rmse": 0.02, "interval": [0.01, 0.03]},
            "model_package": "arn:aws:sagemaker:us-east-1:000000000000:model-package/recommender/2",
            "replaces": "arn:aws:sagemaker:us-east-1:000000000000:model-package/recommender/1",
            "endpoint": "recommender",
        },
        "summary": {
            "metrics": metrics(),
            "training": {
                "job": "matinee-1-tune-1-002",
                "tuning_job": "matinee-1-tune-1",
                "hyperparameters": {"epochs": "15"},
            },
            "recommendations": {
                "customer": HOSTILE,
                "rated": 7,
                "best_rated": [],
                "source": "model",
                "note": f"customer {HOSTILE} has rated 7",
                "items": [
                    recommendation(1, HOSTILE, 4.5),
                    recommendation(2, "Ünïcode \u2028 \U0001f3ac", 4.25),
                ],
            },
            "artifacts": {name: f"s3://b/runs/matinee-1/{name}" for name in names},
        },
        "checks": {
            "run": "matinee-1",
            "passed": True,
            "checks": [{"name": "objects", "status": "passed", "detail": HOSTILE}],
        },
        "data": {
            "rows": 4_060_000,
            "ratings": f"s3://b/{HOSTILE}",
            "malformed": {"total": 811, "causes": {"wrong number of fields": 811}, "samples": {}},
            "splits": {"train": 1_028_000, "validate": 342_000, "test": 343_000},
            "customers": 140_458,
            "videos": 38_392,
            "funnel": [
                {
                    "step": "usable rows",
                    "ratings": 4_059_189,
                    "customers": 2_070_831,
                    "videos": 167_219,
                },
                {"step": HOSTILE, "ratings": 1_713_000, "customers": 140_458, "videos": 38_392},
            ],
            "stars": {"1": 105_000, "4.5": 400_000, "5": 1_208_000},
        },
        "activity": {"customers": [0, 0, 90_000, 50_458], "videos": [0, 0, 0, 30_000, 8_392]},
        "steps": [
            {"name": "preprocess", "seconds": 14.25, "peak_memory_mb": 823.0},
            {"name": HOSTILE, "seconds": 61.5, "peak_memory_mb": None},
        ],
        "prices": {"date": "", "currency": "USD", "source": "", "per_hour": {}},
        "usage": [
            {
                "job": f"matinee-1-{kind}",
                "kind": kind,
                "status": "Completed",
                "instance_type": instance_type,
                "instance_count": count,
                "billable_seconds": seconds,
            }
            for kind, instance_type, count, seconds in (
                ("training", "ml.c5.xlarge", 2, 900),
                ("transform", "ml.c4.xlarge", 1, 1_800),
            )
        ],
        "curves": [
            {
                "host": "algo-1",
                "channel": channel,
                "metric": "rmse",
                "epochs": [0, 1, 2],
                "values": values,
            }
            for channel, values in (
                ("train", [1.1, 1.0, 0.9]),
                ("validation", [1.2, 1.1, 1.15]),
            )
        ],
        "trials": {
            "metric": "test:rmse",
            "minimize": True,
            "trials": [
                trial(1, 0.95, factors_lr=0.0001, epochs=5),
                trial(2, 0.91, factors_lr=0.05, epochs=9),
                trial(3, None, factors_lr=0.2, epochs=9),
                trial(4, 0.93, factors_lr=0.01),
            ],
        },
    }


def empty_document() -> dict[str, Any]:
    """What there is of a run that broke off at once."""
    missing = dict.fromkeys(("summary", "checks", "decision", "data", "trials"))
    return {
        **run_document(),
        **missing,
        "activity": {},
        "steps": [],
        "usage": [],
        "curves": [],
    }
