"""What a finished run has to say, from its summary.json, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from matinee.cli.screen import headed, say

PREDICTORS = {
    "model": "Factorization Machines",
    "bias": "customer and video biases",
    "mean": "mean of all stars",
}


def show(summary: Mapping[str, Any], screen: Console) -> None:
    """Print the data funnel, the errors beside the baselines, recommendations and places."""
    _show_funnel(summary["funnel"], summary["malformed"], screen)
    _show_metrics(summary["metrics"], summary["training"], screen)
    _show_recommendations(summary["recommendations"], screen)
    for title, name in (
        ("model", "model"),
        ("predictions", "predictions"),
        ("metrics", "metrics"),
        ("data report", "report"),
    ):
        # Not in a table, which would break long ones apart.
        say(screen, f"{title:<12} {summary['artifacts'][name]}")


def show_decision(decision: Mapping[str, Any], screen: Console) -> None:
    """Print what became of the model, and why."""
    group, version = decision["model_package"].rsplit("/", 2)[-2:]
    screen.print(Text(f"The model {group}/{version} is {decision['decision']}", "bold"))
    say(screen, decision["reason"])
    if decision["endpoint"] is not None:
        say(screen, f"endpoint {decision['endpoint']} serves it")


def show_seconds(
    tasks: Sequence[Mapping[str, Any]], screen: Console, *, noun: str = "task"
) -> None:
    """Print how long each task took, last try only."""
    seconds = headed(f"{noun.capitalize()}s", noun, "state", ">seconds")
    for instance in tasks:
        duration = instance["duration"]
        took = f"{duration:.1f}" if duration else ""
        seconds.add_row(instance["task_id"], instance["state"] or "not started", took)
    screen.print(seconds)


def _show_funnel(
    funnel: Sequence[Mapping[str, Any]], malformed: Mapping[str, Any], screen: Console
) -> None:
    table = headed("Ratings", "step", ">ratings", ">customers", ">videos")
    for step in funnel:
        counts = (f"{step[column]:,}" for column in ("ratings", "customers", "videos"))
        table.add_row(Text(step["step"]), *counts)
    screen.print(table)
    causes = ", ".join(f"{count:,} {cause}" for cause, count in malformed["causes"].items())
    say(screen, f"malformed rows: {causes or 'none'}")


def _show_metrics(metrics: Mapping[str, Any], training: Mapping[str, Any], screen: Console) -> None:
    table = headed(
        f"Errors on {metrics['rows']:,} test ratings", "predictor", ">RMSE", ">MSE", ">MAE"
    )
    for name, title in PREDICTORS.items():
        errors = metrics[name]
        table.add_row(title, *(f"{errors[error]:.4f}" for error in ("rmse", "mse", "mae")))
    screen.print(table)
    tuning = f", the best of tuning job {training['tuning_job']}" if training["tuned"] else ""
    say(screen, f"training job {training['job']}{tuning}")


def _show_recommendations(recommendations: Mapping[str, Any], screen: Console) -> None:
    table = headed(
        f"For customer {recommendations['customer']}, who rated {recommendations['rated']:,}",
        ">",
        "title",
        ">predicted stars",
    )
    for item in recommendations["items"]:
        table.add_row(str(item["rank"]), Text(item["title"]), f"{item['stars']:.2f}")
    screen.print(table)
