"""The instance's script, taken out of the template and run: to a run of the DAG, on PostgreSQL.

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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matinee.stack.airflow import DAG_ID
from matinee.stack.airflow_api import AirflowAPI
from matinee.stack.ports import free_block
from tests.cloud.conftest import REGION, Emulator
from tests.cloud.machine import Machine
from tests.cloud.templates import Template
from tests.conftest import AWS
from tests.sagemaker.postgresql import running
from tests.workflow.conftest import as_csv, grid

ROOT = Path(__file__).parents[2]
UV = ROOT / ".uv" / "bin" / "uv"
PASSWORD = "of-admin"
CODE = "code/test"
RUN_S = 600


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
    machine: Machine, bucket: str, told: dict[str, str], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the template's script of a stack with this bucket, with these of its lines replaced."""
    script = Template("airflow-ec2.yaml").install_script(
        {
            "AWS::Region": REGION,
            "AWS::StackName": "test",
            "AWS::Partition": "aws",
            "Bucket": bucket,
            "Engine": "duckdb",
            "Recommender": "recommender",
            "SageMakerRole.Arn": "arn:aws:iam::000000000000:role/matinee-sagemaker",
        }
    )
    head, _, rest = script.partition("set -euo pipefail\n")
    head += "".join(f"export {name}='{value}'\n" for name, value in told.items())
    return subprocess.run(  # noqa: S603 - the template's own words
        [shutil.which("bash") or "bash", "-c", f"{head}set -euo pipefail\n{rest}"],
        env={**environment, **machine.environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def clients_environment(aws: AWS, emulator: Emulator) -> dict[str, str]:
    """Objects, jobs and roles are of the local AWS, secrets and Airflow's logs of the emulator."""
    local = ("SAGEMAKER", "SAGEMAKER_RUNTIME", "IAM", "STS")
    return {
        **aws.environment,
        "AWS_ENDPOINT_URL": emulator.address,
        **{f"AWS_ENDPOINT_URL_{service}": aws.sagemaker_endpoint for service in local},
    }


def upload(code: Path, aws: AWS, bucket: str) -> None:
    s3 = aws.client("s3")
    for path in code.iterdir():
        if path.suffix in {".whl", ".txt"}:
            s3.upload_file(str(path), bucket, f"{CODE}/{path.name}")
    s3.put_object(Bucket=bucket, Key="ratings.csv", Body=as_csv(grid(12, 12)).encode())
    s3.close()


def secrets_of(emulator: Emulator) -> dict[str, str]:
    """Make the stack's secrets; return what the instance is told of them."""
    client = emulator.client("secretsmanager")
    values = {
        "DATABASE": json.dumps({"username": "postgres", "password": "-"}),
        "ADMIN": PASSWORD,
        "KEY": "seed",
    }
    return {
        f"MATINEE_{name}_SECRET": client.create_secret(Name=name, SecretString=value)["ARN"]
        for name, value in values.items()
    }


def follow(api: AirflowAPI, run: str) -> str:
    """Wait for the end of a run and return its state."""
    end = time.monotonic() + RUN_S
    while (state := api.run(DAG_ID, run)["state"]) not in {"success", "failed"}:
        assert time.monotonic() < end, api.task_instances(DAG_ID, run)
        time.sleep(1)
    return str(state)


def test_the_script_ends_in_an_airflow_that_works(
    cache: Path, machine: Machine, emulator: Emulator, aws: AWS, bucket: str, tmp_path: Path
) -> None:
    build(tmp_path / "code")
    upload(tmp_path / "code", aws, bucket)
    logs_client = emulator.client("logs")
    logs_client.create_log_group(logGroupName="/matinee/test")
    (port,) = [free_block(1, random.SystemRandom())]
    with running(tmp_path / "postgresql") as postgresql:
        told = {
            "MATINEE_CODE": f"s3://{bucket}/{CODE}",
            "MATINEE_DATABASE": postgresql.new_database().rpartition("@")[2],
            **secrets_of(emulator),
            "MATINEE_LOG_GROUP": "arn:aws:logs:us-east-1:123456789012:log-group:/matinee/test",
            "MATINEE_PORT": str(port),
        }
        indexes = {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}
        clients = clients_environment(aws, emulator)
        done = install(machine, bucket, told, {**indexes, "PIP_CACHE_DIR": str(cache), **clients})
        logs = machine.root / "var/log/matinee"
        assert done.returncode == 0, [path.read_text()[-3000:] for path in logs.iterdir()]
        assert machine.signals == [
            f"--exit-code 0 --stack test --resource Instances --region {REGION}"
        ]
        with AirflowAPI(f"http://127.0.0.1:{port}", PASSWORD) as api:
            assert set(api.health().values()) == {"healthy"}
            assert api.import_errors() == []
            dag: dict[str, Any] | None = api.dag(DAG_ID)
            assert dag is not None
            assert str(machine.root / "opt/matinee/venv") in dag["fileloc"]
            conf = {
                "ratings": f"s3://{bucket}/ratings.csv",
                "num_factors": 2, "epochs": 2, "check_interval": 0.2, "publish": False,
            }  # fmt: skip
            run = api.trigger(DAG_ID, conf)
            assert follow(api, run) == "success", api.task_instances(DAG_ID, run)
            assert api.xcom(DAG_ID, run, "evaluate")["summary"].startswith(f"s3://{bucket}/runs/")
        machine.stop()
    streams = logs_client.describe_log_streams(logGroupName="/matinee/test")["logStreams"]
    assert any("task_id=train" in stream["logStreamName"] for stream in streams)


def test_what_fails_is_told_to_the_stack_at_once(
    machine: Machine, aws: AWS, emulator: Emulator, bucket: str
) -> None:
    told = {"MATINEE_CODE": f"s3://{bucket}/code/none"}
    done = install(machine, bucket, told, clients_environment(aws, emulator))
    assert done.returncode != 0
    assert machine.signals == [
        f"--exit-code {done.returncode} --stack test --resource Instances --region {REGION}"
    ]
