"""What runs on a node for one host of a job: this machine's compute, seen from there.

An actor of Ray starts the host's process (and what feeds its pipes) as ``machine.compute`` does, so
that logs, limits, time, grace and exits are what they are without a cluster. What it starts ends
with it, and it ends with its node: never does a lost host train on. It says whether it sees the
job's folder, which has to be on storage that server and nodes share.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import ray

from matinee.sagemaker.machine import compute
from matinee.sagemaker.machine.commands import Command
from matinee.sagemaker.machine.compute import Phase, Status

# Below what Linux gives to connections that ask for no port, above what services listen at.
PORTS = range(20000, 32000)


@dataclass(frozen=True, slots=True)
class Node:
    """Where an actor is.

    Attributes
    ----------
    id, address, interface
        Of the node: Ray's id, its IP address and the network interface that has it.
    mark
        What the job's mark says there; None where there is none.
    """

    id: str
    address: str
    interface: str
    mark: Any


class HostActor:
    """Runs the processes of a host on its node."""

    def __init__(self) -> None:
        # As the server: what it writes is its user's alone.
        os.umask(0o077)
        self._starting = asyncio.Lock()
        self._ends: dict[Path, asyncio.Task[Status]] = {}

    async def node(self, mark: Path) -> Node:
        """Return where this is.

        Parameters
        ----------
        mark
            A JSON file of the job's folder.
        """
        try:
            content = json.loads(mark.read_text())
        except OSError:
            content = None
        address = ray.util.get_node_ip_address()
        node = ray.get_runtime_context().get_node_id()
        return Node(node, address, interface_of(address), content)

    async def free_port(self, first: int) -> int:
        """Return a port of ``PORTS`` that nobody listens at, the first one from a number on."""
        address = ray.util.get_node_ip_address()
        for step in range(len(PORTS)):
            port = PORTS[(first + step) % len(PORTS)]
            try:
                socket.create_server((address, port)).close()
            except OSError:
                continue
            return port
        raise OSError(f"no port of {address} is free from {PORTS[0]} to {PORTS[-1]}")

    async def start(
        self, folder: Path, command: Command | Sequence[str], options: Mapping[str, Any]
    ) -> str:
        """Start a process as ``compute.start`` does, once; return why it could not, or nothing."""
        async with self._starting:
            if compute.status(folder).phase is not Phase.ABSENT:
                # A server asked for it that has died since.
                return ""
            try:
                await asyncio.to_thread(compute.start, folder, command, **options, is_bound=True)
            except compute.ComputeError as error:
                return str(error)
        return ""

    async def ended(self, folder: Path) -> Status:
        """Return how the process of a folder has ended, when it has, or that there is none."""
        async with self._starting:
            if (status := compute.status(folder)).phase is Phase.ABSENT:
                return status
        if folder not in self._ends:
            self._ends[folder] = asyncio.create_task(_ended(folder))
        # Whoever asks may go away; another server asks again.
        return await asyncio.shield(self._ends[folder])

    async def stop(self, folder: Path) -> None:
        """Ask the process of a folder to end; it has its grace to do so."""
        compute.stop(folder)


async def _ended(folder: Path) -> Status:
    while (status := await asyncio.to_thread(compute.wait, folder, 1.0)).phase is Phase.RUNNING:
        pass
    return status


def interface_of(address: str) -> str:
    """Return the name of the network interface that has an address."""
    if ip_address(address).is_loopback:
        return "lo"
    for name, found in psutil.net_if_addrs().items():
        if any(item.address == address for item in found):
            return name
    # The address is another machine's way to this one; so SageMaker's containers call theirs.
    return "eth0"
