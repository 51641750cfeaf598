"""Notebooks, executed by the kernel of a given interpreter: real servers, simulated ratings."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import matinee
from matinee.datasets.simulated.simulation import Simulation
from tests.conftest import AWS, ObjectStore

FOLDER = Path(__file__).parents[2] / "notebooks"
KERNEL = "tested"
CELL_LIMIT_S = 240
# Some 15,000 ratings survive the workflow's filters.
SCALE, SEED = 0.01, 1


@dataclass(frozen=True)
class Given:
    """Simulated ratings in a bucket of their own, and what is known of them."""

    bucket: str
    ratings: str
    truth: dict[str, Any]


@pytest.fixture
def given(object_store: ObjectStore, bucket: str) -> Given:
    simulation = Simulation(SCALE, SEED, threads=1)
    with simulation.file(0, 1, compressed=True, progress=_ignore) as reviews:
        body = io.BytesIO(reviews.read())
    client = object_store.client()
    client.upload_fileobj(body, bucket, "ratings/simulated.tsv.gz")
    client.close()
    return Given(bucket, f"s3://{bucket}/ratings/simulated.tsv.gz", simulation.truth(_ignore))


def _ignore(_rows: int) -> None:
    """Take no notice of progress."""


Values = dict[str, Any]
Execute = Callable[[str, Path, dict[str, str]], Values]
# What goes wrong in silence: libraries that complain, or call home.
COMPLAINTS = re.compile("warning|error|traceback|telemetry", re.IGNORECASE)


@pytest.fixture
def execute(aws: AWS, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """Run all cells of a notebook; return the values that expressions have then, by their names.

    The executed notebook is left in the test's folder, to be looked at.
    """
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))

    def run(name: str, python: Path, expressions: dict[str, str]) -> Values:
        surroundings = {
            **aws.environment,
            "MATINEE_BUCKET": given.bucket,
            "MATINEE_RATINGS": given.ratings,
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "PYTHONPATH": str(Path(matinee.__file__).parents[1]),
        }
        command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": command, "display_name": KERNEL, "language": "python", "env": surroundings}
        folder = tmp_path / "kernels" / KERNEL
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec))

        notebook = nbformat.read(FOLDER / name, as_version=4)
        # A kernel answers in text.
        asked = ", ".join(f"{key!r}: {value}" for key, value in expressions.items())
        last = nbformat.v4.new_code_cell(f"import json\nprint(json.dumps({{{asked}}}))")
        notebook.cells.append(last)
        client = NotebookClient(
            notebook,
            kernel_name=KERNEL,
            timeout=CELL_LIMIT_S,
            resources={"metadata": {"path": str(tmp_path)}},
        )
        try:
            client.execute()
        finally:
            nbformat.write(notebook, tmp_path / name)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
        said = [output.text for output in outputs if output.get("name") == "stderr"]
        assert [text for text in said if COMPLAINTS.search(text)] == []
        values: Values = json.loads(last.outputs[0]["text"])
        return values

    return run


def is_clean(aws: AWS, run: str, trainings: int) -> bool:
    """Ask the server whether all training of a run is done, and nothing of it is in service."""
    sagemaker = aws.client("sagemaker")
    jobs = sagemaker.list_training_jobs(NameContains=run, StatusEquals="Completed", MaxResults=100)
    served = (
        sagemaker.list_endpoints(NameContains=run)["Endpoints"]
        + sagemaker.list_endpoint_configs(NameContains=run)["EndpointConfigs"]
        + sagemaker.list_models(NameContains=run)["Models"]
    )
    sagemaker.close()
    return len(jobs["TrainingJobSummaries"]) == trainings and not served
