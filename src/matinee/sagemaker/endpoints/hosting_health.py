"""How the instances of an endpoint have been: pings they missed, and failures of their places.

An instance that misses several pings in a row is given up. The place of one that failed is filled
again at once the first time, then after pauses that double. Nothing here outlives the server.
"""

from __future__ import annotations

import time

from matinee.sagemaker.endpoints import hosting_instances as instances
from matinee.sagemaker.endpoints.hosting_instances import Slot
from matinee.sagemaker.store import Resource

UNHEALTHY_PINGS = 6
_PING_EVERY_SECONDS = 5.0
_FIRST_BACK_OFF_SECONDS = 0.5
_LONGEST_BACK_OFF_SECONDS = 60.0


class Health:
    """The health of one endpoint's instances."""

    def __init__(self) -> None:
        # Of each instance, when it was last pinged and how many in a row it missed.
        self._pings: dict[str, tuple[float, int]] = {}
        # Of each place, how often it failed and when it may be filled again.
        self._failures: dict[Slot, tuple[int, float]] = {}

    def answers_pings(self, record: Resource) -> bool:
        """Return whether a healthy instance still is, as far as is known; ping it now and then."""
        now = time.monotonic()
        last, missed = self._pings.get(record.name, (now, 0))
        if now - last >= _PING_EVERY_SECONDS:
            last, missed = now, 0 if instances.is_healthy(record) else missed + 1
        self._pings[record.name] = last, missed
        return missed < UNHEALTHY_PINGS

    def forget(self, record: Resource) -> None:
        """Drop what is known of an instance that is no more."""
        self._pings.pop(record.name, None)

    def may_start(self, slot: Slot) -> bool:
        """Return whether a place may have a new instance now."""
        return time.monotonic() >= self._failures.get(slot, (0, 0.0))[1]

    def note_failure(self, slot: Slot) -> float:
        """Take down that the instance of a place failed; return the pause before the next one."""
        count = self._failures.get(slot, (0, 0.0))[0]
        longer = min(_FIRST_BACK_OFF_SECONDS * 2**count, _LONGEST_BACK_OFF_SECONDS)
        pause = longer if count else 0.0
        self._failures[slot] = count + 1, time.monotonic() + pause
        return pause

    def note_success(self, slot: Slot) -> None:
        """Take down that the instance of a place became healthy."""
        self._failures.pop(slot, None)

    def forget_failures(self) -> None:
        """Begin anew with a new deployment."""
        self._failures.clear()
