"""A security linter's opinion of the templates: nothing is left but what they explain in place."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cloud.templates import EVERY, Template
from tests.environments import interpreter_of

REQUIREMENTS = Path(__file__).with_name("requirements-checkov.txt")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What checkov finds in all templates at once: it takes seconds to start."""
    python = interpreter_of("MATINEE_SECURITY", "checkov", REQUIREMENTS)
    files = [word for name in EVERY for word in ("--file", str(Template(name).path))]
    done = subprocess.run(  # noqa: S603 - our own words
        [
            python, "-m", "checkov.main", "--framework", "cloudformation", "--skip-download",
            "--output", "json", *files,
        ],
        # Without keys and proxies it asks nobody.
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_the_linter_read_all_templates_and_finds_nothing(found: dict[str, Any]) -> None:
    assert found["summary"]["parsing_errors"] == 0
    read = {Path(check["file_path"]).name for check in found["results"]["passed_checks"]}
    assert read == set(EVERY)
    failed = found["results"]["failed_checks"]
    assert [f"{each['check_id']} {each['resource']} {each['check_name']}" for each in failed] == []


def test_no_exception_is_needless(found: dict[str, Any]) -> None:
    skipped = {
        (Path(each["file_path"]).name, each["resource"].partition(".")[2], each["check_id"])
        for each in found["results"]["skipped_checks"]
    }
    assert skipped == {
        (name, resource, skip["id"])
        for name in EVERY
        for resource, described in Template(name).resources.items()
        for skip in described.get("Metadata", {}).get("checkov", {}).get("skip", ())
    }


@pytest.mark.parametrize("name", EVERY)
def test_every_exception_says_why(name: str) -> None:
    for resource, described in Template(name).resources.items():
        for skip in described.get("Metadata", {}).get("checkov", {}).get("skip", ()):
            assert len(skip["comment"].split()) > 1, (resource, skip["id"])
