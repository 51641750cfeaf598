"""The instance's script, taken out of the template and run: to an Airflow on PostgreSQL.

It needs a package index and minutes, so it runs where MATINEE_INSTANCE names a folder, which keeps
pip's downloads. `machine` says what of the machine is not real. Not shown here: Amazon Linux, its
packages, systemd itself (`systemd-analyze verify` reads the units in `test_instance`), TLS to RDS,
the roles, the signal to CloudFormation.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matinee.stack.airflow_api import AirflowAPI
from matinee.stack.ports import free_block
from tests.cloud.conftest import REGION, Emulator
from tests.cloud.machine import Machine
from tests.cloud.templates import Template
from tests.sagemaker.postgresql import running

ROOT = Path(__file__).parents[2]
UV = ROOT / ".uv" / "bin" / "uv"
PASSWORD = "of-admin"
CODE = "code/test"


@pytest.fixture(scope="module")
def cache() -> Path:
    folder = os.environ.get("MATINEE_INSTANCE")
    if not folder:
        pytest.skip("MATINEE_INSTANCE names no folder; `make instance` does")
    path = Path(folder).resolve()
    path.mkdir(exist_ok=True)
    return path


def build(folder: Path) -> None:
    """Build the wheel and its constraints: what a deployment puts into the bucket."""
    for arguments in (
        ["build", "--quiet", "--wheel", "--out-dir", str(folder)],
        ["export", "--quiet", "--frozen", "--no-dev", "--extra", "ec2", "--no-emit-project",
         "--no-hashes", "--no-annotate", "--output-file", str(folder / "constraints.txt")],
    ):  # fmt: skip
        subprocess.run([UV, *arguments], cwd=ROOT, check=True, capture_output=True)  # noqa: S603


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "machine")
    machine.set_up()
    yield machine
    machine.stop()


def install(
    machine: Machine, emulator: Emulator, told: dict[str, str], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the template's script, with these of its first lines replaced."""
    script = Template("airflow-ec2.yaml").install_script(
        {"AWS::Region": REGION, "AWS::StackName": "test", "AWS::Partition": "aws"}
    )
    head, _, rest = script.partition("set -euo pipefail\n")
    head += "".join(f"export {name}='{value}'\n" for name, value in told.items())
    return subprocess.run(  # noqa: S603 - the template's own words
        [shutil.which("bash") or "bash", "-c", f"{head}set -euo pipefail\n{rest}"],
        env={
            **environment, **machine.environment,
            "AWS_ENDPOINT_URL": emulator.address,
            "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing",
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_script_ends_in_an_airflow_that_works(
    cache: Path, machine: Machine, emulator: Emulator, tmp_path: Path
) -> None:
    build(tmp_path / "code")
    s3 = emulator.client("s3")
    s3.create_bucket(Bucket="matinee-test")
    for path in (tmp_path / "code").iterdir():
        if path.suffix in {".whl", ".txt"}:
            s3.upload_file(str(path), "matinee-test", f"{CODE}/{path.name}")
    secret = emulator.client("secretsmanager")
    values = {"database": json.dumps({"username": "postgres", "password": "-"}),
              "admin": PASSWORD, "keys": "seed"}  # fmt: skip
    arns = {
        name: secret.create_secret(Name=name, SecretString=value)["ARN"]
        for name, value in values.items()
    }
    emulator.client("logs").create_log_group(logGroupName="/matinee/test")
    (port,) = [free_block(1, random.SystemRandom())]
    with running(tmp_path / "postgresql") as postgresql:
        database = postgresql.new_database().rpartition("@")[2]
        told = {
            "MATINEE_CODE": f"s3://matinee-test/{CODE}",
            "MATINEE_DATABASE": database,
            "MATINEE_DATABASE_SECRET": arns["database"],
            "MATINEE_ADMIN_SECRET": arns["admin"],
            "MATINEE_KEY_SECRET": arns["keys"],
            "MATINEE_LOG_GROUP": "arn:aws:logs:us-east-1:123456789012:log-group:/matinee/test",
            "MATINEE_PORT": str(port),
        }
        indexes = {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}
        done = install(machine, emulator, told, {**indexes, "PIP_CACHE_DIR": str(cache)})
        logs = machine.root / "var/log/matinee"
        assert done.returncode == 0, [path.read_text()[-3000:] for path in logs.iterdir()]
        assert machine.signals == [
            f"--exit-code 0 --stack test --resource Instances --region {REGION}"
        ]
        with AirflowAPI(f"http://127.0.0.1:{port}", PASSWORD) as api:
            assert set(api.health().values()) == {"healthy"}
            assert api.import_errors() == []
            dag: dict[str, Any] | None = api.dag("recommender")
            assert dag is not None
            assert str(machine.root / "opt/matinee/venv") in dag["fileloc"]
        machine.stop()


def test_what_fails_is_told_to_the_stack_at_once(machine: Machine, emulator: Emulator) -> None:
    emulator.client("s3").create_bucket(Bucket="empty")
    done = install(machine, emulator, {"MATINEE_CODE": "s3://empty/code/none"}, {})
    assert done.returncode != 0
    assert machine.signals == [
        f"--exit-code {done.returncode} --stack test --resource Instances --region {REGION}"
    ]
