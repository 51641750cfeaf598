"""The calls of Airflow's REST API that the stack and `matinee run` make.

It refuses proxies and redirects: Airflow is on loopback, and its token goes nowhere else.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Self

import httpx

USER = "admin"
# The most that Airflow lists at a time.
_PAGE = 100


class AirflowError(RuntimeError):
    """Airflow refused a request; the message is its own explanation."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class _Token(httpx.Auth):
    """Logs in when first asked, and again when the token has run out."""

    requires_response_body = True

    def __init__(self, address: str, password: str) -> None:
        self._login = httpx.Request(
            "POST", f"{address}/auth/token", json={"username": USER, "password": password}
        )
        self._token: str | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
            response = yield request
            if response.status_code != httpx.codes.UNAUTHORIZED:
                return
        response = yield self._login
        if response.status_code != httpx.codes.CREATED:
            raise AirflowError(response.status_code, f"login as {USER} failed: {_detail(response)}")
        self._token = response.json()["access_token"]
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class AirflowAPI:
    """A client of one Airflow.

    Parameters
    ----------
    address
        `http://127.0.0.1:PORT`.
    password
        The password of `admin`.
    timeout_s
        Seconds for one request.
    """

    def __init__(self, address: str, password: str, *, timeout_s: float = 30.0) -> None:
        self._client = httpx.Client(
            base_url=address,
            auth=_Token(address, password),
            timeout=timeout_s,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def health(self) -> dict[str, str | None]:
        """Return the status of each component, by its name."""
        components = self._ask("GET", "/api/v2/monitor/health")
        return {name: component.get("status") for name, component in components.items()}

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """Return a DAG; None if it is not known (yet)."""
        try:
            return self._ask("GET", f"/api/v2/dags/{dag_id}")
        except AirflowError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def import_errors(self) -> list[str]:
        """Return why DAG files could not be read, each with its file name."""
        found = self._ask("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in found]

    def unpause(self, dag_id: str) -> None:
        """Let the runs of a DAG start."""
        self._ask("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run with these parameters and return its id.

        Raises
        ------
        AirflowError
            With status 400 when a parameter breaks the DAG's schema.
        """
        body = {"logical_date": None, "conf": conf}
        run = self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        return str(run["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a run."""
        return self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """End a run: its running tasks are killed, the others never start."""
        self._ask("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        instances: list[dict[str, Any]] = []
        while True:
            page = self._ask("GET", f"{path}?limit={_PAGE}&offset={len(instances)}")
            instances += page["task_instances"]
            if len(page["task_instances"]) < _PAGE:
                return instances

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned; None if it returned nothing."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        try:
            entry = self._ask("GET", f"{path}/xcomEntries/return_value?deserialize=true")
        except AirflowError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise
        return entry["value"]

    def log(
        self, dag_id: str, run_id: str, task_id: str, attempt: int, map_index: int = -1
    ) -> list[dict[str, Any]]:
        """Return the log of one attempt of a task, an entry a line; of a mapped one, by index."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        query = f"full_content=true&map_index={map_index}"
        content = self._ask("GET", f"{path}?{query}")["content"]
        return [entry if isinstance(entry, dict) else {"event": str(entry)} for entry in content]

    def _ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        response = self._client.request(
            method, path, headers={"Accept": "application/json"}, **arguments
        )
        if response.is_error:
            raise AirflowError(response.status_code, _detail(response))
        answer: dict[str, Any] = response.json()
        return answer


def _detail(response: httpx.Response) -> str:
    """Dig the explanation out of FastAPI's three shapes of an error."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code} {response.reason_phrase}"
    if isinstance(detail, dict):
        return str(detail.get("reason") or detail.get("message") or detail)
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in detail)
    # After a blank line comes the whole JSON schema that a parameter broke.
    return str(detail).partition("\n\n")[0]
