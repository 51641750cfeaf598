"""The hosts of a job: their names, groups and addresses, and what they are told of them.

SageMaker's containers know each other as ``algo-1``, ``algo-2`` and so on. Where all are processes
of this machine each has a loopback address of its own, in a block that belongs to its job, so that
two jobs may listen on the same port at the same time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

# AWS's default quota of instances in one training job.
MAX_HOSTS = 20
# SageMaker's own name for all the instances of a job without groups.
ONLY_GROUP = "homogeneousCluster"

_LOOPBACK = int(IPv4Address("127.0.0.0"))
# Room for MAX_HOSTS and some to spare.
_BLOCK = 32
_BLOCKS = (1 << 24) // _BLOCK


def groups(resources: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the instance groups of a ResourceConfig as ``resourceconfig.json`` lists them."""
    wanted = resources.get("InstanceGroups") or [
        {
            "InstanceGroupName": ONLY_GROUP,
            "InstanceType": resources["InstanceType"],
            "InstanceCount": resources["InstanceCount"],
        }
    ]
    found = []
    first = 1
    for group in wanted:
        found.append(
            {
                "instance_group_name": group["InstanceGroupName"],
                "instance_type": group["InstanceType"],
                "hosts": numbered(first, group["InstanceCount"]),
            }
        )
        first += group["InstanceCount"]
    return found


def numbered(first: int, count: int) -> list[str]:
    """Return the names of so many hosts, from a number on."""
    return [f"algo-{number}" for number in range(first, first + count)]


def names(resources: Mapping[str, Any]) -> list[str]:
    """Return the names of a job's hosts."""
    return [host for group in groups(resources) for host in group["hosts"]]


def receivers(resources: Mapping[str, Any], group_names: Sequence[str]) -> list[str]:
    """Return the hosts of some instance groups; of all where none is named."""
    return [
        host
        for group in groups(resources)
        if not group_names or group["instance_group_name"] in group_names
        for host in group["hosts"]
    ]


def addresses(job_id: str, host_names: Sequence[str]) -> dict[str, str]:
    """Return the address of each host, the same ones for the same job.

    Parameters
    ----------
    job_id
        What tells the job from all others.
    host_names
        At most ``MAX_HOSTS``.
    """
    digest = hashlib.sha256(job_id.encode()).digest()
    # The first block has the addresses everybody uses, the last one the broadcast address.
    block = 1 + int.from_bytes(digest[:8]) % (_BLOCKS - 2)
    first = _LOOPBACK + block * _BLOCK
    return {name: str(IPv4Address(first + n)) for n, name in enumerate(host_names, 1)}


def resource_configuration(
    resources: Mapping[str, Any], host: str, interface: str
) -> dict[str, Any]:
    """Return what a host finds in ``resourceconfig.json``.

    Parameters
    ----------
    resources
        The job's ResourceConfig.
    host
        Its name.
    interface
        The network interface of its address.
    """
    all_groups = groups(resources)
    own = next(group for group in all_groups if host in group["hosts"])
    return {
        "current_host": host,
        "current_instance_type": own["instance_type"],
        "current_group_name": own["instance_group_name"],
        "hosts": names(resources),
        "instance_groups": all_groups,
        "network_interface_name": interface,
    }
