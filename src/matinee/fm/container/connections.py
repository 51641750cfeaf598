"""One TCP connection between two hosts of a training job: messages that arrive whole, or an error.

Both ends prove that they know the job's secret before anything else is read, and every message
carries a code that only who knows it can make, over its place in the order of messages. Without a
secret messages are only counted on to come from the job's own network, as SageMaker isolates it. A
host that is silent for too long is lost, even if its connection is not: hosts send a sign of life
while they work.
"""

import hashlib
import hmac
import json
import secrets
import socket
import struct
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from matinee.fm.hosts import HostsError, Message

QUIET_SECONDS = 60.0
"""A host that sends nothing for so long is lost."""

# A host may be busy with a batch for so many times longer before it reads what it is sent.
_SENDING_PATIENCE = 10
_HANDSHAKE_SECONDS = 10.0
_CLOSING_SECONDS = 5.0

_GREETING = b"matinee1"
_NONCE_SIZE = 16
_LONGEST_NAME = 63
_PROOF_SIZE = hashlib.sha256().digest_size
_CODE_SIZE = 16
_HEADER = struct.Struct("<II")
_BEAT, _DATA, _FAILURE = range(3)
_LONGEST_FAILURE = 8192
_CLOSED = "it closed the connection"


class FailedHostError(HostsError):
    """Another host has failed, and says why.

    Attributes
    ----------
    host
        Its name.
    reason
        Of the failure, as that host reports it.
    """

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(host, reason)
        self.host, self.reason = host, reason

    def __str__(self) -> str:
        return f"host {self.host!r} has failed: {self.reason}"


class StrangerError(HostsError):
    """Who is at the other end is no host of this job."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """Of the codes in each direction; None without a secret."""

    sending: bytes | None
    receiving: bytes | None


class Connection:
    """A connection after its handshake.

    Parameters
    ----------
    connected
        The socket, which belongs to the connection.
    host
        Name of the host at the other end.
    keys
        Of both directions.
    quiet_seconds
        After how long without a message the other host is lost.
    """

    def __init__(
        self, connected: socket.socket, host: str, keys: _Keys, quiet_seconds: float
    ) -> None:
        connected.settimeout(quiet_seconds)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = host
        self._socket, self._keys, self._quiet_seconds = connected, keys, quiet_seconds
        self._sending = threading.Lock()
        self._sent = self._received = 0
        self._buffer = bytearray()

    @classmethod
    def answer(
        cls,
        connected: socket.socket,
        awaited: Collection[str],
        secret: bytes,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> Self:
        """Let a host in that has connected to this one.

        Parameters
        ----------
        connected
            The socket.
        awaited
            Names of the hosts that are let in.
        secret
            The job's; empty if it has none.
        quiet_seconds
            As for the class.

        Raises
        ------
        StrangerError
            If it isn't one of them, or doesn't know the secret.
        OSError
            If the connection ends or nothing comes.
        """
        connected.settimeout(_HANDSHAKE_SECONDS)
        deadline = time.monotonic() + _HANDSHAKE_SECONDS
        greeting = _read(connected, len(_GREETING) + _NONCE_SIZE + 1, deadline)
        if not greeting.startswith(_GREETING):
            raise StrangerError(f"a connection began with {greeting!r}")
        length = min(greeting[-1], _LONGEST_NAME)
        name = _read(connected, length, deadline).decode("ascii", "replace")
        if name not in awaited:
            raise StrangerError(f"{name!r} connected: hosts {sorted(awaited)} are awaited")
        nonce = secrets.token_bytes(_NONCE_SIZE)
        said = greeting + name.encode() + nonce
        connected.sendall(nonce + _derive(secret, b"answer", said))
        proof = _read(connected, _PROOF_SIZE, deadline)
        if not hmac.compare_digest(proof, _derive(secret, b"greeting", said)):
            raise StrangerError(f"{name!r} connected without knowing the job's secret")
        keys = _Keys(_key(secret, b"answer key", said), _key(secret, b"greeting key", said))
        return cls(connected, name, keys, quiet_seconds)

    @classmethod
    def greet(
        cls,
        connected: socket.socket,
        name: str,
        host: str,
        secret: bytes,
        quiet_seconds: float = QUIET_SECONDS,
    ) -> Self:
        """Ask the host that this one has connected to to be let in.

        Parameters
        ----------
        connected
            The socket.
        name
            Of this host.
        host
            Name of the other one.
        secret
            The job's; empty if it has none.
        quiet_seconds
            As for the class.

        Raises
        ------
        StrangerError
            If the other end doesn't know the secret or doesn't let this host in.
        OSError
            If the connection ends or nothing comes.
        """
        connected.settimeout(_HANDSHAKE_SECONDS)
        deadline = time.monotonic() + _HANDSHAKE_SECONDS
        greeting = _GREETING + secrets.token_bytes(_NONCE_SIZE) + bytes([len(name)])
        connected.sendall(greeting + name.encode())
        nonce = _read(connected, _NONCE_SIZE, deadline)
        said = greeting + name.encode() + nonce
        proof = _read(connected, _PROOF_SIZE, deadline)
        if not hmac.compare_digest(proof, _derive(secret, b"answer", said)):
            raise StrangerError(f"who answers for host {host!r} doesn't know the job's secret")
        connected.sendall(_derive(secret, b"greeting", said))
        keys = _Keys(_key(secret, b"greeting key", said), _key(secret, b"answer key", said))
        return cls(connected, host, keys, quiet_seconds)

    def send(self, message: Message) -> None:
        """Send a message.

        Raises
        ------
        HostsError
            If the other host is lost.
        """
        with self._sending:
            self._send(_DATA, message)

    def receive(self, limit: int) -> memoryview:
        """Wait for a message of at most ``limit`` bytes, valid until the next call.

        Raises
        ------
        FailedHostError
            If the other host says that it, or a third one, has failed.
        HostsError
            If the other host is lost, or sends what it shouldn't.
        """
        try:
            while True:
                header = bytes(self._read(_HEADER.size))
                kind, size = _HEADER.unpack(header)
                most = {_BEAT: 0, _DATA: limit, _FAILURE: _LONGEST_FAILURE}.get(kind, -1)
                if size > most:
                    raise HostsError(
                        f"host {self.host!r} sent {size} bytes of kind {kind}: at most {most} are "
                        "expected"
                    )
                message = self._read(size)
                self._check(header, message)
                if kind == _DATA:
                    return message
                if kind == _FAILURE:
                    raise self._failure(bytes(message))
        except TimeoutError as error:
            raise self._lost(f"it was silent for {self._quiet_seconds:g} s") from error
        except OSError as error:
            raise self._lost(str(error)) from error

    def beat(self) -> None:
        """Give a sign of life, unless a message is being sent, which is one too."""
        if self._sending.acquire(blocking=False):
            try:
                self._send(_BEAT, b"")
            finally:
                self._sending.release()

    def tell_failure(self, host: str, reason: str) -> None:
        """Tell the other host, if it can still be told, that a host has failed."""
        # Each character takes at most 6 bytes of JSON.
        failure = json.dumps({"host": host, "reason": reason[: _LONGEST_FAILURE // 8]})
        with suppress(HostsError), self._sending:
            self._socket.settimeout(_CLOSING_SECONDS)
            self._send(_FAILURE, failure.encode(), patience=1)

    def close(self) -> None:
        """End the connection after what was sent has been read, or after a few seconds.

        Were it closed with signs of life unread, what was sent could be lost.
        """
        deadline = time.monotonic() + _CLOSING_SECONDS
        with suppress(OSError), self._socket:
            self._socket.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(1 << 16):
                    break

    def _send(self, kind: int, message: Message, patience: int = _SENDING_PATIENCE) -> None:
        header = _HEADER.pack(kind, len(message))
        code = _code(self._keys.sending, self._sent, header, message)
        self._sent += 1
        pending = [memoryview(part).cast("B") for part in (header, message, code) if len(part)]
        try:
            while pending:
                try:
                    sent = self._socket.sendmsg(pending)
                except TimeoutError:
                    patience -= 1
                    if patience <= 0:
                        raise
                    continue
                while pending and sent >= len(pending[0]):
                    sent -= len(pending.pop(0))
                if sent:
                    pending[0] = pending[0][sent:]
        except TimeoutError as error:
            raise self._lost("it does not read what it is sent") from error
        except OSError as error:
            raise self._lost(str(error)) from error
        finally:
            if pending:
                # What is sent after a part of a message would be taken for the rest of it.
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_WR)

    def _read(self, size: int) -> memoryview:
        if len(self._buffer) < size:
            # A new one: what was returned before may still refer to the old one.
            self._buffer = bytearray(size)
        view = memoryview(self._buffer)[:size]
        _read_into(self._socket, view)
        return view

    def _check(self, header: bytes, message: memoryview) -> None:
        expected = _code(self._keys.receiving, self._received, header, message)
        self._received += 1
        code = bytearray(len(expected))
        _read_into(self._socket, memoryview(code))
        if not hmac.compare_digest(code, expected):
            raise HostsError(f"a message of host {self.host!r} was forged or damaged")

    def _failure(self, message: bytes) -> HostsError:
        try:
            failure = json.loads(message)
            return FailedHostError(str(failure["host"]), str(failure["reason"]))
        except (ValueError, KeyError, TypeError) as error:
            return HostsError(f"host {self.host!r} has failed and says {message!r}: {error}")

    def _lost(self, how: str) -> HostsError:
        return HostsError(f"host {self.host!r} was lost: {how}")


def _read(connected: socket.socket, size: int, deadline: float) -> bytes:
    """Read from who may be a stranger, who shall not hold up others by sending slowly."""
    read = bytearray()
    while len(read) < size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long to say who it is")
        connected.settimeout(left)
        chunk = connected.recv(size - len(read))
        if not chunk:
            raise ConnectionError(_CLOSED)
        read += chunk
    return bytes(read)


def _read_into(connected: socket.socket, view: memoryview) -> None:
    while view:
        count = connected.recv_into(view)
        if not count:
            raise ConnectionError(_CLOSED)
        view = view[count:]


def _derive(secret: bytes, purpose: bytes, said: bytes) -> bytes:
    return hmac.digest(secret, purpose + b"\0" + said, "sha256")


def _key(secret: bytes, purpose: bytes, said: bytes) -> bytes | None:
    return _derive(secret, purpose, said) if secret else None


def _code(key: bytes | None, place: int, header: bytes, message: Message) -> bytes:
    if key is None:
        return b""
    code = hmac.new(key, place.to_bytes(8, "little") + header, "sha256")
    code.update(message)
    return code.digest()[:_CODE_SIZE]
