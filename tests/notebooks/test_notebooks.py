"""The notebooks as files: valid, without outputs, with links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.validator import NotebookValidationError

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LINK = re.compile(r"\]\(([^)#]+)\)")


def problems(notebook: Any, folder: Path) -> list[str]:
    """Say what keeps a notebook from being committed."""
    found = []
    try:
        nbformat.validate(notebook)
    except NotebookValidationError as error:
        found.append(f"invalid: {error.message}")
    if more := notebook.metadata.keys() - {"kernelspec", "language_info"}:
        found.append(f"metadata: {sorted(more)}")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("its kernel is not python3, which every Jupyter has")
    for cell in notebook.cells:
        if cell.metadata:
            found.append(f"{cell.id}: metadata {cell.metadata}")
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            found.append(f"{cell.id}: was executed; clear all outputs")
        if cell.cell_type == "markdown":
            found += [
                f"{cell.id}: {target} is not there"
                for target in LINK.findall(cell.source)
                if not target.startswith("https://") and not (folder / target).exists()
            ]
    return found


def test_both_are_there() -> None:
    assert [path.name for path in NOTEBOOKS] == [
        "recommender.ipynb",
        "recommender_sagemaker_sdk.ipynb",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_keeps_it_from_being_committed(path: Path) -> None:
    assert problems(nbformat.read(path, as_version=4), path.parent) == []


def test_what_is_refused(tmp_path: Path) -> None:
    v4 = nbformat.v4
    shown = v4.new_output("stream", text="3")
    cells = [
        v4.new_code_cell("1 + 2", id="numbered", execution_count=1),
        v4.new_code_cell("1 + 2", id="shown", outputs=[shown]),
        v4.new_code_cell("1 + 2", id="timed", metadata={"execution": {"shell": "9:00"}}),
        v4.new_markdown_cell("[page](gone.md)", id="linked"),
    ]
    notebook = v4.new_notebook(
        cells=cells,
        metadata={"kernelspec": {"display_name": "Mine", "name": "mine"}, "widgets": {}},
    )
    assert problems(notebook, tmp_path) == [
        "metadata: ['widgets']",
        "its kernel is not python3, which every Jupyter has",
        "numbered: was executed; clear all outputs",
        "shown: was executed; clear all outputs",
        "timed: metadata {'execution': {'shell': '9:00'}}",
        "linked: gone.md is not there",
    ]
    del notebook.cells[0]["source"]
    assert problems(notebook, tmp_path)[0].startswith("invalid: ")
