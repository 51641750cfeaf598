"""The one key pair of an installation: every client signs with it, both servers check it."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Credentials:
    """An AWS-style access key; `repr` hides the secret."""

    access_key_id: str
    secret_access_key: str

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r}, secret_access_key='***')"

    @classmethod
    def generate(cls) -> Self:
        """Draw a new key pair from the system's entropy."""
        return cls("MATINEE" + secrets.token_hex(6).upper(), secrets.token_urlsafe(30))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the key pair that `write` left."""
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        """Write the key pair as JSON, readable by its owner only."""
        write_private(path, json.dumps(asdict(self)))


def write_private(path: Path, text: str) -> None:
    """Write a whole file that nobody else may read (mode 600), in one step."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
