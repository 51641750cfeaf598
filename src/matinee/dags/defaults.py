"""Defaults of run parameters that a deployment gives: its bucket, its role, its engine.

Each is the option of the parameter's name in the section `[matinee]` of Airflow's configuration.
Whether it keeps the parameter's rule is seen where all values are: when a run starts.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk.configuration import conf

from matinee.workflow.parameters import Parameter, from_text


def default_of(parameter: Parameter) -> Any:
    """Return the deployment's default of a parameter, or matinee's own."""
    given = conf.get("matinee", parameter.name, fallback=None)
    return parameter.default if given is None else from_text(parameter.name, given)
