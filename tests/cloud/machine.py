"""A folder that is a machine: what the install script calls of it, in as few words as do it.

The script itself, the wheel, pip, Airflow, its services' commands and settings are the real ones.
In place of Amazon Linux stand: programs that need root and are not run (`dnf`, `useradd`, `chown`),
`aws s3 cp` by boto3, certificates of nobody, and a `systemctl` that starts the commands of units.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

_NOTHING = "exit 0"
_PROGRAMS = {
    "dnf": _NOTHING,
    "useradd": _NOTHING,
    "chown": _NOTHING,
    "id": _NOTHING,
    "install": 'exec mkdir -p "${@: -2}"',
    "curl": 'while [ "$1" != --output ]; do shift; done; : >"$2"',
    "python3.12": f'exec "{sys.executable}" "$@"',
    "aws": f'exec "{sys.executable}" -m tests.cloud.copy "$@"',
    "systemctl": f'exec "{sys.executable}" -m tests.cloud.systemd "$@"',
}


@dataclass(frozen=True)
class Machine:
    """The folder, with its programs."""

    root: Path

    def set_up(self) -> None:
        """Write the programs."""
        for name, line in _PROGRAMS.items():
            self._program(self.root / "bin" / name, line)
        self._program(self.root / "opt/aws/bin/cfn-signal", f'echo "$*" >>"{self.root}/signals"')
        # It takes `file:PATH`, and nothing but JSON.
        agent = self.root / "opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
        self._program(
            agent, f'last="${{@: -1}}"; exec "{sys.executable}" -m json.tool "${{last#file:}}"'
        )

    @property
    def environment(self) -> dict[str, str]:
        """What the script runs in, besides the clients' variables."""
        here = Path(__file__).parents[2]
        return {
            "HOME": str(self.root),
            "MATINEE_ROOT": str(self.root),
            "PATH": f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(here),
        }

    @property
    def signals(self) -> list[str]:
        """What the stack was told."""
        path = self.root / "signals"
        return path.read_text().splitlines() if path.exists() else []

    def stop(self) -> None:
        """End the services, each with all its processes."""
        for path in (self.root / "run").glob("*.pid"):
            group = int(path.read_text())
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(group, number)
                except ProcessLookupError:
                    break

    @staticmethod
    def _program(path: Path, line: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{line}\n")
        path.chmod(0o755)
