"""What is run for a job: words to start a program with, and what holds for its process.

A command either starts a program of this machine or a container of an image, through a container
engine (``engines.py``). It knows nothing of jobs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from matinee.sagemaker.machine import limits
from matinee.sagemaker.machine.limits import Limits

NOTHING: Mapping[str, str] = MappingProxyType({})
# Of this server's environment, what any program of this machine needs: nothing else of it is told.
INHERITED = frozenset(
    {
        "HOME",
        "LANG",
        "LC_ALL",
        "LD_LIBRARY_PATH",
        "MATINEE_KERNEL_CACHE",
        "PATH",
        "PYTHONPATH",
        "TMPDIR",
        "TZ",
        "XDG_CACHE_HOME",
    }
)
# The folder that is /opt/ml.
BASE_DIRECTORY = "SAGEMAKER_BASE_DIR"
# A folder of this machine where training jobs on the same data, such as the trials of a tuning job,
# may share what they make of it.
DATA_CACHE = "MATINEE_DATA_CACHE"


@dataclass(frozen=True, slots=True)
class Command:
    """How a program is run; false where there is nothing to run.

    Attributes
    ----------
    words
        The program and its arguments; of an image, the arguments.
    limits
        What its process may use.
    image
        The image whose container is run; empty: a program of this machine.
    entrypoint
        What is run in the container instead of the image's own entrypoint.
    in_place
        Whether a program of this machine finds its folder at ``/opt/ml`` itself, where this machine
        can do that (``isolation.py``).
    search_path
        A folder whose programs are found before others by their bare name.
    environment
        What it needs besides what a job gives it.
    """

    words: tuple[str, ...] = ()
    limits: Limits = limits.NONE
    image: str = ""
    entrypoint: tuple[str, ...] = ()
    in_place: bool = False
    search_path: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: NOTHING)

    def __bool__(self) -> bool:
        return bool(self.words or self.image)

    def with_arguments(self, arguments: Sequence[str]) -> Command:
        """Return the command with a job's own arguments.

        They follow a program's words, and take the place of those an image is run with.
        """
        if not arguments:
            return self
        kept = () if self.image else self.words
        return dataclasses.replace(self, words=(*kept, *arguments))

    def running(self, entrypoint: Sequence[str], arguments: Sequence[str]) -> Command:
        """Return the command that runs a job's own entrypoint where this one would run."""
        if self.image:
            return dataclasses.replace(self, entrypoint=tuple(entrypoint), words=tuple(arguments))
        return dataclasses.replace(self, words=(*entrypoint, *arguments))


# There is nothing to run.
NONE = Command()
