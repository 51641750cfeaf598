"""Requests nobody would write: ``python -m tests.faults.fuzz --count N --seed S``.

For every operation, values of the right form and of others; and bodies, heads and signatures with
bytes changed. Whatever is sent, the server answers with a refusal or a result: never with an error
of its own, never not at all, and it goes on.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import math
import random
import re
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import botocore.serialize
import cbor2
import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import OperationModel, Shape

from matinee.sagemaker.app import OPERATIONS
from matinee.sagemaker.http.wire import Service, load_services
from tests.conftest import ObjectStore
from tests.faults.servers import FaultServer, object_store_running
from tests.sagemaker.jobs.conftest import IMAGE, ROLE

REGION = "us-east-1"
_TEXTS = (
    *("", "a", "-", "name", "n" * 63, "n" * 300, "../../etc/passwd", "..", "/", ".", "a/b"),
    *("%2e%2e", "\0", "a\0b", "\ud800", "line\nbreak", "\u00fc", "\u202e", "<script>", "*", "?"),
    *("s3://matinee/data", "s3://matinee", "s3://", "S3://x/y", "s3://matinee/../x", "http://a"),
    *("s3://no-such-bucket-here/x", "s3://matinee/" + "k" * 2000, ROLE, IMAGE, "all", "None"),
    *("arn:aws:sagemaker:us-east-1:000000000000:training-job/name", "arn:aws:iam::0:role/x"),
    *("{", "{ $.a = 1 }", '{ $.a["b = }', "$.a[", "$[?(@.a", "[w1=1, w2", "?a -b", '"a', "%a(b+"),
    *("SEARCH('{a} x', 'Average', 60)", "m1+(", "m1/0", "1e999", "((((((((((a", "[" * 500, "0"),
    *('{"Version":"2012-10-17","Statement":[]}', '{"Statement":{"Action":"*"}}', "null", "[]"),
    *("1", "1.5", "1e308", "nan", "inf", "true", "2026-11-23", "text/csv", "ml.m5.large", "(a+)+$"),
    *("'; DROP TABLE x", "{}", "-1"),
)  # fmt: skip
_NUMBERS = (0, 1, -1, 2, 60, 100, 3600, 86400, 2**31, 2**63, -(2**63), 10**30)
_DOUBLES = (0.0, 1.0, -1.5, 1e308, math.nan, math.inf, -math.inf, 5e-324)
_MOMENTS = (0, 1, -1, 1795459586, 1e10, 1e18, -1e18, 1.5, "2026-11-23T00:00:00Z", "x")
_WRONG: tuple[Any, ...] = (None, True, 7, 1.5, "text", [], {}, [[]], {"a": {}}, [None])


@dataclass
class Found:
    """What was sent and what came back."""

    sent: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.sent} requests, answers {dict(sorted(self.answers.items()))}, "
            f"{len(self.failures)} failures" + "".join(f"\n  {words}" for words in self.failures)
        )


class Values:
    """Values for the shapes of a service's model.

    Parameters
    ----------
    dice
        Decide.
    nonsense
        How often a value has another type than the model says.
    """

    def __init__(self, dice: random.Random, nonsense: float = 0.01) -> None:
        self._dice = dice
        self._nonsense = nonsense

    def of(self, shape: Shape, depth: int = 0) -> Any:
        """Return a value."""
        dice = self._dice
        if dice.random() < self._nonsense:
            return dice.choice(_WRONG)
        match shape.type_name:
            case "structure":
                return self._structure(shape, depth)
            case "list":
                count = dice.choice((0, 1, 1, 1, 2, 3)) if depth < 7 else 0
                return [self.of(shape.member, depth + 1) for _ in range(count)]
            case "map":
                count = dice.choice((0, 1, 2)) if depth < 7 else 0
                return {
                    str(self.of(shape.key, 9)): self.of(shape.value, depth + 1)
                    for _ in range(count)
                }
            case "string":
                if shape.enum and dice.random() < 0.95:
                    return dice.choice(shape.enum)
                fitting = _fitting(shape) if dice.random() < 0.8 else ()
                return dice.choice(fitting or _TEXTS)
            case "integer" | "long":
                least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 100)
                if dice.random() < 0.8:
                    return dice.choice((least, most, dice.randint(least, max(least, most))))
                return dice.choice(_NUMBERS)
            case "float" | "double":
                return dice.choice((*_DOUBLES, *_NUMBERS))
            case "boolean":
                return dice.random() < 0.5
            case "timestamp":
                return dice.choice(_MOMENTS)
            case "blob":
                return dice.choice(("YQ==", "", "no base64", "AAAA" * 999))
            case other:
                raise ValueError(other)

    def _structure(self, shape: Shape, depth: int) -> dict[str, Any]:
        required = set(shape.required_members)
        names = list(shape.members)
        if getattr(shape, "is_tagged_union", False):
            names = [self._dice.choice(names)]
        likely = 0.35 if depth < 3 else 0.15
        return {
            name: self.of(shape.members[name], depth + 1)
            for name in names
            if self._dice.random() < (0.98 if name in required or len(names) == 1 else likely)
        }


@functools.cache
def _fitting(shape: Shape) -> tuple[str, ...]:
    """Return the texts that the model allows, so that more than its checks is reached."""
    rules = shape.metadata
    try:
        pattern = re.compile(rules.get("pattern", ".*"), re.DOTALL)
    except re.error:  # Java's, which Python does not read
        return ()
    found = []
    for text in _TEXTS:
        is_long = not rules.get("min", 0) <= len(text) <= rules.get("max", 10**6)
        if not is_long and pattern.fullmatch(text):
            found.append(text)
    return tuple(found)


class Fuzzer:
    """Sends what was made up, signed.

    Parameters
    ----------
    endpoint
        Of the server.
    keys
        Sign.
    dice
        Decide.
    """

    def __init__(self, endpoint: str, keys: Credentials, dice: random.Random) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._dice = dice
        self._client = httpx.Client(trust_env=False, timeout=30)
        self._services = load_services(OPERATIONS)
        self.found = Found()

    def close(self) -> None:
        self._client.close()

    def operations(self) -> Iterator[tuple[Service, OperationModel]]:
        for service in self._services.values():
            for name in sorted(service.operations):
                yield service, service.model.operation_model(name)

    def ask(self, service: Service, operation: OperationModel, *, mutate: bool) -> None:
        """Send one request for an operation."""
        shape = operation.input_shape
        request = {} if shape is None else Values(self._dice).of(shape)
        sent = self._written(service, operation, request)
        if sent is None:
            return
        method, path, headers, body = sent
        if mutate:
            body = mutated(body, self._dice)
        self._send(service, operation.name, method, path, headers, body)

    def _written(
        self, service: Service, operation: OperationModel, request: Any
    ) -> tuple[str, str, dict[str, str], bytes] | None:
        protocols = service.model.metadata["protocols"]
        protocol = self._dice.choice(
            [p for p in protocols if p in {"json", "query", "rest-json", "smithy-rpc-v2-cbor"}]
        )
        if protocol == "json":
            headers = {
                "X-Amz-Target": f"{service.model.metadata['targetPrefix']}.{operation.name}",
                "Content-Type": "application/x-amz-json-1.1",
            }
            return "POST", "/", headers, json.dumps(request).encode()
        if protocol == "smithy-rpc-v2-cbor":
            prefix = service.model.metadata["targetPrefix"]
            headers = {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
            try:
                body = cbor2.dumps(request)
            except (cbor2.CBOREncodeError, UnicodeEncodeError):
                return None
            return "POST", f"/service/{prefix}/operation/{operation.name}", headers, body
        if protocol == "query":
            form = {"Action": operation.name, "Version": service.model.api_version}
            form |= dict(_flat("", request))
            body = urlencode(form, errors="surrogatepass").encode()
            return "POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, body
        return self._rest(operation, request)

    def _rest(
        self, operation: OperationModel, request: Any
    ) -> tuple[str, str, dict[str, str], bytes] | None:
        serializer = botocore.serialize.create_serializer("rest-json", include_validation=False)
        try:
            made = serializer.serialize_to_request(request, operation)
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RuntimeError):
            return None  # botocore itself cannot write it
        path = made["url_path"]
        if made["query_string"]:
            path += f"?{urlencode(made['query_string'], errors='surrogatepass')}"
        body = made["body"]
        headers = {name: str(value) for name, value in made["headers"].items()}
        if any(set(value) & set("\0\r\n") or not value.isascii() for value in headers.values()):
            return None
        return (
            made["method"],
            path,
            headers,
            body if isinstance(body, bytes) else str(body).encode(),
        )

    def _send(
        self,
        service: Service,
        what: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
    ) -> None:
        try:
            url = httpx.URL(self._endpoint + path)
        except (httpx.InvalidURL, UnicodeEncodeError):
            return
        request = AWSRequest(method, str(url), data=body, headers=headers)
        SigV4Auth(self._keys, service.signing_name, REGION).add_auth(request)
        self.found.sent += 1
        try:
            answer = self._client.request(method, url, content=body, headers=dict(request.headers))
        except httpx.HTTPError as error:
            self.found.failures.append(f"{what}: {type(error).__name__} {error} for {body[:300]!r}")
            return
        self.found.answers[answer.status_code] += 1
        if answer.status_code >= 500 and answer.status_code != 503:
            self.found.failures.append(f"{what} {path}: {answer.text[:200]} for {body[:1500]!r}")

    def garble(self) -> None:
        """Send a request with bytes of its head changed, on a connection of its own."""
        body = b"{}"
        request = AWSRequest(
            "POST",
            self._endpoint + "/",
            data=body,
            headers={"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/json"},
        )
        SigV4Auth(self._keys, "sagemaker", REGION).add_auth(request)
        address = urlsplit(self._endpoint)
        lines = [b"POST / HTTP/1.1", f"Host: {address.netloc}".encode()]
        lines += [f"{name}: {value}".encode() for name, value in request.headers.items()]
        lines += [b"Connection: close", b"Content-Length: 2", b"", body]
        self.raw(mutated(b"\r\n".join(lines), self._dice))

    def raw(self, data: bytes) -> None:
        """Send bytes, and nothing after them; the server ends the connection, soon."""
        assert self._endpoint
        address = urlsplit(self._endpoint)
        self.found.sent += 1
        try:
            with socket.create_connection((address.hostname, address.port), timeout=30) as client:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                answer = b""
                while chunk := client.recv(1 << 16):
                    answer += chunk
        except ConnectionResetError:
            return
        except OSError as error:
            self.found.failures.append(f"{type(error).__name__} {error} for {data!r}")
            return
        status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
        self.found.answers[status] += 1
        if status >= 500 and status not in {501, 503}:
            self.found.failures.append(f"{answer[:300]!r} for {data!r}")


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield a query form's names and values."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(f"{prefix}.{name}".lstrip("."), item)
    elif isinstance(value, list):
        for number, item in enumerate(value, 1):
            yield from _flat(f"{prefix}.member.{number}", item)
    elif isinstance(value, datetime.datetime):
        yield prefix, value.isoformat()
    elif value is not None:
        yield prefix, str(value)


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Return bytes with a few of them changed, left out, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5))):
        place = dice.randrange(len(changed) + 1)
        end = min(len(changed), place + dice.choice((1, 2, 8, 64)))
        action: Callable[[], None] = dice.choice(
            (
                lambda p=place, e=end: changed.__setitem__(slice(p, e), b""),
                lambda p=place, e=end: changed.__setitem__(slice(p, p), changed[p:e]),
                lambda p=place: changed.__setitem__(slice(p, p + 1), bytes([dice.randrange(256)])),
                lambda p=place: changed.__setitem__(slice(p, None), b""),
                lambda p=place: changed.__setitem__(
                    slice(p, p), dice.choice((b"\0", b'"', b"{", b"[" * 99, b"\xff", b"\r\n", b"%"))
                ),
            )
        )
        action()
    return bytes(changed)


def run(server: FaultServer, store: ObjectStore, count: int, seed: int) -> Found:
    """Send so many requests of each sort for each operation to a server that runs."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    keys = Credentials(store.credentials.access_key_id, store.credentials.secret_access_key)
    fuzzer = Fuzzer(server.endpoint, keys, dice)
    try:
        operations = list(fuzzer.operations())
        for number in range(count):
            for service, operation in operations:
                fuzzer.ask(service, operation, mutate=number % 4 == 3)
            for _ in range(20):
                fuzzer.garble()
    finally:
        fuzzer.close()
    if not server.is_running:
        fuzzer.found.failures.append("the server ended")
    # What went wrong out of sight of the client
    fuzzer.found.failures += [
        line for line in server.log.splitlines() if " ERROR " in line and "request " not in line
    ]
    return fuzzer.found


def main(words: list[str]) -> int:
    """Run it and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="matinee-fuzz-") as name:
        places = [Path(name, part) for part in ("s3", "server")]
        for place in places:
            place.mkdir()
        with object_store_running(places[0]) as store:
            server = FaultServer(places[1], store, store.endpoint)
            try:
                server.start()
                found = run(server, store, arguments.count, arguments.seed)
                log = server.log
            finally:
                server.close()
    Path(tempfile.gettempdir(), "faults-fuzz-server.log").write_text(log)
    print(found)
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
