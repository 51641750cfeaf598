"""What the instance of `airflow-ec2.yaml` does once matinee is installed on it.

`python -m matinee.cloud.instance configure` writes Airflow's settings and its systemd services,
`... wait` returns when all components are healthy and the DAG has been read since then. Both are
told by the environment what the stack made (`MATINEE_...`, as the template's script exports it) and
what it decides of runs (`AIRFLOW__MATINEE__...`).
Secrets are read from Secrets Manager, and written to one file that root alone may read: systemd
hands them to the services. Refuses an environment that leaves something out, before it writes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import boto3

from matinee.stack.airflow import Airflow
from matinee.stack.airflow_components import COMPONENTS
from matinee.stack.credentials import write_private
from matinee.stack.errors import StackError

PORT = 8080
PATIENCE_S = 900.0
_LOOK_EVERY_S = 5.0
_MIGRATE = "matinee-migrate.service"
_TARGET = "matinee.target"


class InstanceError(StackError):
    """The instance cannot be set up; the message says what is missing."""


@dataclass(frozen=True)
class Instance:
    """What the stack made, as the instance is told.

    Parameters
    ----------
    region
        Of the stack.
    database
        What follows the user in the URL of the metadata database: `HOST:PORT/NAME?OPTIONS`.
    database_secret, admin_secret, key_secret
        Secrets Manager's ARNs: the database's user and password as JSON; the password of Airflow's
        user admin; what Airflow's keys are derived from.
    log_group
        ARN of the CloudWatch log group of the tasks' logs; none: they stay on the instance.
    listen
        The address that Airflow's pages are served on.
    root
        Before every path; empty on a real instance.
    port
        Of Airflow's pages.
    defaults
        What the stack decides of Airflow's section `[matinee]`, as variables.
    """

    region: str
    database: str
    database_secret: str
    admin_secret: str
    key_secret: str
    log_group: str
    listen: str
    root: Path
    port: int = PORT
    defaults: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read what the template's script exports.

        Raises
        ------
        InstanceError
            Naming all variables that are missing.
        """
        required = {
            "region": "AWS_DEFAULT_REGION",
            "database": "MATINEE_DATABASE",
            "database_secret": "MATINEE_DATABASE_SECRET",
            "admin_secret": "MATINEE_ADMIN_SECRET",
            "key_secret": "MATINEE_KEY_SECRET",
            "log_group": "MATINEE_LOG_GROUP",
            "listen": "MATINEE_LISTEN",
        }
        if missing := [name for name in required.values() if name not in environment]:
            raise InstanceError(f"the instance is not told {', '.join(missing)}")
        return cls(
            **{field: environment[name] for field, name in required.items()},
            root=Path(environment.get("MATINEE_ROOT") or "/"),
            port=int(environment.get("MATINEE_PORT", PORT)),
            defaults={
                name: value
                for name, value in environment.items()
                if name.startswith("AIRFLOW__MATINEE__")
            },
        )

    @property
    def settings_file(self) -> Path:
        """Airflow's settings, secrets among them, as systemd reads them."""
        return self.root / "etc/matinee/airflow.env"

    def airflow(self, secret: Callable[[str], str]) -> Airflow:
        """Return the Airflow of this instance; `secret` reads a secret by its ARN."""
        return Airflow(
            folder=self.root / "var/lib/matinee",
            port=self.port,
            password=secret(self.admin_secret),
            client_environment={"AWS_DEFAULT_REGION": self.region, "AWS_REGION": self.region},
        )

    def environment(self, secret: Callable[[str], str]) -> dict[str, str]:
        """Return Airflow's settings: those of the local stack, but on what the stack made."""
        database = self._database(json.loads(secret(self.database_secret)))
        seed = secret(self.key_secret)
        remote = {
            "AIRFLOW__LOGGING__REMOTE_LOGGING": "True",
            "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": f"cloudwatch://{self.log_group}",
            "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "aws_default",
        }
        return {
            **self.airflow(secret).environment(),
            "AIRFLOW__API__HOST": self.listen,
            "AIRFLOW__API__SECRET_KEY": _derived(seed, "pages").hex(),
            "AIRFLOW__API_AUTH__JWT_SECRET": _derived(seed, "tokens").hex(),
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(
                _derived(seed, "connections")
            ).decode(),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            # The same driver for both, so that TLS is asked for in the same words.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": database,
            **(remote if self.log_group else {}),
            **self.defaults,
        }

    def services(self) -> dict[str, str]:
        """Return systemd's units by their names: a migration, the components, all of them."""
        units = {_MIGRATE: self._unit("db migrate", "migrate", "Type=oneshot")}
        names = {component[0]: component for component in COMPONENTS}
        for name, component in names.items():
            units[f"matinee-{name}.service"] = self._unit(
                " ".join(component), name, "Restart=always", "RestartSec=5"
            )
        wanted = " ".join(f"matinee-{name}.service" for name in names)
        units[_TARGET] = (
            "[Unit]\nDescription=Airflow with matinee's workflow\n"
            f"Wants={wanted}\n\n[Install]\nWantedBy=multi-user.target\n"
        )
        return units

    def configure(self, secret: Callable[[str], str]) -> None:
        """Write settings and services, and note the time: the DAG must be read after it."""
        environment = self.environment(secret)
        self.airflow(secret).prepare()
        self.settings_file.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}={_quoted(value)}\n" for name, value in sorted(environment.items())]
        write_private(self.settings_file, "".join(lines))
        folder = self.root / "etc/systemd/system"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.services().items():
            (folder / name).write_text(text)

    def _database(self, user: Mapping[str, str]) -> str:
        name, password = (quote(user[key], safe="") for key in ("username", "password"))
        return f"postgresql+psycopg://{name}:{password}@{self.database}"

    def _unit(self, arguments: str, name: str, *service: str) -> str:
        log = self.root / f"var/log/matinee/{name}.log"
        lines = [
            "[Unit]",
            f"Description=Airflow: {arguments}",
            "Wants=network-online.target",
            "After=network-online.target",
            "",
            "[Service]",
            *service,
            "User=airflow",
            "Group=airflow",
            f"EnvironmentFile={self.settings_file}",
            f"ExecStart={self.root / 'opt/matinee/venv/bin/airflow'} {arguments}",
            f"StandardOutput=append:{log}",
            f"StandardError=append:{log}",
            # What a task may touch of the machine: Airflow's own folder.
            "NoNewPrivileges=true",
            "PrivateTmp=true",
            "ProtectHome=true",
            "ProtectSystem=strict",
            f"ReadWritePaths={self.root / 'var/lib/matinee'} {self.root / 'var/log/matinee'}",
        ]
        return "\n".join(lines) + "\n"


def wait(
    airflow: Airflow,
    *,
    patience_s: float = PATIENCE_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when all components of an Airflow are healthy and it has read the DAG.

    Raises
    ------
    InstanceError
        When patience is at its end, with what is still missing.
    """
    end = clock() + patience_s
    told: str | None = None
    while missing := airflow.waiting_for():
        if clock() >= end:
            raise InstanceError(f"after {patience_s:.0f} s Airflow still waits for {missing}")
        if missing != told:
            print(f"waiting for {missing}", flush=True)
            told = missing
        sleep(_LOOK_EVERY_S)
    print("Airflow is healthy and has read the DAG", flush=True)


def _derived(seed: str, purpose: str) -> bytes:
    """Return 32 bytes for one purpose, from which neither the seed nor another follows."""
    return hmac.digest(seed.encode(), purpose.encode(), hashlib.sha256)


def _quoted(value: str) -> str:
    """Quote a value as systemd.exec's EnvironmentFile reads it."""
    if "\n" in value:
        raise InstanceError("a setting of Airflow has more than one line")
    escaped = re.sub(r'(["\\$`])', r"\\\1", value)
    return f'"{escaped}"'


def _secrets(client: Any) -> Callable[[str], str]:
    def secret(arn: str) -> str:
        value: str = client.get_secret_value(SecretId=arn)["SecretString"]
        return value

    return secret


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Run one of the two commands; 1 with the reason on the error stream when it fails."""
    try:
        instance = Instance.of_environment(environment)
        secret = _secrets(boto3.client("secretsmanager", region_name=instance.region))
        match arguments:
            case ["configure"]:
                instance.configure(secret)
            case ["wait"]:
                wait(instance.airflow(secret))
            case _:
                raise InstanceError(f"configure or wait, not {' '.join(arguments) or 'nothing'}")
    except StackError as error:
        print(f"matinee: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
