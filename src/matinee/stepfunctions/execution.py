"""Executions of the state machine on this machine: started, followed, stopped.

The interpreter is a process of its own (`interpreter`), as it changes libraries for its purpose and
must not outlive a stopped execution. Refuses to start where the extra `stepfunctions` is not
installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from types import TracebackType
from typing import IO, Any, Self, cast

from matinee.stepfunctions.definition import FOLDER
from matinee.stepfunctions.errors import InterpreterError

EXTRA = "stepfunctions"
_PATIENCE_S = 60.0


class Execution:
    """One execution; a context manager, which stops it if it still runs.

    Parameters
    ----------
    definition
        The state machine's JSON text, substitutions filled in.
    given
        The execution's input.
    name
        The execution's name.
    environment
        Variables by which AWS clients find AWS.

    Raises
    ------
    InterpreterError
        The extra is not installed.
    """

    def __init__(
        self, definition: str, given: Mapping[str, Any], name: str, environment: Mapping[str, str]
    ) -> None:
        if find_spec("moto") is None or find_spec("antlr4") is None:
            raise InterpreterError(
                f"there is no interpreter for state machines: pip install 'matinee[{EXTRA}]'"
            )
        self.name = name
        self.end: dict[str, Any] | None = None
        # A file, as nobody reads it while the execution runs.
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `stop` closes it
        # A session of its own: Ctrl-C is for whoever follows, who then stops it in order.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "matinee.stepfunctions.interpreter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=dict(environment),
            start_new_session=True,
        )
        self._asked = json.dumps({"definition": definition, "input": given, "name": name})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def events(self) -> Iterator[dict[str, Any]]:
        """Start it and yield its events until it ends; `end` is what came of it then.

        Raises
        ------
        InterpreterError
            It broke off; the message is the last that the interpreter said.
        """
        asked, told = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        asked.write(self._asked)
        asked.close()
        for line in told:
            event = json.loads(line)
            if event["type"] == "End":
                self.end = event
            else:
                yield event
        if self.end is None:
            code = self._process.wait()
            self._said.seek(0)
            said = self._said.read().strip().splitlines()
            raise InterpreterError(
                f"the interpreter ended with code {code}: {said[-1] if said else 'it said nothing'}"
            )

    def stop(self) -> None:
        """Stop it, and the job that it waits for, if it has not ended."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            if stream is not None:
                stream.close()


def folder(bucket: str, run: str) -> str:
    """Return the URI of the folder in which the jobs of a run hand things on."""
    return f"s3://{bucket}/{FOLDER}/{run}"


def reason(end: Mapping[str, Any]) -> str:
    """Return why an execution failed, in one line: of a job its own words, if it said any."""
    error, cause = end.get("error", end["status"]), str(end.get("cause", ""))
    try:
        job = json.loads(cause)
    except ValueError:
        return f"{error}: {cause}"
    if not isinstance(job, dict):
        return f"{error}: {cause}"
    name = next((job[key] for key in job if key.endswith("JobName")), "a job")
    words = job.get("ExitMessage") or job.get("FailureReason")
    status = next((job[key] for key in job if key.endswith("JobStatus")), error)
    return f"{name}: {words or status}"
