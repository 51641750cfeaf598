"""Schemas of run parameters as Airflow is told them: each names its draft of JSON Schema.

Airflow checks a schema itself whenever it reads a value: for every task, each time that it parses
the DAG, and again when the task runs. Draft 7 is checked in a fraction of the time that the newest
takes, which is the one for a schema that names none. Whether a value keeps its rule is the same by
both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def declared(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema that names draft 7, unless it has words that are younger."""
    if "prefixItems" in json.dumps(schema):
        return dict(schema)
    return {"$schema": DRAFT_7, **schema}
