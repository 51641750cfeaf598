"""Hosts find each other, keep others out, and name the one that is missing."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from matinee.fm.container.network import PORT, Network, join
from matinee.fm.hosts import HostsError, gather
from tests.fm.cluster import addresses, environment, on_hosts


def test_every_host_knows_its_place() -> None:
    assert on_hosts(3, lambda hosts: (hosts.rank, hosts.count)) == [(0, 3), (1, 3), (2, 3)]


def test_a_host_that_does_not_come_is_named_everywhere() -> None:
    hosts = addresses(3)
    assert outcomes(hosts, ["algo-1", "algo-2"], print, within=1) == [
        "hosts ['algo-3'] haven't come in time",
        "host 'algo-1' has failed: AlgorithmError: hosts ['algo-3'] haven't come in time",
    ]


def test_a_first_host_that_does_not_come_is_named() -> None:
    hosts = addresses(2)
    with pytest.raises(HostsError, match=r"host 'algo-1' hasn't come in time: 127.*refused"):
        join("algo-2", list(hosts), environment(hosts), str, within=0.2)


def test_a_stranger_changes_nothing() -> None:
    hosts = addresses(2)
    given = environment(hosts)

    def run(host: str) -> list[str]:
        with join(host, list(hosts), given, str, within=60) as network:
            return gather(network, host)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(run, "algo-1")
        wrong = environment(hosts, secret="another")
        with pytest.raises(HostsError, match="host 'algo-1' did not let this host in"):
            join("algo-2", list(hosts), wrong, str, within=60)
        with socket.create_connection((hosts["algo-1"], PORT)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\nHost: me\r\n\r\n")
        second = threads.submit(run, "algo-2")
        assert first.result() == second.result() == ["algo-1", "algo-2"]


def test_why_a_host_fails_reaches_all_others() -> None:
    def work(hosts: Network) -> None:
        if hosts.rank == 2:
            raise LookupError("a reason")
        gather(hosts, 0)

    hosts = addresses(3)
    told = "host 'algo-3' has failed: a reason"
    assert outcomes(hosts, list(hosts), work) == [told, told, "a reason"]


def outcomes(
    hosts: dict[str, str], starting: list[str], work: Callable[[Network], None], within: float = 60
) -> list[str]:
    """Start some hosts of a job; return why each fails."""

    def run(host: str) -> str:
        try:
            with join(host, list(hosts), environment(hosts), str, within) as network:
                work(network)
                network.spread(b"", 1)
        except (HostsError, LookupError) as error:
            return str(error)
        return "it has not failed"

    with ThreadPoolExecutor(len(starting)) as threads:
        return list(threads.map(run, starting))


def test_hosts_that_share_an_address_with_others_meet_at_their_own_port() -> None:
    hosts = dict.fromkeys(["algo-1", "algo-2"], next(iter(addresses(1).values())))
    ports = ["18520", "18521"]

    def run(port: str, host: str) -> list[str]:
        given = {**environment(hosts, secret=port), "MATINEE_PORT": port}
        with join(host, list(hosts), given, str, within=60) as network:
            return gather(network, f"{host} at {port}")

    with ThreadPoolExecutor(4) as threads:
        met = [threads.submit(run, port, host) for host in hosts for port in ports]
        assert [job.result() for job in met[:2]] == [
            [f"algo-1 at {port}", f"algo-2 at {port}"] for port in ports
        ]


@pytest.mark.parametrize("given", ["", "0", "65536", "-1", "http"])
def test_a_port_is_a_number(given: str) -> None:
    with pytest.raises(ValueError, match="MATINEE_PORT must be a port"):
        join("algo-1", ["algo-1", "algo-2"], {"MATINEE_PORT": given}, str)


@pytest.mark.parametrize("given", ["{", "[]", '{"algo-1": "127.0.0.1"}', '{"algo-1": 1}'])
def test_addresses_are_those_of_all_hosts(given: str) -> None:
    with pytest.raises(ValueError, match="MATINEE_HOSTS"):
        join("algo-1", ["algo-1", "algo-2"], {"MATINEE_HOSTS": given}, str)
