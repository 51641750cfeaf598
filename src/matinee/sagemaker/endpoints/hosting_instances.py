"""One instance of an endpoint's variant: its record in the store, its folder, its processes.

An instance has a process for each container of its model; each has a folder of its own below the
endpoint's, so that it outlives this server and is found again by the next one. Its record and its
logs stay when it is gone, as CloudWatch's do. A process is started once; what died is replaced by a
new instance.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matinee.sagemaker.context import Context
from matinee.sagemaker.endpoints.hosting_traffic import Instance
from matinee.sagemaker.failures import JobFailedError
from matinee.sagemaker.machine import compute
from matinee.sagemaker.machine.compute import ComputeError, Phase
from matinee.sagemaker.model_serving import model_data, serving
from matinee.sagemaker.model_serving.model_server import ModelServer, free_port
from matinee.sagemaker.monitoring import log_events
from matinee.sagemaker.store import Resource

KIND = "EndpointInstance"
STARTING, IN_SERVICE, ENDED = "Starting", "InService", "Ended"
GROUP_PREFIX = "/aws/sagemaker/Endpoints/"

_PING_SECONDS = 2.0


class InstanceFailedError(Exception):
    """The instance cannot serve; the message is a FailureReason."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of an instance in a deployment.

    Attributes
    ----------
    deployment
        The deployment's id.
    variant
        The variant's name.
    number
        From 0.
    """

    deployment: str
    variant: str
    number: int


def slot_of(record: Resource) -> Slot:
    """Return the place an instance has."""
    private = record.private
    return Slot(private["deployment"], private["variant"], private["number"])


def living(context: Context, endpoint_arn: str) -> list[Resource]:
    """Return the records of an endpoint's instances that did not end."""
    return context.store.find(KIND, statuses=(STARTING, IN_SERVICE), parent=endpoint_arn)


def enrol(context: Context, endpoint: Resource, slot: Slot, variant: Mapping[str, Any]) -> Resource:
    """Return the record of a new instance, which is in the store before anything of it is started.

    Parameters
    ----------
    context
        The server's surroundings.
    endpoint
        Whose instance it is.
    slot
        Its place.
    variant
        The deployment's record of the variant: its containers and role.
    """
    now, name = context.clock(), context.new_id()
    record = Resource(
        KIND,
        name,
        f"{endpoint.arn}/instance/{name}",
        STARTING,
        now,
        now,
        {},
        {
            "endpoint": endpoint.name,
            "deployment": slot.deployment,
            "variant": slot.variant,
            "number": slot.number,
            "folder": f"{endpoint.private['folder']}/{name}",
            "containers": [
                {"host": container["ContainerHostname"], "port": free_port()}
                for container in variant["containers"]
            ],
        },
        endpoint.arn,
    )
    context.store.insert(record)
    return record


def start(
    context: Context, record: Resource, variant: Mapping[str, Any], check: Callable[[], None]
) -> None:
    """Start an instance; it is not healthy yet, and whoever started it ends one that fails.

    Parameters
    ----------
    context
        The server's surroundings.
    record
        What ``enrol`` returned.
    variant
        As for ``enrol``.
    check
        Called now and then; its exceptions end the start.

    Raises
    ------
    InstanceFailedError
        The model cannot be had, or a process cannot be started.
    """
    for index, container in enumerate(variant["containers"]):
        _start_container(context, record, index, container, variant["role"], check)


def _start_container(
    context: Context,
    record: Resource,
    index: int,
    container: Mapping[str, Any],
    role: str,
    check: Callable[[], None],
) -> None:
    folder = _container_folder(context, record, index)
    base = folder / "ml"
    try:
        model_data.deliver(
            context.objects_for(role), container, base / "model", scratch=folder, check=check
        )
    except model_data.ModelDataError as error:
        raise InstanceFailedError(
            f"Failed to download model data for container {container['ContainerHostname']!r} of "
            f"variant {record.private['variant']}: {error}"
        ) from error
    port = record.private["containers"][index]["port"]
    try:
        serving.start(context, folder, container, base=base, role=role, port=port)
    except (ComputeError, JobFailedError) as error:
        raise InstanceFailedError(str(error)) from error


def in_service(context: Context, record: Resource) -> Resource:
    """Note that an instance is healthy, and return its record."""
    return context.store.update(
        KIND,
        record.name,
        lambda old: dataclasses.replace(old, status=IN_SERVICE, modified=context.clock()),
    )


def is_healthy(record: Resource) -> bool:
    """Ask all containers of an instance ``/ping``."""
    return all(
        ModelServer(container["port"], _PING_SECONDS).is_healthy()
        for container in record.private["containers"]
    )


def failure(context: Context, record: Resource) -> str | None:
    """Return why an instance cannot become healthy; None while its processes run."""
    for container, folder in zip(
        record.private["containers"], _folders(context, record), strict=True
    ):
        status = compute.status(folder)
        if status.phase is Phase.RUNNING:
            continue
        events = log_events.read(folder)
        last = f" The last line of its log: {events[-1][1]}" if events else ""
        how = f"ended with exit code {status.code}" if status.phase is Phase.EXITED else "is gone"
        return (
            f"The {container['host']} container for production variant "
            f"{record.private['variant']} did not pass the ping health check. Please check "
            f"CloudWatch logs for this endpoint. Its process {how}.{last}"
        )
    return None


def end(context: Context, record: Resource) -> None:
    """Ask the processes of an instance to end, and note that it is no more.

    They have their grace; what only they needed is removed by ``clear`` when they are gone.
    """
    for folder in _folders(context, record):
        compute.stop(folder)
    context.store.update(
        KIND,
        record.name,
        lambda old: dataclasses.replace(old, status=ENDED, modified=context.clock()),
    )


def clear(context: Context, record: Resource, seconds: float) -> bool:
    """Remove all but the logs of an ended instance; return whether its processes are gone."""
    for folder in _folders(context, record):
        if compute.wait(folder, seconds).phase is Phase.RUNNING:
            return False
        shutil.rmtree(folder / "ml", ignore_errors=True)
    return True


def uncleared(context: Context, endpoint_arn: str) -> list[Resource]:
    """Return an endpoint's ended instances that still have what only they needed."""
    return [
        record
        for record in context.store.find(KIND, statuses=(ENDED,), parent=endpoint_arn)
        if any((folder / "ml").exists() for folder in _folders(context, record))
    ]


def instance_of(record: Resource) -> Instance:
    """Return an instance as requests are sent to it."""
    found = tuple((item["host"], item["port"]) for item in record.private["containers"])
    return Instance(record.name, found)


def log_groups(context: Context) -> list[str]:
    """Return the log groups of all endpoints that are or have been."""
    names = {record.private["endpoint"] for record in context.store.find(KIND)}
    return sorted(GROUP_PREFIX + name for name in names)


def log_streams(context: Context, endpoint_name: str) -> dict[str, Path]:
    """Return the log folders of an endpoint's instances by the names of their streams.

    A folder is what ``log_events.read`` takes. Endpoints that are deleted still have theirs.
    """
    found = {}
    for record in context.store.find(KIND, parent=context.arn(f"endpoint/{endpoint_name}")):
        hosts: Sequence[Mapping[str, Any]] = record.private["containers"]
        stream = f"{record.private['variant']}/i-{record.name[:17]}"
        for container, folder in zip(hosts, _folders(context, record), strict=True):
            name = stream if len(hosts) == 1 else f"{stream}/{container['host']}"
            found[name] = folder
    return found


def _folders(context: Context, record: Resource) -> list[Path]:
    count = len(record.private["containers"])
    return [_container_folder(context, record, index) for index in range(count)]


def _container_folder(context: Context, record: Resource, index: int) -> Path:
    folder: str = record.private["folder"]
    return context.folder / "endpoints" / folder / f"container-{index + 1}"
