"""Airflow as a service of the stack: SQLite, LocalExecutor, one user, loopback only.

Everything is set by environment variables, so nothing of it has to be written into a file of
Airflow's. The workflow's own DAG file is its dags folder; no example DAGs, no usage reports.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

import matinee
from matinee.stack.airflow_api import USER, AirflowAPI, AirflowError
from matinee.stack.credentials import write_private

DAG_ID = "recommender"
PARALLELISM = 4  # each is a process forked in advance


@dataclass(frozen=True)
class Airflow:
    """An Airflow with the workflow's DAG.

    Parameters
    ----------
    folder
        Its AIRFLOW_HOME.
    port
        Of the API server: web pages, REST API and the tasks' execution API.
    password
        Of the user `admin`.
    client_environment
        What the tasks' AWS clients need (endpoints, keys, region).
    dags_folder
        Where the DAG files lie.
    """

    folder: Path
    port: int
    password: str
    client_environment: Mapping[str, str]
    dags_folder: Path = Path(matinee.__file__).parent / "dags"

    name = "airflow"
    ready_limit_s = 300.0
    stop_grace_s = 3.0  # all it has to lose is in SQLite

    @property
    def ports(self) -> list[int]:
        """Its one port."""
        return [self.port]

    @property
    def address(self) -> str:
        """The address of its web pages."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Write the password file and note the time of this start."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._passwords_file, json.dumps({USER: self.password}))
        self._started_file.touch()

    def command(self) -> list[str]:
        """The parent of Airflow's four processes."""
        return [sys.executable, "-m", "matinee.stack.airflow_components"]

    def environment(self) -> dict[str, str]:
        """Airflow's settings and the AWS clients'."""
        sections: dict[str, dict[str, object]] = {
            "api": {
                "base_url": self.address,
                "host": "127.0.0.1",
                "port": self.port,
                "workers": 1,
            },
            "core": {
                "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager"
                ".SimpleAuthManager",
                "dags_are_paused_at_creation": False,
                "dags_folder": self.dags_folder,
                "execution_api_server_url": f"{self.address}/execution/",
                "executor": "LocalExecutor",
                "load_examples": False,
                "parallelism": PARALLELISM,
                "simple_auth_manager_passwords_file": self._passwords_file,
                "simple_auth_manager_users": f"{USER}:admin",
            },
            "dag_processor": {
                "dag_bundle_storage_path": self.folder / "bundles",
                "min_file_process_interval": 30,
                "refresh_interval": 10,
            },
            "database": {"sql_alchemy_conn": f"sqlite:///{self.folder / 'airflow.db'}"},
            "logging": {"base_log_folder": self.folder / "logs"},
            "usage_data_collection": {"enabled": False},
        }
        if endpoint := self.client_environment.get("AWS_ENDPOINT_URL"):
            # The local SageMaker's pages, to which the workflow's tasks link; else AWS's.
            sections["matinee"] = {"console": f"{endpoint}/console"}
        return {
            "AIRFLOW_HOME": str(self.folder),
            "NO_COLOR": "1",
            **{
                f"AIRFLOW__{section}__{option}".upper(): str(value)
                for section, options in sections.items()
                for option, value in options.items()
            },
            **self.client_environment,
        }

    def api(self, *, timeout_s: float = 30.0) -> AirflowAPI:
        """Return a client of its REST API."""
        return AirflowAPI(self.address, self.password, timeout_s=timeout_s)

    def waiting_for(self) -> str | None:
        """Ask for all components, then for the DAG as read since this start."""
        try:
            with self.api(timeout_s=10.0) as api:
                return self._missing_component(api) or self._missing_dag(api)
        except httpx.TransportError as error:
            return f"its API ({type(error).__name__})"
        except AirflowError as error:
            return f"its API ({error})"

    @staticmethod
    def _missing_component(api: AirflowAPI) -> str | None:
        for name, status in api.health().items():
            if status != "healthy":
                return f"its {name} ({status or 'not there'})"
        return None

    def _missing_dag(self, api: AirflowAPI) -> str | None:
        if errors := api.import_errors():
            return f"a DAG without errors: {errors[0]}"
        dag = api.dag(DAG_ID)
        started = datetime.fromtimestamp(self._started_file.stat().st_mtime, UTC)
        if dag is None or datetime.fromisoformat(dag["last_parsed_time"]) < started:
            return f"the DAG {DAG_ID}"
        return None

    @property
    def _passwords_file(self) -> Path:
        return self.folder / "passwords.json"

    @property
    def _started_file(self) -> Path:
        return self.folder / "started"
