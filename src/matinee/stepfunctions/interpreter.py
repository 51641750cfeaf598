"""One execution of a state machine, in a process of its own: `python -m
matinee.stepfunctions.interpreter`.

Reads `{"definition": text, "input": {...}, "name": "..."}` from its standard input and writes JSON
lines: an event of the execution's history each, and last `{"type": "End", "status": ...}` with the
output, or error and cause. SIGTERM stops the execution and the job that it waits for. AWS is found
by the environment. Refuses a definition that is none.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

# First: it says what moto need not load.
from matinee.stepfunctions import engine  # isort: skip
from moto.stepfunctions.parser.asl.eval.evaluation_details import (
    AWSExecutionDetails,
    EvaluationDetails,
    ExecutionDetails,
    StateMachineDetails,
)
from moto.stepfunctions.parser.asl.eval.program_state import (
    ProgramEnded,
    ProgramError,
    ProgramStopped,
)
from moto.stepfunctions.parser.backend.execution_worker import SyncExecutionWorker
from moto.stepfunctions.parser.backend.execution_worker_comm import ExecutionWorkerCommunication

ACCOUNT = "000000000000"
_SOON_S = 0.05
ROLE = f"arn:aws:iam::{ACCOUNT}:role/matinee-states"


class _Told(ExecutionWorkerCommunication):  # type: ignore[misc]  # moto is untyped
    """What moto calls when an execution is over; whoever waits for it knows that already."""

    def terminated(self) -> None:
        """Do nothing."""


class _History:
    """Takes events where moto would send them to CloudWatch."""

    class configuration:  # noqa: N801 - what moto asks for
        include_execution_data = True

    def __init__(self, arn: str) -> None:
        self.execution_arn = arn

    def log_level_filter(self, history_event_type: str) -> bool:  # noqa: ARG002 - moto's
        """Leave out nothing."""
        return True

    def publish_history_log(self, history_log: dict[str, Any]) -> None:
        """Write an event."""
        _write(
            {
                "type": history_log["type"].value,
                "at": str(history_log["event_timestamp"]),
                "details": history_log.get("details", {}),
            }
        )


_write_lock = threading.Lock()


def _write(document: dict[str, Any]) -> None:
    line = json.dumps(document, default=str)
    with _write_lock:
        print(line, flush=True)


def run(definition: str, given: Any, name: str, region: str) -> None:
    """Run an execution to its end and write what becomes of it."""
    place = f"arn:aws:states:{region}:{ACCOUNT}"
    machine, arn = f"{place}:stateMachine:matinee", f"{place}:execution:matinee:{name}"
    worker = SyncExecutionWorker(
        EvaluationDetails(
            AWSExecutionDetails(ACCOUNT, region, ROLE),
            ExecutionDetails(arn, name, ROLE, given, datetime.now(UTC).isoformat()),
            StateMachineDetails(machine, "matinee", "STANDARD", definition),
        ),
        _Told(),
        _History(arn),
        {},
    )
    # The signal may come in the midst of what holds moto's locks: another thread obeys it.
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())

    def obey() -> None:
        stopped.wait()
        # It is parsing, and has not begun.
        while worker.env is None:
            time.sleep(_SOON_S)
        worker.stop(datetime.now(UTC), None, None)

    threading.Thread(target=obey, daemon=True).start()
    worker.start()
    state = worker.env.program_state()
    if isinstance(state, ProgramEnded):
        _write({"type": "End", "status": "SUCCEEDED", "output": worker.env.states.get_input()})
    elif isinstance(state, ProgramError):
        _write({"type": "End", "status": "FAILED", **state.error})
    elif isinstance(state, ProgramStopped):
        _write({"type": "End", "status": "ABORTED", "stopped": engine.stop_running(region)})
    else:
        _write({"type": "End", "status": "TIMED_OUT"})


def main() -> int:
    """Read what is to be run, and run it."""
    asked = json.load(sys.stdin)
    engine.prepare()
    run(asked["definition"], asked["input"], asked["name"], os.environ["AWS_DEFAULT_REGION"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
