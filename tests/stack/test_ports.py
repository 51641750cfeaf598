"""Loopback ports: free or not, and whose."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

import pytest

from matinee.stack import ports
from matinee.stack.errors import NoFreePortsError


@pytest.fixture
def listener() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_listened_on_is_not_free(listener: int) -> None:
    assert not ports.is_free(listener)
    assert ports.holder(listener) == os.getpid()


def test_a_port_listened_on_at_every_address_is_not_free() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 -- a stranger's way
        assert not ports.is_free(server.getsockname()[1])


def test_a_port_is_free_again_once_its_connections_linger_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    assert ports.is_free(port)
    assert ports.holder(port) is None


class Scripted(random.Random):
    """Proposes the ports that it was told, the last one for ever."""

    def __init__(self, *proposals: int) -> None:
        super().__init__(0)
        self.proposals = list(proposals)

    def randrange(self, *_: object, **__: object) -> int:
        return self.proposals.pop(0) if len(self.proposals) > 1 else self.proposals[0]


def test_a_block_is_free_with_its_grpc_ports() -> None:
    first = ports.free_block(3, random.SystemRandom(), grpc=[0, 2])
    wanted = [first, first + 1, first + 2, first + 10_000, first + 10_002]
    assert all(ports.is_free(port) for port in wanted)


def test_a_block_with_a_taken_port_is_passed_over() -> None:
    first = ports.free_block(4, random.SystemRandom())
    with socket.create_server(("127.0.0.1", first + 1)):
        assert ports.free_block(2, Scripted(first, first + 1, first + 2)) == first + 2


def test_a_block_whose_grpc_port_is_taken_is_passed_over() -> None:
    first = ports.free_block(2, random.SystemRandom(), grpc=[0, 1])
    with socket.create_server(("127.0.0.1", first + ports.GRPC_OFFSET)):
        assert ports.free_block(1, Scripted(first, first + 1), grpc=[0]) == first + 1


def test_no_block_to_be_found_is_an_error(listener: int) -> None:
    with pytest.raises(NoFreePortsError, match="no block of 1 free ports between 12000 and"):
        ports.free_block(1, Scripted(listener))
