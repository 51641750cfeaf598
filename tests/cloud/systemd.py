"""`systemctl`, as far as the install script uses it: the commands of units become processes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path


def settings_of(path: Path) -> dict[str, str]:
    """Read a unit's settings; a repeated one keeps its last value."""
    lines = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name: value for name, _, value in lines}


def environment_of(path: Path) -> dict[str, str]:
    """Read an EnvironmentFile: NAME="VALUE" a line, quoted as a shell quotes."""
    words = (shlex.split(line)[0].partition("=") for line in path.read_text().splitlines())
    return {name: value for name, _, value in words}


def start(root: Path, unit: str) -> None:
    """Start a service: to its end if it is one that ends."""
    settings = settings_of(root / "etc/systemd/system" / unit)
    # Nothing of the script's own: a service has what its unit and its settings say.
    kept = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(root / "var/lib/matinee"),
        **kept,
        **environment_of(Path(settings["EnvironmentFile"])),
    }
    log = Path(settings["StandardOutput"].removeprefix("append:"))
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - a unit file of our own
            shlex.split(settings["ExecStart"]),
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    if settings.get("Type") == "oneshot":
        if code := process.wait():
            sys.exit(code)
        return
    (root / "run").mkdir(exist_ok=True)
    (root / "run" / f"{unit}.pid").write_text(str(process.pid))


def main(arguments: list[str], root: Path) -> None:
    """Run one command of the script's."""
    match arguments:
        case ["daemon-reload"]:
            pass
        case ["start", unit]:
            start(root, unit)
        case ["enable", "--now", target]:
            for unit in settings_of(root / "etc/systemd/system" / target)["Wants"].split():
                start(root, unit)
        case _:
            sys.exit(f"systemctl {' '.join(arguments)}: not a command that the script may use")


if __name__ == "__main__":
    main(sys.argv[1:], Path(os.environ["MATINEE_ROOT"]))
