"""The peers and their environments: each installed from the package index into one of its own.

Versions are pinned; an environment is made once a Python version and kept in the folder given. pip
is asked as it is configured. What cannot be installed is an error with pip's reason.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INSTALL_LIMIT_S = 1800
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


class PeerError(RuntimeError):
    """A peer cannot be installed."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A system to compare with.

    Attributes
    ----------
    name
        As it is written.
    requirements
        For pip.
    """

    name: str
    requirements: tuple[str, ...]


PEERS = {
    "myfm": Peer("myFM 0.4.0", ("myfm==0.4.0", "numpy==2.4.6", "scipy==1.17.1")),
    # Comes as source: compiled with cmake and g++, for the processor at hand.
    "xlearn": Peer("xLearn 0.40a1", ("xlearn==0.40a1", "numpy==2.4.6")),
    # 3 GB with the libraries for graphics cards that its wheel does not start without.
    "torch": Peer("PyTorch 2.15.0", ("torch==2.15.0", "numpy==2.4.6")),
}
"""By the name of the worker in ``benchmarks.fm.workers``. libFM is not in the package index."""


def interpreter(peer: Peer, folder: Path) -> Path:
    """Return the Python that can import a peer; make its environment first if there is none.

    Raises
    ------
    PeerError
        If pip cannot install it, with pip's last words.
    """
    environment = folder / "-".join([*peer.name.lower().split(), _PYTHON])
    python, ready = environment / "bin" / "python", environment / ".ready"
    if ready.exists():
        return python
    print(f"installing {peer.name} into {environment}", flush=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(environment)],
        [*install, *peer.requirements],
    ):
        try:
            done = subprocess.run(  # noqa: S603 - a fixed list of arguments
                command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"{peer.name}: not installed after {INSTALL_LIMIT_S} s") from error
        if done.returncode != 0:
            words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise PeerError(f"{peer.name}: {words[-1]}")
    ready.touch()
    return python
