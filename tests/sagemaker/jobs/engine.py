"""What the tests have in the place of docker: its command line, with a program for a container.

It runs what follows the image by this interpreter, with the container's own environment, and with
the volume in the place of ``/opt/ml`` as ``SAGEMAKER_BASE_DIR``. It shows what is said to an
engine, not what an engine does.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def run(words: list[str]) -> int:
    options = dict(
        word.removeprefix("--").partition("=")[::2] for word in words if word[:2] == "--"
    )
    arguments = [word for word in words if word[:2] != "--"]
    base = options["volume"].removesuffix(":/opt/ml")
    lines = Path(options["env-file"]).read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines)
    print(json.dumps({"options": options, "arguments": arguments, "environment": environment}))
    if "publish" in options:
        # There is no network of its own to publish from.
        address, port, _ = options["publish"].split(":")
        environment |= {"MATINEE_BIND_HOST": address, "SAGEMAKER_BIND_TO_PORT": port}
    program = Path(__file__).with_name("algorithm.py")
    if "entrypoint" in options:
        command = [options["entrypoint"], *arguments[1:]]
    else:
        command = [sys.executable, str(program), *arguments[1:]]
    sys.stdout.flush()
    os.execve(command[0], command, {**environment, "SAGEMAKER_BASE_DIR": base})  # noqa: S606


if __name__ == "__main__":
    if sys.argv[1] == "run":
        sys.exit(run(sys.argv[2:]))
