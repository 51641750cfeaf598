"""Environments of their own for what cannot be installed beside matinee.

Each is made once a Python version, from pinned requirements, in the folder given: by the uv of
`make setup`, which takes seconds where pip takes minutes. Where that is not there or fails, maybe
because only pip is configured for a mirror, pip is asked, as it is configured. What cannot be
installed is an error with pip's reason.
"""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

UV = Path(__file__).parents[1] / ".uv/bin/uv"
INSTALL_LIMIT_S = 1800
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


class PeerError(RuntimeError):
    """A peer cannot be installed."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A system to compare or to talk with.

    Attributes
    ----------
    name
        As it is written.
    requirements
        For pip.
    """

    name: str
    requirements: tuple[str, ...]


def interpreter(peer: Peer, folder: Path) -> Path:
    """Return the Python that can import a peer; make its environment first if there is none.

    Processes that ask at the same time wait for the first of them.

    Raises
    ------
    PeerError
        If pip cannot install it, with pip's last words.
    """
    environment = folder.resolve() / "-".join([*peer.name.lower().split(), _PYTHON])
    folder.mkdir(parents=True, exist_ok=True)
    with alone(environment.with_name(f"{environment.name}.lock")):
        return _installed(peer, environment)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Keep other processes that ask for the same lock waiting."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _installed(peer: Peer, environment: Path) -> Path:
    python, ready = environment / "bin" / "python", environment / ".ready"
    wanted = "\n".join(peer.requirements)
    if ready.exists() and ready.read_text() == wanted:
        return python
    print(f"installing {peer.name} into {environment}", flush=True)
    _run(peer, [sys.executable, "-m", "venv", "--clear", str(environment)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    uv = [str(UV), "pip", "install", "--quiet", "--python", str(python)]
    for install in (uv, pip) if UV.exists() else (pip,):
        try:
            _run(peer, [*install, *peer.requirements])
        except PeerError:
            if install is pip:
                raise
        else:
            break
    ready.write_text(wanted)
    return python


def _run(peer: Peer, command: list[str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed list of arguments
            command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"{peer.name}: not installed after {INSTALL_LIMIT_S} s") from error
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise PeerError(f"{peer.name}: {words[-1]}")
