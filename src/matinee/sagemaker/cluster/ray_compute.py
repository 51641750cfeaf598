"""Jobs' hosts on the nodes of a Ray cluster: an actor a host, a placement group a job.

A job's hosts get room together or not at all, on different nodes where there is room. Ray's own
records do not outlive its head, so what a later server needs stands in the job's folder: the group
of its actors in ``placement.json``, the actor of each process in ``actor.json`` beside it. Actors
are detached: they outlive this server, and the next one finds them by name. A process whose actor
or node is gone, without having left an exit, is lost.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError
from ray.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from matinee.sagemaker.cluster.connection import NAMESPACE
from matinee.sagemaker.cluster.host_actor import HostActor, Node
from matinee.sagemaker.machine import compute, host
from matinee.sagemaker.machine.commands import NOTHING, Command
from matinee.sagemaker.machine.compute import ComputeError, Phase, Placement, Status
from matinee.sagemaker.machine.interface import PLACEMENT, LostPlaceError, NoCapacityError

log = logging.getLogger(__name__)

_ACTOR = "actor.json"
# Looked at between two waits for room; and how long an actor may take to answer.
_ROOM_SECONDS, _ANSWER_SECONDS = 1.0, 120.0
_PAUSE_SECONDS = 0.2


class RayCompute:
    """The hosts of jobs as actors of a cluster that this process is connected with.

    A process that runs on this machine, because a server without a cluster started it, is looked
    after here as well.

    Parameters
    ----------
    cpus
        Of the cluster's CPUs, those of one host.
    patience
        How long a job may wait for room.
    clock
        The present as an aware UTC datetime.
    new_id
        A fresh id.
    """

    LOSS_RETRIES = 1

    def __init__(
        self,
        *,
        cpus: float,
        patience: timedelta,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._cpus = cpus
        self._patience = patience
        self._clock = clock
        self._new_id = new_id
        self._actor_class = ray.remote(HostActor)
        # By folder of a process: the answer that its actor gives when it has ended.
        self._ends: dict[Path, Any] = {}

    def place(self, folder: Path, host_names: Sequence[str]) -> Placement | None:
        """See ``interface.Compute``."""
        record = host.read_whole(folder / PLACEMENT)
        if record is None:
            if any((folder / name / host.PROCESS).exists() for name in host_names):
                return compute.place(folder, host_names)
            record = {
                "group": f"{folder.name}-{self._new_id()}",
                "since": self._clock().timestamp(),
                "hosts": list(host_names),
            }
            folder.mkdir(parents=True, exist_ok=True)
            # Before there is such a group: it is known from now on, and given up in any case.
            host.write_whole(folder / PLACEMENT, record)
        if "nodes" not in record:
            nodes = self._nodes(folder, record)
            if nodes is None:
                return None
            record |= nodes
            host.write_whole(folder / PLACEMENT, record)
        addresses = {name: node["address"] for name, node in record["nodes"].items()}
        log.debug("the hosts of %s are at %s", folder.name, addresses)
        return Placement(
            addresses,
            {name: node["interface"] for name, node in record["nodes"].items()},
            record["port"],
        )

    def _nodes(self, folder: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return where a job's hosts are, when there is room for all of them."""
        names: list[str] = record["hosts"]
        try:
            group = _group(record["group"]) or placement_group(
                [{"CPU": self._cpus}] * len(names),
                strategy="SPREAD",
                name=record["group"],
                lifetime="detached",
            )
            if not group.wait(_ROOM_SECONDS):
                self._lose_patience(record)
                return None
            actors = [
                self._actor(group, index, _actor_name(record, name))
                for index, name in enumerate(names)
            ]
            mark = folder / PLACEMENT
            found: list[Node] = _answers([actor.node.remote(mark) for actor in actors])
            first = zlib.crc32(record["group"].encode())
            (port,) = _answers([actors[0].free_port.remote(first)])
        except RayError as error:
            raise LostPlaceError(f"the cluster has lost a host's place: {_brief(error)}") from error
        for node in found:
            if node.mark != record:
                raise ComputeError(
                    f"node {node.address} of the cluster does not see {mark}: the server's state "
                    "folder must be on storage that all nodes have at the same path"
                )
        where = {
            name: {"id": node.id, "address": node.address, "interface": node.interface}
            for name, node in zip(names, found, strict=True)
        }
        return {"nodes": where, "port": port}

    def _lose_patience(self, record: Mapping[str, Any]) -> None:
        waited = self._clock().timestamp() - record["since"]
        if waited < self._patience.total_seconds():
            return
        sizes = [f"{node['Resources'].get('CPU', 0):g}" for node in ray.nodes() if node["Alive"]]
        raise NoCapacityError(
            "Unable to provision requested ML compute capacity: the cluster, whose nodes have "
            f"{', '.join(sizes)} CPUs, had no room for {len(record['hosts'])} hosts of "
            f"{self._cpus:g} CPUs each within {waited:.0f} s"
        )

    def _actor(self, group: PlacementGroup, index: int, name: str) -> Any:
        return self._actor_class.options(
            name=name,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=self._cpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, index),
        ).remote()

    def release(self, folder: Path) -> None:
        """See ``interface.Compute``."""
        record = host.read_whole(folder / PLACEMENT)
        if record is None:
            return
        try:
            if (group := _group(record["group"])) is not None:
                # Its actors end with it.
                remove_placement_group(group)
        except RayError as error:
            log.warning("the cluster did not give up the places of %s: %s", folder, _brief(error))
        for name in record["hosts"]:
            (folder / name / _ACTOR).unlink(missing_ok=True)
        for process in [path for path in self._ends if path.is_relative_to(folder)]:
            self._ends.pop(process, None)
        (folder / PLACEMENT).unlink()

    def start(
        self,
        folder: Path,
        command: Command | Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        limit_seconds: float | None,
        grace_seconds: float,
        addresses: Mapping[str, str] = NOTHING,
        has_network: bool = True,
        beside: Path | None = None,
    ) -> None:
        """See ``interface.Compute``."""
        options: dict[str, Any] = {
            "directory": directory,
            "environment": dict(environment),
            "limit_seconds": limit_seconds,
            "grace_seconds": grace_seconds,
            "addresses": dict(addresses),
            "has_network": has_network,
        }
        place = folder if beside is None else beside
        record = host.read_whole(place.parent / PLACEMENT)
        if record is None:
            compute.start(folder, command, **options)
            return
        node = record["nodes"][place.name]
        known = {"actor": _actor_name(record, place.name), **node}
        folder.mkdir(parents=True, exist_ok=True)
        host.write_whole(folder / _ACTOR, known)
        try:
            said = _started(known["actor"], folder, command, options)
        except (RayError, ValueError) as error:
            raise LostPlaceError(_loss(known, error)) from error
        if said:
            raise ComputeError(f"node {node['address']} of the cluster: {said}")

    def status(self, folder: Path) -> Status:
        """See ``interface.Compute``."""
        return self.wait(folder, 0.0)

    def wait(self, folder: Path, seconds: float) -> Status:
        """See ``interface.Compute``."""
        known = host.read_whole(folder / _ACTOR)
        if known is None:
            return compute.wait(folder, seconds)
        # An exit says everything, whatever has become of the actor.
        if (status := compute.status(folder)).phase is Phase.EXITED:
            return status
        try:
            return self._answered(folder, known, seconds)
        except (RayActorError, ValueError) as error:
            self._ends.pop(folder, None)
            if (status := compute.status(folder)).phase is Phase.EXITED:
                return status
            return Status(Phase.LOST, detail=_loss(known, error))

    def _answered(self, folder: Path, known: Mapping[str, Any], seconds: float) -> Status:
        """Return what the actor of a process says of it, within a number of seconds."""
        if folder not in self._ends:
            actor = ray.get_actor(known["actor"], NAMESPACE)
            self._ends[folder] = actor.ended.remote(folder)
        end = self._ends[folder]
        if not ray.wait([end], timeout=seconds)[0]:
            return Status(Phase.RUNNING)
        try:
            status: Status = ray.get(end)
        except ActorUnavailableError:
            # It cannot be reached for the moment, or its end is not known yet.
            self._ends.pop(folder, None)
            time.sleep(min(seconds, _PAUSE_SECONDS))
            return Status(Phase.RUNNING)
        if status.phase is Phase.ABSENT:
            self._ends.pop(folder, None)
        if status.phase is not Phase.EXITED:
            return status
        # Storage may show the exit late, and what was written before it no later.
        if (shown := compute.status(folder)).phase is Phase.EXITED:
            return shown
        time.sleep(min(seconds, _PAUSE_SECONDS))
        return Status(Phase.RUNNING)

    def stop(self, folder: Path) -> None:
        """See ``interface.Compute``."""
        known = host.read_whole(folder / _ACTOR)
        if known is None:
            compute.stop(folder)
            return
        try:
            ray.get_actor(known["actor"], NAMESPACE).stop.remote(folder)
        except (RayError, ValueError) as error:
            log.info("nothing of %s is there to stop: %s", folder, _brief(error))


def _group(name: str) -> PlacementGroup | None:
    try:
        return get_placement_group(name)
    except ValueError:
        return None


def _actor_name(record: Mapping[str, Any], host_name: str) -> str:
    return f"{record['group']}-{host_name}"


def _answers(asked: Sequence[Any]) -> list[Any]:
    found: list[Any] = ray.get(list(asked), timeout=_ANSWER_SECONDS)
    return found


def _started(
    actor: str, folder: Path, command: Command | Sequence[str], options: Mapping[str, Any]
) -> str:
    """Have an actor start a process; return why it could not, or nothing."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        try:
            (said,) = _answers(
                [ray.get_actor(actor, NAMESPACE).start.remote(folder, command, options)]
            )
        except ActorUnavailableError:
            # It cannot be reached for the moment, or its end is not known yet. It starts a process
            # once, however often it is asked.
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return str(said)


def _loss(known: Mapping[str, Any], error: Exception) -> str:
    """Return why a process is lost."""
    address = known["address"]
    if not any(node["NodeID"] == known["id"] and node["Alive"] for node in ray.nodes()):
        return f"the node {address} of the cluster was lost"
    return f"it was ended on the node {address} by the cluster: {_brief(error)}"


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
