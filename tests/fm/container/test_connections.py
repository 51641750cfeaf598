"""Connections between hosts: whole messages, and a named reason for everything else."""

import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from matinee.fm.container import connections
from matinee.fm.container.connections import Connection, FailedHostError, StrangerError
from matinee.fm.hosts import HostsError

Sockets = tuple[socket.socket, socket.socket]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """The two ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        yield near, far


def connect(
    sockets: Sockets, secret: bytes = b"secret", quiet_seconds: float = 60
) -> tuple[Connection, Connection]:
    """algo-2 with algo-1, and algo-1 with algo-2."""
    near, far = sockets
    with ThreadPoolExecutor(1) as thread:
        greeted = thread.submit(Connection.greet, near, "algo-2", "algo-1", secret, quiet_seconds)
        answered = Connection.answer(far, ["algo-2", "algo-3"], secret, quiet_seconds)
        return greeted.result(), answered


@pytest.mark.parametrize("secret", [b"secret", b""], ids=["secret", "no secret"])
def test_messages_arrive_whole_and_in_order(sockets: Sockets, secret: bytes) -> None:
    second, first = connect(sockets, secret)
    assert (second.host, first.host) == ("algo-1", "algo-2")
    large = bytes(range(256)) * 40_000
    messages = [b"one", large, b""]
    with ThreadPoolExecutor(1) as thread:
        sent = thread.map(second.send, messages)
        assert [bytes(first.receive(len(large))) for _ in messages] == messages
        list(sent)
    first.send(b"back")
    assert bytes(second.receive(4)) == b"back"


def test_signs_of_life_are_no_messages(sockets: Sockets) -> None:
    second, first = connect(sockets)
    second.beat()
    second.send(b"one")
    second.beat()
    second.send(b"two")
    assert [bytes(first.receive(3)) for _ in range(2)] == [b"one", b"two"]


def test_a_host_that_ends_is_lost(sockets: Sockets) -> None:
    _, first = connect(sockets)
    sockets[0].close()
    with pytest.raises(HostsError, match="host 'algo-2' was lost: it closed the connection"):
        first.receive(1)
    with suppress(HostsError):
        # What is sent first may not have been refused yet.
        first.send(b"?")
    with pytest.raises(HostsError, match="host 'algo-2' was lost: "):
        first.send(bytes(1 << 26))


def test_a_silent_host_is_lost(sockets: Sockets) -> None:
    second, first = connect(sockets, quiet_seconds=0.1)
    with pytest.raises(HostsError, match=r"host 'algo-2' was lost: it was silent for 0\.1 s"):
        first.receive(1)
    with pytest.raises(HostsError, match="was lost: it does not read what it is sent"):
        second.send(bytes(1 << 26))


def test_nothing_follows_a_message_that_was_sent_in_part(sockets: Sockets) -> None:
    second, first = connect(sockets, quiet_seconds=0.05)
    with pytest.raises(HostsError, match="does not read"):
        second.send(bytes(1 << 26))
    second.tell_failure("algo-2", "late")
    with pytest.raises(HostsError, match="host 'algo-2' was lost: it closed the connection"):
        first.receive(1 << 26)


def test_a_host_says_why_it_fails(sockets: Sockets) -> None:
    second, first = connect(sockets)
    with ThreadPoolExecutor(1) as thread:
        second.tell_failure("algo-3", "ClientError: bad data" + "." * 9_000)
        closed = thread.submit(second.close)
        with pytest.raises(FailedHostError, match="host 'algo-3' has failed: ClientError: bad da"):
            first.receive(1)
        first.close()
        closed.result()


def test_a_message_above_the_limit_is_refused(sockets: Sockets) -> None:
    second, first = connect(sockets)
    second.send(b"four")
    with pytest.raises(HostsError, match="sent 4 bytes of kind 1: at most 3 are expected"):
        first.receive(3)


def test_an_unknown_kind_is_refused(sockets: Sockets) -> None:
    _, first = connect(sockets)
    sockets[0].sendall(struct.pack("<II", 7, 0))
    with pytest.raises(HostsError, match="sent 0 bytes of kind 7"):
        first.receive(3)


def test_a_failure_without_words_is_one(sockets: Sockets) -> None:
    _, first = connect(sockets, secret=b"")
    sockets[0].sendall(struct.pack("<II", 2, 2) + b"[]")
    with pytest.raises(HostsError, match=r"host 'algo-2' has failed and says b'\[\]'"):
        first.receive(3)


def test_a_forged_message_is_refused(sockets: Sockets) -> None:
    _, first = connect(sockets)
    sockets[0].sendall(struct.pack("<II", 1, 3) + b"one" + bytes(16))
    with pytest.raises(HostsError, match="a message of host 'algo-2' was forged or damaged"):
        first.receive(3)


def test_a_message_sent_again_is_refused(sockets: Sockets) -> None:
    second, first = connect(sockets)
    second.send(b"one")
    sent = sockets[1].recv(100, socket.MSG_PEEK)
    first.receive(3)
    sockets[0].sendall(sent)
    with pytest.raises(HostsError, match="forged"):
        first.receive(3)


@pytest.mark.parametrize(
    ("greeting", "problem"),
    [
        (b"GET / HTTP/1.1\r\nHost: me\r\n\r\n", "a connection began with b'GET / HTTP"),
        (b"matinee1" + bytes(16) + b"\x06algo-9", "'algo-9' connected: hosts "),
        (b"matinee1" + bytes(16) + b"\x06algo-2" + bytes(32), "without knowing the job's secret"),
    ],
)
def test_strangers_are_not_let_in(sockets: Sockets, greeting: bytes, problem: str) -> None:
    near, far = sockets
    near.sendall(greeting)
    with pytest.raises(StrangerError, match=problem):
        Connection.answer(far, ["algo-2"], b"secret")


def test_a_stranger_cannot_take_its_time(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_HANDSHAKE_SECONDS", 0.2)
    near, far = sockets
    over = threading.Event()

    def dribble() -> None:
        for octet in b"matinee1" + bytes(100):
            near.sendall(bytes([octet]))
            if over.wait(0.05):
                break

    with ThreadPoolExecutor(1) as thread:
        thread.submit(dribble)
        try:
            with pytest.raises(TimeoutError):
                Connection.answer(far, ["algo-2"], b"secret")
        finally:
            over.set()


def test_who_does_not_know_the_secret_is_no_host(sockets: Sockets) -> None:
    near, far = sockets
    with ThreadPoolExecutor(1) as thread:
        answered = thread.submit(Connection.answer, far, ["algo-2"], b"another")
        with pytest.raises(StrangerError, match="doesn't know the job's secret"):
            Connection.greet(near, "algo-2", "algo-1", b"secret")
        near.close()
        with pytest.raises(OSError, match="it closed the connection"):
            answered.result()
