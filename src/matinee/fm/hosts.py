"""What training needs of a job's other hosts: to bring numbers together and to hand them out.

All hosts make the same calls in the same order. The first one adds up, in the order of the hosts,
so that results do not depend on which message arrives first. How messages travel is the caller's:
``matinee.fm`` itself knows no network.
"""

import json
from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Message: TypeAlias = "bytes | bytearray | memoryview"

# Of a host's short answers, such as how many records it has.
_MOST_JSON = 1 << 20


class HostsError(RuntimeError):
    """Another host of the job was lost, or sent what no host of the job would send."""


class Hosts(Protocol):
    """The hosts of a training job, as one of them sees them."""

    @property
    def rank(self) -> int:
        """This host's place, counted from 0."""

    @property
    def count(self) -> int:
        """How many there are."""

    def collect(self, message: Message, limit: int) -> Iterable[memoryview]:
        """Bring each host's message of at most ``limit`` bytes to the first host.

        Returns
        -------
        iterable of memoryview
            At the first host the others' messages by rank, each valid until the next is asked for;
            elsewhere nothing.

        Raises
        ------
        HostsError
            If a host is lost or has failed.
        """

    def spread(self, message: Message, limit: int) -> memoryview:
        """Bring the first host's message of at most ``limit`` bytes to every host.

        Returns
        -------
        memoryview
            That message, valid until the next call.

        Raises
        ------
        HostsError
            If a host is lost or has failed.
        """


def gather(hosts: Hosts, mine: Any) -> list[Any]:
    """Return what each host has given, by rank; anything that JSON can say, below a megabyte.

    Raises
    ------
    HostsError
        If a host is lost, has failed or sent something else.
    """
    own = json.dumps(mine).encode()
    others = [bytes(message) for message in hosts.collect(own, _MOST_JSON)]
    whole = b"[" + b",".join([own, *others]) + b"]"
    whole = bytes(hosts.spread(whole, hosts.count * _MOST_JSON))
    try:
        given = json.loads(whole)
    except ValueError as error:
        raise HostsError(f"a host sent {whole[:100]!r}, which isn't JSON: {error}") from error
    if not isinstance(given, list) or len(given) != hosts.count:
        raise HostsError(f"{hosts.count} hosts sent {whole[:100]!r}")
    return given


def added_up(hosts: Hosts | None, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of each host's numbers; without other hosts, the numbers.

    Parameters
    ----------
    hosts
        Of the job; None for one alone.
    numbers
        float64 (n,), as many on every host.

    Raises
    ------
    HostsError
        If a host is lost, has failed or sent another count of numbers.
    """
    if hosts is None:
        return numbers
    total = numbers.copy()
    for message in hosts.collect(numbers.tobytes(), numbers.nbytes):
        if message.nbytes != numbers.nbytes:
            raise HostsError(f"a host sent {message.nbytes} bytes, not {numbers.nbytes}")
        total += np.frombuffer(message, dtype=np.float64)
    spread = hosts.spread(total.tobytes(), total.nbytes)
    return np.frombuffer(bytes(spread), dtype=np.float64)
