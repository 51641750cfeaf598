"""The walls of docs/architecture.md: imports point one way, and a wing stays usable alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import matinee

PACKAGE = Path(matinee.__file__).parent
MAY_IMPORT: dict[str, set[str]] = {
    "recordio": set(),
    "fm": set(),
    "fm/container": {"fm", "recordio"},
    "sagemaker": set(),
    "workflow": {"fm", "recordio"},
    "dags": {"workflow"},
    "stepfunctions": {"workflow"},
    "datasets": {"workflow"},
    "explorer": {"sagemaker", "workflow"},
    "stack": {"dags"},
    "cloud": {"stack", "stepfunctions", "workflow"},
    "cli": {"cloud", "dags", "datasets", "stack", "stepfunctions", "workflow"},
}
# What a wing's users have not installed, or what takes long to load (Numba: the kernels' compiler,
# loaded when there is something to compile): importing the wing loads none of it.
HEAVY = {
    "airflow", "boto3", "botocore", "click", "duckdb", "numba", "sqlalchemy", "starlette", "uvicorn"
}  # fmt: skip


def wing_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    nested = "/".join(parts[:2])
    return nested if nested in MAY_IMPORT else parts[0]


def imported_wings(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "matinee" and len(part) > 1}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE) + [
        path for path in [PACKAGE / "cli.py"] if path.exists()
    ]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    wing = wing_of(path)
    known = {name.split("/")[0] for name in MAY_IMPORT}
    outside = imported_wings(path) & known - {wing.split("/")[0]} - MAY_IMPORT[wing]
    assert not outside, f"{wing} imports {sorted(outside)}"


@pytest.mark.parametrize("module", ["matinee.fm", "matinee.recordio"])
def test_the_library_loads_nothing_of_the_servers(module: str) -> None:
    program = f"import {module}, sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    loaded = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not HEAVY & set(loaded)
