"""The code that a stack runs: what lies in its bucket under `code/VERSION/`.

It is put together from a checkout of matinee, the one that this command runs from: the wheel, and
what the lock file says of the rest. The version is a hash of the content: the same content is the
same version, and another content never overwrites it. Refuses to guess versions where there is no
lock file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Self

import matinee
from matinee.cloud.errors import BundleError
from matinee.cloud.template import Kind
from matinee.stepfunctions.definition import definition

CHECKOUT = Path(matinee.__file__).parents[2]
# Of MWAA's images of Airflow 3.
_MWAA_PYTHON = "3.12"
_MWAA_DAGS = "/usr/local/airflow/dags"


@dataclass(frozen=True)
class Bundle:
    """The files.

    Parameters
    ----------
    files
        Their content by their paths under `code/VERSION/`.
    """

    files: Mapping[str, bytes]

    @property
    def version(self) -> str:
        """matinee's version and twelve digits of the SHA-256 of names and contents."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
        return f"{version_of('matinee')}-{digest.hexdigest()[:12]}"

    @classmethod
    def build(cls, kind: Kind, airflow_version: str, *, checkout: Path = CHECKOUT) -> Self:
        """Build the files of a kind of stack.

        Parameters
        ----------
        kind
        airflow_version
            Of MWAA, whose constraints its requirements name.
        checkout
            The folder with `pyproject.toml` and `uv.lock`.

        Raises
        ------
        BundleError
            If this matinee does not run from a checkout, or uv is missing or fails.
        """
        missing = [
            name for name in ("pyproject.toml", "uv.lock") if not (checkout / name).is_file()
        ]
        if missing:
            raise BundleError(
                "a deployment is built from a checkout of matinee, whose uv.lock says which"
                f" versions it was tested with; this one runs from {checkout}, which has no"
                f" {' and no '.join(missing)}. Clone the repository, `make setup`, and run"
                " .venv/bin/matinee there"
            )
        with tempfile.TemporaryDirectory(prefix="matinee-bundle-") as scratch:
            wheel = _wheel(checkout, Path(scratch))
            if kind is Kind.EC2:
                files = {
                    wheel.name: wheel.read_bytes(),
                    "constraints.txt": _constraints(checkout, Path(scratch)),
                }
            else:
                dag = checkout / "src/matinee/dags/recommender.py"
                files = {
                    "requirements.txt": _requirements(wheel.name, airflow_version),
                    f"dags/{dag.name}": dag.read_bytes(),
                    f"dags/{wheel.name}": wheel.read_bytes(),
                }
            script = checkout / "src/matinee/workflow/engines/glue_script.py"
            files["glue/preprocess.py"] = script.read_bytes()
            # A wheel is a zip file, and Glue reads zip files by that name.
            files["glue/matinee.zip"] = wheel.read_bytes()
        files["state-machine.json"] = json.dumps(definition(), indent=2).encode()
        return cls(files)


def _wheel(checkout: Path, folder: Path) -> Path:
    _uv(checkout, "build", "--wheel", "--out-dir", str(folder))
    (wheel,) = folder.glob("matinee-*.whl")
    return wheel


def _constraints(checkout: Path, folder: Path) -> bytes:
    """Return the locked versions of all that the instance installs."""
    path = folder / "constraints.txt"
    # Without a header: it would name the folder, which is another one each time.
    _uv(
        checkout, "export", "--frozen", "--no-dev", "--extra", "ec2", "--no-emit-project",
        "--no-hashes", "--no-annotate", "--no-header", "--output-file", str(path),
    )  # fmt: skip
    return path.read_bytes()


def _requirements(wheel: str, airflow_version: str) -> bytes:
    constraints = (
        "https://raw.githubusercontent.com/apache/airflow/"
        f"constraints-{airflow_version}/constraints-{_MWAA_PYTHON}.txt"
    )
    lines = [f'--constraint "{constraints}"', f"matinee[workflow] @ file://{_MWAA_DAGS}/{wheel}"]
    return "".join(f"{line}\n" for line in lines).encode()


def _uv(checkout: Path, *arguments: str) -> None:
    own = checkout / ".uv/bin/uv"
    program = str(own) if own.is_file() else shutil.which("uv")
    if program is None:
        raise BundleError(f"uv is missing, which builds the wheel: `make setup` in {checkout}")
    done = subprocess.run(  # noqa: S603 - our own words
        [program, "--quiet", *arguments], cwd=checkout, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BundleError(f"uv {arguments[0]} failed:\n{done.stderr.strip()}")
