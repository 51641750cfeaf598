"""The Dockerfile without Docker: its instructions carried out in a folder that is the image.

The build stage's RUN lines run as they are written, with the image's own folders replaced by some
below the given one; a container is then a process with the image's environment and nothing else.
Not shown here: the base image (in its place stands this interpreter), Docker's own work, root.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import alone

from tests.fm.container.processes import Job

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "Dockerfile"
# Of the base image.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What makes an image small and its containers quick costs a folder more than it spares.
_OF_IMAGES = ("PYTHONDONTWRITEBYTECODE", "UV_COMPILE_BYTECODE", "UV_LINK_MODE", "UV_NO_CACHE")


@dataclass(frozen=True)
class Instruction:
    """One instruction, its lines joined."""

    word: str
    rest: str

    def pairs(self) -> dict[str, str]:
        """Return the names and values of ENV and LABEL."""
        return dict(pair.partition("=")[::2] for pair in shlex.split(self.rest))


def stages(text: str) -> list[list[Instruction]]:
    """Return the instructions of each stage, which begins with FROM."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    found: list[list[Instruction]] = []
    for line in filter(str.strip, joined.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append(Instruction(word, rest.strip()))
    return found


@dataclass(frozen=True)
class Image:
    """A folder as the image that the Dockerfile describes.

    Attributes
    ----------
    root
        The folder. `kernels` in it outlives a build: kernels are kept by their sources.
    """

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """What every container has."""
        values = {"PATH": _PATH, "HOME": "/root"}
        for instruction in stages(DOCKERFILE.read_text())[-1]:
            if instruction.word == "ENV":
                for name, value in instruction.pairs().items():
                    values[name] = self._here(value.replace("$PATH", values["PATH"]))
        return {name: value for name, value in values.items() if name not in _OF_IMAGES}

    def command(self, words: Sequence[str]) -> list[str]:
        """Return what `docker run IMAGE WORDS` starts, its program by the image's PATH."""
        last: dict[str, list[str]] = {"ENTRYPOINT": [], "CMD": []}
        for instruction in stages(DOCKERFILE.read_text())[-1]:
            if instruction.word in last:
                last[instruction.word] = json.loads(instruction.rest)
        program, *rest = [*last["ENTRYPOINT"], *(words or last["CMD"])]
        found = shutil.which(program, path=self.environment["PATH"])
        assert found is not None, program
        return [found, *rest]

    def start(
        self, words: Sequence[str], base: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        """Start a container with `base` as its /opt/ml."""
        return subprocess.Popen(  # noqa: S603 - the Dockerfile's own words
            self.command(words),
            env={**self.environment, "SAGEMAKER_BASE_DIR": str(base), **environment},
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def build(self) -> None:
        """Carry out the build stage, unless what it is made of is what it was made of."""
        made_of, ready = _digest(), self.root / ".ready"
        self.root.mkdir(parents=True, exist_ok=True)
        with alone(self.root / ".lock"):
            if ready.exists() and ready.read_text() == made_of:
                return
            for name in ("base", "source", "matinee"):
                shutil.rmtree(self.root / name, ignore_errors=True)
            self._build()
            ready.write_text(made_of)

    def _build(self) -> None:
        subprocess.run(  # noqa: S603 - our own interpreter and words
            [sys.executable, "-m", "venv", self.root / "base"], check=True
        )
        # Those of the machine that may be needed on the way to the package index.
        environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        environment["PATH"] = f"{self.root / 'base/bin'}{os.pathsep}{_PATH}"
        shell: list[str] = []
        folder = self.root
        for instruction in stages(DOCKERFILE.read_text())[0]:
            match instruction.word:
                case "ENV":
                    environment |= {
                        name: self._here(value)
                        for name, value in instruction.pairs().items()
                        if name not in _OF_IMAGES
                    }
                case "SHELL":
                    shell = json.loads(instruction.rest)
                case "WORKDIR":
                    folder = Path(self._here(instruction.rest))
                    folder.mkdir()
                case "COPY":
                    *sources, target = instruction.rest.split()
                    for source in sources:
                        _copy(ROOT / source, folder / target)
                case "RUN":
                    _run([*shell, self._here(instruction.rest)], folder, environment)
                case word:
                    assert word in {"FROM", "ARG"}, word

    def _here(self, text: str) -> str:
        for path in ("/opt/matinee/kernels", "/opt/matinee", "/source"):
            text = text.replace(path, str(self.root / Path(path).name))
        return text


class ImageJob(Job):
    """A training job's folder, trained in by the image."""

    image: Image

    def start(self) -> subprocess.Popen[str]:
        return self.image.start(["train"], self.base, self.environment)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        # As Docker does: what is in it, not the folder itself.
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 - the Dockerfile's own words
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (command[-1], done.stderr[-3000:])


def _digest() -> str:
    """Of all that a build reads."""
    digest = hashlib.sha256(f"{sys.version} {sys.base_prefix}".encode())
    sources = (path for path in (ROOT / "src").rglob("*") if "__pycache__" not in path.parts)
    files = [ROOT / name for name in ("Dockerfile", "pyproject.toml", "uv.lock", "README.md")]
    for path in [*files, *sorted(sources)]:
        if path.is_file():
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
