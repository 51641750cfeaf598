"""The documentation is true: its tables are the code's, its commands exist, its programs run.

`tests/tour.py` runs the commands for real; this looks at every one of them without a stack.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from matinee.cli import main

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [
        body for page in PAGES for kind, body in BLOCK.findall(page.read_text()) if kind == language
    ]


def matinee_commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", "").splitlines()]
    inline = [code for page in PAGES for code in re.findall(r"`(matinee [^`]+)`", page.read_text())]
    return sorted({line for line in [*lines, *inline] if line.startswith("matinee ")})


def test_there_are_commands_to_check() -> None:
    assert "matinee down" in matinee_commands()


@pytest.mark.parametrize("line", matinee_commands())
def test_every_command_exists(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    if "|" in words or "..." in words:
        pytest.skip("a summary of several commands")
    name, command, rest = main.resolve_command(click.Context(main), words)
    assert command is not None
    with click.Context(main) as parent:
        while isinstance(command, click.Group):
            name, command, rest = command.resolve_command(parent, rest)
            assert command is not None
        if "NAME=VALUE" not in rest:
            command.make_context(name, rest, parent=parent)


@pytest.mark.parametrize("program", blocks("python"))
def test_every_program_runs(program: str) -> None:
    done = subprocess.run(  # noqa: S603 - the documentation's own words
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_tables_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "docs/tables.py", "--check"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), target
