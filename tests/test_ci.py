"""The workflow of GitHub Actions: it calls what a person can call, and has no power besides.

What only GitHub can show, that it runs, is not shown here.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from matinee.cli import main

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github/workflows/ci.yml"
TEXT = WORKFLOW.read_text()
# YAML reads the key `on` as a truth.
CONTENT: dict[Any, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, Any] = CONTENT["jobs"]


def commands(job: str) -> list[str]:
    return [
        line
        for step in JOBS[job]["steps"]
        for line in step.get("run", "").replace("\\\n", " ").splitlines()
    ]


def uses() -> Iterator[tuple[str, dict[str, Any]]]:
    for job in JOBS.values():
        for step in job["steps"]:
            if "uses" in step:
                yield step["uses"], step.get("with", {})


def test_the_security_linter_finds_nothing() -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    done = subprocess.run(  # noqa: S603 - our own program and words
        [zizmor, "--offline", "--no-progress", "--quiet", WORKFLOW],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_it_runs_the_steps_of_ci_run() -> None:
    script = (ROOT / ".ci/run").read_text()
    # Some it has run beside each other.
    steps = re.findall(r"^(?:step|make --no-print-directory) (\w+)", script, re.MULTILINE)
    assert steps[0] == "setup"
    assert commands("test")[0] == "make setup"
    assert sorted(commands("test")) == sorted(f"make {step}" for step in steps)
    # The home is the stack's own there; here the machine is.
    wanted = set(re.findall(r"\b(MATINEE_\w+)=", script)) - {"MATINEE_HOME"}
    assert set(JOBS["test"]["env"]) == wanted


@pytest.mark.parametrize("job", JOBS)
def test_every_command_exists(job: str) -> None:
    targets = re.findall(r"^([\w -]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    known = {target for line in targets for target in line.split()}
    assert commands(job)
    for line in commands(job):
        program, *words = shlex.split(line)
        match program:
            case "make":
                assert words
                assert set(words) <= known, line
            case ".venv/bin/matinee":
                check_command(words)
            case "docker":
                assert words[0] in {"build", "run"}
                if "-m" in words:
                    assert importlib.util.find_spec(words[words.index("-m") + 1])
            case _:
                raise AssertionError(line)


def check_command(words: list[str]) -> None:
    """Read words as `matinee` does, with a value of some sort for each variable."""
    words = [re.sub(r"^\$\w+$", "us-east-1", word) for word in words]
    name, command, rest = main.resolve_command(click.Context(main), words)
    with click.Context(main) as parent:
        while isinstance(command, click.Group):
            name, command, rest = command.resolve_command(parent, rest)
        assert command is not None, words
        command.make_context(name, rest, parent=parent)


def test_every_action_is_named_by_its_commit_with_the_version_beside() -> None:
    actions = [name for name, _ in uses()]
    assert actions
    for name in actions:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", name), name
        assert re.search(rf"uses: {name} # v\d+\.\d+\.\d+$", TEXT, re.MULTILINE), name
    # One action, one commit.
    assert len({name.partition("@")[0] for name in actions}) == len(set(actions))


def test_only_the_deploying_job_may_ask_for_a_token_and_nobody_has_a_key() -> None:
    assert CONTENT["permissions"] == {}
    for name, job in JOBS.items():
        token = {"id-token": "write"} if name == "deploy" else {}
        assert job["permissions"] == {"contents": "read", **token}
    assert "secrets." not in TEXT
    assert "access-key" not in TEXT
    for name, given in uses():
        if name.startswith("actions/checkout@"):
            assert given["persist-credentials"] is False


def test_only_a_tag_is_deployed_when_all_else_has_passed() -> None:
    deploy = JOBS["deploy"]
    assert deploy["if"].startswith("startsWith(github.ref, 'refs/tags/v') && ")
    assert set(deploy["needs"]) == set(JOBS) - {"deploy"}
    assert deploy["environment"] == "production"
    assert deploy["concurrency"] == {"group": "deploy", "cancel-in-progress": False}
    assert CONTENT[True]["push"]["tags"] == ["v*"]


def test_the_pythons_are_those_that_matinee_supports() -> None:
    (low, high) = re.findall(
        r'requires-python = ">=3\.(\d+),<3\.(\d+)"', (ROOT / "pyproject.toml").read_text()
    )[0]
    oldest, newest = JOBS["test"]["strategy"]["matrix"]["python"]
    assert (oldest, newest) == (f"3.{low}", f"3.{int(high) - 1}")
