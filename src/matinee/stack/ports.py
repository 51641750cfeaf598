"""Loopback ports: is one free, who holds it, and which block of them can a new stack have?

Ports are drawn below the kernel's usual range for outgoing connections (32768 and up), so that a
remembered port is not lost to a passing connection.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence

import psutil

from matinee.stack.errors import NoFreePortsError

LOWEST, HIGHEST = 12_000, 22_000
GRPC_OFFSET = 10_000  # SeaweedFS listens for gRPC on each of its HTTP ports + 10,000
ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Say whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do: a closed connection in TIME_WAIT must not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def holder(port: int) -> int | None:
    """Return the pid that listens on a port, or None where the system does not tell us."""
    for connection in psutil.net_connections("tcp"):
        local = connection.laddr
        if connection.status == psutil.CONN_LISTEN and local and local.port == port:
            pid: int | None = connection.pid
            return pid
    return None


def free_block(count: int, rng: random.Random, *, grpc: Sequence[int] = ()) -> int:
    """Find `count` consecutive free ports.

    Parameters
    ----------
    count
        Length of the block.
    rng
        Where the search begins, so that two stacks starting at once rarely meet.
    grpc
        Positions in the block whose port + 10,000 must be free too.

    Returns
    -------
    int
        The first port of the block.

    Raises
    ------
    NoFreePortsError
        When no block was found in 200 attempts.
    """
    for _ in range(ATTEMPTS):
        first = rng.randrange(LOWEST, HIGHEST - count)
        wanted = [first + position for position in range(count)]
        wanted += [first + position + GRPC_OFFSET for position in grpc]
        if all(is_free(port) for port in wanted):
            return first
    raise NoFreePortsError(
        f"no block of {count} free ports between {LOWEST} and {HIGHEST} on 127.0.0.1"
        f" in {ATTEMPTS} attempts"
    )
