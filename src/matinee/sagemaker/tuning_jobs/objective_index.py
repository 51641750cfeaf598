"""Trials in the order of their objectives, for lists that do not read every trial for a page.

An entry is a resource whose name begins with the objective as text that sorts as numbers do. The
tuning job's driver adds it when it sees a trial's end, and on taking a job up those that are
missing. An entry says nothing that the training job does not say.
"""

from __future__ import annotations

import contextlib
import struct

from matinee.sagemaker.store import Resource, ResourceExists, Store

KIND = "TrialObjective"
_SIGN = 1 << 63
_ALL = (1 << 64) - 1


def sortable(value: float) -> str:
    """Return a finite number as text of fixed width that sorts as the number does."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))
    return f"{bits ^ _ALL if bits & _SIGN else bits | _SIGN:016x}"


def add(store: Store, child: Resource, value: float) -> None:
    """Take up a trial that has ended; one that is there already stays."""
    folder = child.private["tuning_job"]
    entry = Resource(
        KIND,
        f"{sortable(value)}/{child.name}",
        f"{child.arn}#{KIND}",
        child.status,
        child.created,
        child.modified,
        {},
        {"training_job": child.name, "tuning_job": folder},
        parent=folder,
    )
    with contextlib.suppress(ResourceExists):
        store.insert(entry)


def forget(store: Store, folder: str) -> None:
    """Drop the entries of a tuning job that is deleted.

    Parameters
    ----------
    store
        Where they are.
    folder
        Of the tuning job.
    """
    for entry in store.find(KIND, parent=folder):
        store.delete(KIND, entry.name)


def known(store: Store, folder: str) -> set[str]:
    """Return the names of a tuning job's training jobs that have an entry.

    Parameters
    ----------
    store
        Where they are.
    folder
        Of the tuning job.
    """
    return {entry.private["training_job"] for entry in store.find(KIND, parent=folder)}
