"""Asks Airflow about the DAG, or runs it several times in one process; prints JSON lines.

Usage: python drive.py describe | run CONF... | pages REGION... | until TYPE... Airflow is
configured by AIRFLOW__* variables, so it lives in a process of its own; it takes seconds to start,
so all runs share one.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from unittest.mock import patch


def describe() -> dict[str, Any]:
    """Parse the DAG file as Airflow does, with the network out of reach."""

    def refuse(*_arguments: object) -> None:
        raise AssertionError("the DAG file opened a connection while it was parsed")

    from airflow.dag_processing.dagbag import DagBag

    socket.socket.connect = refuse  # type: ignore[method-assign]
    bag = DagBag()
    dag = bag.dags["recommender"]
    return {
        "errors": list(bag.import_errors.values()),
        "dags": list(bag.dags),
        "tasks": {
            task.task_id: {
                "class": task.task_type,
                "upstream": sorted(task.upstream_task_ids),
                "trigger_rule": task.trigger_rule.value,
                "setup": task.is_setup,
                "teardown": task.is_teardown,
                "doc": task.doc_md,
                "retries": task.retries,
                "group": task.task_group.group_id if task.task_group else None,
                "outlets": [asset.name for asset in task.outlets],
                "pool": task.pool,
                "links": [link.name for link in task.operator_extra_links],
                # Of a mapped task it is a list.
                "on_failure": [callback.__name__ for callback in _listed(task.on_failure_callback)],
            }
            for task in dag.tasks
        },
        "schedule": dag.schedule,
        "doc": dag.doc_md,
        "params": {
            name: {"default": param.value, "help": param.description, "schema": param.schema}
            for name in dag.params
            for param in [dag.params.get_param(name)]
        },
        "heavy": sorted({"duckdb", "numba", "numpy", "pyarrow", "scipy"} & set(sys.modules)),
    }


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def run(conf: dict[str, Any]) -> dict[str, Any]:
    """Run the DAG to its end, one task after the other; `run_after` decides the run's id.

    With `group_rows`, so many ratings are one instance of the mapped task, not millions.
    """
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.asset import AssetEvent
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    from matinee.workflow import prepare

    group = prepare.group_parts
    if "group_rows" in conf:
        group = partial(group, rows=conf.pop("group_rows"))
    dag = DagBag().dags["recommender"]
    run_after = datetime.fromisoformat(conf.pop("run_after"))
    with patch.object(prepare, "group_parts", group):
        dag_run = dag.test(run_conf=conf, run_after=run_after)
    with create_session() as session:
        pushed = {
            key: {
                row.task_id: XComModel.deserialize_value(row)
                for row in session.query(XComModel).filter_by(run_id=dag_run.run_id, key=key)
            }
            for key in ("return_value", "console_page")
        }
        events = session.query(AssetEvent).filter_by(source_run_id=dag_run.run_id)
        instances = dag_run.get_task_instances(session=session)
        return {
            "run_id": dag_run.run_id,
            "state": dag_run.state.value,
            "tasks": {instance.task_id: instance.state for instance in instances},
            "instances": Counter(instance.task_id for instance in instances),
            "tries": {instance.task_id: instance.try_number for instance in instances},
            "results": pushed["return_value"],
            "pages": pushed["console_page"],
            "events": {event.source_task_id: event.extra for event in events},
        }


def until(run_type: str) -> dict[str, Any]:
    """Return the setting `until` of a run of this type, whose data interval ends on 2026-01-05."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunType

    from matinee.dags.exchange import settings_in

    context = {
        "params": DagBag().dags["recommender"].params.dump(),
        "dag_run": DagRun("recommender", run_id="some", run_type=DagRunType(run_type)),
        "data_interval_end": datetime(2026, 1, 5, 4, tzinfo=UTC),
    }
    return {"until": settings_in(context).until}


def pages(region: str) -> dict[str, Any]:
    """Return the pages of a training job and an endpoint in a region; "" is no region."""
    from matinee.dags.links import page_of

    os.environ.pop("AWS_DEFAULT_REGION", None)
    if region:
        os.environ["AWS_DEFAULT_REGION"] = region
    return {kind: page_of(kind, "n") for kind in ("training-jobs", "endpoints")}


def answers(question: str, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Answer what is asked, one by one."""
    if question == "describe":
        yield describe()
    for argument in arguments:
        if question == "run":
            yield run(json.loads(argument))
        else:
            yield {"pages": pages, "until": until}[question](argument)


if __name__ == "__main__":
    for answer in answers(sys.argv[1], sys.argv[2:]):
        print("\nANSWER " + json.dumps(answer, default=repr), flush=True)
