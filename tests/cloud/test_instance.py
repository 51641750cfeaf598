"""What the instance writes for Airflow and for systemd, and what it refuses."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from matinee.cloud.instance import Instance, InstanceError, main, wait
from matinee.stack.airflow import Airflow
from tests.cloud.conftest import Emulator
from tests.cloud.templates import Template

SECRETS = {
    "database": json.dumps({"username": "airflow", "password": "of the/database"}),
    "admin": "of-admin",
    "keys": "seed",
}
GROUP = "arn:aws:logs:us-east-1:123456789012:log-group:/matinee/test"


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(
        region="us-east-1",
        database="db.example.org:5432/airflow?sslmode=verify-full",
        database_secret="database",
        admin_secret="admin",
        key_secret="keys",
        log_group=GROUP,
        listen="127.0.0.1",
        root=tmp_path,
    )


def exported(root: Path, **values: str) -> dict[str, str]:
    """Return what the template's script exports, as a shell does it."""
    script = Template("airflow-ec2.yaml").install_script(
        {
            "AWS::Region": "us-east-1",
            "AWS::Partition": "aws",
            "Host": "db",
            **values,
        }
    )
    head = script[: script.index("set -euo")]
    done = subprocess.run(  # noqa: S603 - the template's own words
        [shutil.which("bash") or "bash", "-c", f"{head}\nenv -0"],
        env={"MATINEE_ROOT": str(root)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def as_systemd(path: Path) -> dict[str, str]:
    """Read a file of settings by a shell: inside double quotes systemd follows its rules."""
    done = subprocess.run(  # noqa: S603 - a file that the test wrote
        [shutil.which("bash") or "bash", "-c", f"set -a; . {path}; env -0"],
        env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def test_the_template_tells_the_instance_all_that_it_asks_for(tmp_path: Path) -> None:
    instance = Instance.of_environment(exported(tmp_path))
    assert instance.database == (
        "db:5432/airflow?sslmode=verify-full&sslrootcert=/etc/matinee/rds.pem"
    )
    assert instance.region == "us-east-1"
    assert instance.root == tmp_path


@pytest.mark.parametrize(
    ("engine", "made", "told"),
    [
        ("duckdb", {}, {}),
        ("athena", {"AthenaDatabase": "d", "AthenaWorkgroup": "w"},
         {"AIRFLOW__MATINEE__ATHENA_DATABASE": "d", "AIRFLOW__MATINEE__ATHENA_WORKGROUP": "w"}),
        ("glue", {"GlueJob": "j"}, {"AIRFLOW__MATINEE__GLUE_JOB": "j"}),
    ],
)  # fmt: skip
def test_what_the_stack_decides_of_runs_reaches_airflow(
    engine: str, made: dict[str, str], told: dict[str, str], tmp_path: Path
) -> None:
    values = {"Engine": engine, "Bucket": "b", "SageMakerRole.Arn": "a", "Recommender": "r"}
    instance = Instance.of_environment(exported(tmp_path, **values, **made))
    settings = instance.environment(lambda _: SECRETS["database"])
    found = {key: settings[key] for key in settings if key.startswith("AIRFLOW__MATINEE__")}
    assert found == {
        "AIRFLOW__MATINEE__ENGINE": engine,
        "AIRFLOW__MATINEE__OUTPUT": "s3://b/runs",
        "AIRFLOW__MATINEE__ROLE": "a",
        "AIRFLOW__MATINEE__ENDPOINT": "r",
        "AIRFLOW__MATINEE__MODEL_PACKAGE_GROUP": "r",
        **told,
    }


def test_what_the_instance_is_not_told_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InstanceError, match=r"not told MATINEE_KEY_SECRET, MATINEE_LISTEN$"):
        Instance.of_environment(
            {
                "AWS_DEFAULT_REGION": "us-east-1", "MATINEE_DATABASE": "a",
                "MATINEE_DATABASE_SECRET": "b", "MATINEE_ADMIN_SECRET": "c",
                "MATINEE_LOG_GROUP": "d",
            }
        )  # fmt: skip
    assert main(["configure"], {}) == 1
    assert "AWS_DEFAULT_REGION" in capsys.readouterr().err


def test_airflow_is_set_up_on_what_the_stack_made(instance: Instance, tmp_path: Path) -> None:
    instance.configure(SECRETS.__getitem__)
    settings = as_systemd(instance.settings_file)
    assert settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == (
        "postgresql+psycopg://airflow:of%20the%2Fdatabase"
        "@db.example.org:5432/airflow?sslmode=verify-full"
    )
    assert settings["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert settings["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert settings["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"] == f"cloudwatch://{GROUP}"
    assert "AIRFLOW__MATINEE__CONSOLE" not in settings
    assert not any(name.startswith("AWS_ENDPOINT_URL") for name in settings)
    assert len(base64.urlsafe_b64decode(settings["AIRFLOW__CORE__FERNET_KEY"])) == 32
    keys = {"AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"}
    assert len({settings[name] for name in keys}) == 2
    passwords = tmp_path / "var/lib/matinee/passwords.json"
    assert json.loads(passwords.read_text()) == {"admin": "of-admin"}


def test_secrets_are_for_their_owner_alone(instance: Instance, tmp_path: Path) -> None:
    instance.configure(SECRETS.__getitem__)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    secret = [path for path in files if re.search("of%20the|of-admin", path.read_text())]
    assert len(secret) == 2
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_another_instance_of_the_stack_has_the_same_keys(
    instance: Instance, tmp_path: Path
) -> None:
    other = replace(instance, root=tmp_path / "other")
    first, second = (each.environment(SECRETS.__getitem__) for each in (instance, other))
    keys = [name for name in first if name.endswith(("KEY", "SECRET"))]
    assert len(keys) == 3
    assert [first[key] for key in keys] == [second[key] for key in keys]


def test_each_component_is_a_service_that_comes_back(instance: Instance) -> None:
    services = instance.services()
    assert sorted(services) == [
        "matinee-api-server.service",
        "matinee-dag-processor.service",
        "matinee-migrate.service",
        "matinee-scheduler.service",
        "matinee-triggerer.service",
        "matinee.target",
    ]
    for name, text in services.items():
        if name not in {"matinee-migrate.service", "matinee.target"}:
            assert "Restart=always" in text
            assert "User=airflow" in text
            assert name in services["matinee.target"]


def test_systemd_accepts_the_services(instance: Instance, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not on this machine")
    airflow = tmp_path / "opt/matinee/venv/bin/airflow"
    airflow.parent.mkdir(parents=True)
    airflow.write_text("#!/bin/sh\n")
    airflow.chmod(0o755)
    instance.configure(SECRETS.__getitem__)
    units = sorted((tmp_path / "etc/systemd/system").glob("matinee-*.service"))
    done = subprocess.run(  # noqa: S603 - our own words
        [program, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    mine = [line for line in done.stderr.splitlines() if "matinee" in line]
    assert mine == []


def test_waiting_ends_with_what_is_missing(tmp_path: Path) -> None:
    airflow = Airflow(tmp_path, 9, "secret", {})  # nothing listens on the port `discard`
    clock = iter([0.0, 1.0, 10.0]).__next__
    with pytest.raises(InstanceError, match="after 5 s Airflow still waits for its API"):
        wait(airflow, patience_s=5, clock=clock, sleep=lambda _: None)


def test_the_secrets_come_from_secrets_manager(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = emulator.client("secretsmanager")
    arns = {
        name: client.create_secret(Name=name, SecretString=value)["ARN"]
        for name, value in SECRETS.items()
    }
    told = exported(
        tmp_path, DatabaseSecret=arns["database"], AdminSecret=arns["admin"], KeySecret=arns["keys"]
    )
    environment: Mapping[str, str] = {
        "AWS_ENDPOINT_URL": emulator.address,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["configure"], told) == 0
    settings = as_systemd(tmp_path / "etc/matinee/airflow.env")
    assert "airflow:of%20the%2Fdatabase@db:5432" in settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


def test_the_script_is_clean(tmp_path: Path) -> None:
    path = tmp_path / "install.sh"
    path.write_text(Template("airflow-ec2.yaml").install_script({}))
    program = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run(  # noqa: S603 - our own program and words
        # SC2016: the values that CloudFormation would fill in are in single quotes.
        [program, "--exclude", "SC2016", path],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
