"""`matinee cloud` from the command line to the emulator."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from matinee.cli import main
from matinee.cloud.account import Account
from matinee.cloud.template import Kind, Template
from tests.cloud.conftest import Emulator
from tests.conftest import find_by

NAME = "matinee-test"


@pytest.fixture
def emulator(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    find_by(emulator.environment, monkeypatch)
    return emulator


def cloud(*words: str, code: int = 0, answer: str | None = None) -> Result:
    done = CliRunner().invoke(main, ["cloud", *words, "--stack", NAME], input=answer)
    assert done.exit_code == code, done.output
    return done


def changing(operations: list[str]) -> list[str]:
    """Return the operations that may change something."""
    return [each for each in operations if not each.startswith(("Describe", "Get", "HEAD", "List"))]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    emulator: Emulator, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"currency": "USD", "per_hour": {"t4g.large": 2}}))
    with emulator.recording() as asked:
        lines = cloud("deploy", "--dry-run", "--prices", str(prices)).output.splitlines()
    assert asked == ["DescribeStacks"]
    assert f"stack {NAME} in us-east-1 is not there" in lines
    assert any(line.startswith("  constraints.txt, ") for line in lines)
    assert "  1 AWS::RDS::DBInstance: Database" in lines
    assert any("t4g.large" in line and "730" in line and "1,460.00" in line for line in lines)
    assert any("secret" in line and "no price" in line for line in lines)
    assert any(line.startswith("1,460.00 USD a month, without 6 items") for line in lines)
    assert lines[-1] == "nothing was changed: this was a dry run"


def test_a_stack_s_life(emulator: Emulator) -> None:
    """One of each command, in this order: the emulator takes seconds to make a whole stack."""
    assert f"there is no stack {NAME} in us-east-1" in cloud("status", code=1).output
    lines = cloud("deploy", "--parameter", "LogDays=7").output.splitlines()
    assert "  + Database (AWS::RDS::DBInstance)" in lines
    assert f"  UPDATE_COMPLETE  stack {NAME}" in lines
    assert any(line.startswith("SageMakerRoleArn   arn:aws:iam::") for line in lines)
    assert lines[-1] == f"A run: matinee cloud run --stack {NAME}"

    with emulator.recording() as asked:
        lines = cloud("deploy", "--dry-run").output.splitlines()
        healthy = cloud("status").output.splitlines()
        remains = cloud("destroy", "--dry-run").output.splitlines()
    assert asked
    assert changing(asked) == []
    assert any("constraints.txt" in line and "there already" in line for line in lines)
    assert not any("to be changed" in line or "to be removed" in line for line in lines)
    assert healthy[0] == f"✓ stack {NAME}: UPDATE_COMPLETE"
    assert healthy[1].startswith("✓ instance i-")
    assert healthy[1].endswith(": InService, Healthy")
    assert "  endpoints now: none" in healthy
    assert "  1 AWS::RDS::DBInstance" in remains
    assert remains[-1] == "nothing was changed: this was a dry run"
    lines = cloud("deploy").output.splitlines()
    assert f"stack {NAME} has this code already: nothing to change" in lines

    with emulator.recording() as asked:
        assert "Remove all of this, for good?" in cloud("destroy", code=1, answer="n\n").output
    assert changing(asked) == []
    lines = cloud("destroy", "--yes").output.splitlines()
    assert f"✓ stack {NAME}: none left" in lines
    assert lines[-1] == f"✓ resources tagged matinee={NAME}: none left"
    assert f"there is no stack {NAME} in us-east-1" in cloud("destroy").output


def test_a_first_pass_alone_is_not_well_and_no_run_starts(account: Account) -> None:
    account.client("cloudformation").create_stack(
        StackName=NAME,
        TemplateBody=Template.of(Kind.EC2).first_pass(),
        Capabilities=["CAPABILITY_IAM"],
    )
    assert (
        "✗ Airflow: not made yet: `matinee cloud deploy` goes on" in cloud("status", code=1).output
    )
    assert "has no Airflow: `matinee cloud deploy` goes on" in cloud("run", code=1).output


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--airflow", "http://airflow.example.org"], "password goes by https, or to this machine"),
        (["--set", "epochs=many"], "epochs"),
        (["--airflow", "http://127.0.0.1:1"], "does not answer"),
    ],
)
def test_a_run_is_refused_before_anything_is_uploaded(
    account: Account, emulator: Emulator, words: list[str], problem: str
) -> None:
    secret = account.client("secretsmanager").create_secret(Name="a", SecretString="p")["ARN"]
    outputs = {
        "Bucket": "bucket", "SageMakerRoleArn": "arn:aws:iam::123456789012:role/r",
        "AirflowAddress": "http://localhost:8080", "AdminSecretArn": secret,
        "PortForwarding": "aws ssm start-session",
    }  # fmt: skip
    template = {
        "Description": "matinee on AWS: a test",
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    account.client("cloudformation").create_stack(StackName=NAME, TemplateBody=json.dumps(template))
    with emulator.recording() as asked:
        assert problem in cloud("run", *words, code=1).output
    assert changing(asked) == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["deploy", "--parameter", "LogDays"], "it must look like NAME=VALUE"),
        (["deploy", "--parameter", "LogDays=8"], "LogDays=8: it is one of 7, 14"),
        (["deploy", "--prices", __file__], "--prices is for --dry-run"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_done(
    emulator: Emulator, words: list[str], problem: str
) -> None:
    code = 1 if "=8" in words[-1] else 2
    with emulator.recording() as asked:
        assert problem in cloud(*words, code=code).output
    assert changing(asked) == []


def test_a_name_that_no_stack_can_have_is_refused() -> None:
    done = CliRunner().invoke(main, ["cloud", "deploy", "--stack", "1;x"])
    assert done.exit_code == 2
    assert "at most 40 letters" in done.output


def test_without_a_region_it_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert "no region: give --region" in cloud("deploy", code=1).output
