"""Names, groups and addresses of a training job's hosts."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from hypothesis import given
from hypothesis import strategies as st

from matinee.sagemaker.machine import hosts

GROUPS = {
    "InstanceGroups": [
        {"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1},
        {"InstanceGroupName": "b", "InstanceType": "ml.c5.xlarge", "InstanceCount": 2},
    ]
}
ALL = [f"algo-{number}" for number in range(1, hosts.MAX_HOSTS + 1)]


def test_hosts_are_numbered_through_the_groups() -> None:
    assert hosts.names({"InstanceType": "ml.m5.large", "InstanceCount": 2}) == ["algo-1", "algo-2"]
    assert hosts.names(GROUPS) == ["algo-1", "algo-2", "algo-3"]
    assert hosts.receivers(GROUPS, ["b"]) == ["algo-2", "algo-3"]
    assert hosts.receivers(GROUPS, []) == hosts.names(GROUPS)


@given(st.text(max_size=40))
def test_every_host_has_a_loopback_address_of_its_own(job: str) -> None:
    found = hosts.addresses(job, ALL)
    addresses = [IPv4Address(address) for address in found.values()]
    assert list(found) == ALL
    assert len(set(addresses)) == len(ALL)
    assert all(address in IPv4Network("127.0.0.0/8") for address in addresses)
    assert IPv4Address("127.0.0.1") not in addresses
    assert IPv4Address("127.255.255.255") not in addresses
    assert hosts.addresses(job, ALL) == found


def test_jobs_do_not_share_addresses() -> None:
    found = [hosts.addresses(str(job), ALL) for job in range(100)]
    assert len({address for one in found for address in one.values()}) == 100 * len(ALL)
