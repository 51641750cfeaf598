"""The server as a process: how it starts, refuses to start, stops, dies and comes back."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"}
LIMIT_S = 30.0


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    path = tmp_path / "credentials.json"
    path.touch(0o600)
    path.write_text(json.dumps(KEYS))
    return path


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, port: int, credentials: Path) -> Iterator[Start]:
    """Start servers; whatever still runs at the end is killed."""
    servers: list[subprocess.Popen[str]] = []

    def start(**changes: Any) -> subprocess.Popen[str]:
        options = {
            "state": tmp_path / "state",
            "port": port,
            "credentials": credentials,
            "s3-endpoint-url": "http://127.0.0.1:9",
            **changes,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        server = subprocess.Popen(  # noqa: S603 - our own interpreter and words
            [sys.executable, "-m", "matinee.sagemaker", *words],
            stderr=subprocess.PIPE,
            text=True,
        )
        servers.append(server)
        return server

    yield start
    for server in servers:
        with server:
            server.kill()


def wait_until_ready(server: subprocess.Popen[str], port: int, host: str = "127.0.0.1") -> None:
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            answer = httpx.get(f"http://{host}:{port}/_matinee/health", trust_env=False)
        except httpx.TransportError:
            if server.poll() is not None:
                pytest.fail(f"the server ended: {server.communicate()[1]}")
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            assert answer.status_code == 200
            return


def client(port: int, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=KEYS["access_key_id"],
        aws_secret_access_key=KEYS["secret_access_key"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def refusal(server: subprocess.Popen[str]) -> str:
    _, said = server.communicate(timeout=LIMIT_S)
    assert server.returncode != 0
    assert "Traceback" not in said
    return said


def create_model(port: int, name: str) -> None:
    client(port, "sagemaker").create_model(ModelName=name, PrimaryContainer={"Image": "image"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_code_0(start: Start, port: int, number: signal.Signals) -> None:
    server = start()
    wait_until_ready(server, port)
    client(port, "sts").get_caller_identity()
    server.send_signal(number)
    _, said = server.communicate(timeout=LIMIT_S)
    assert server.returncode == 0
    assert "sts GetCallerIdentity -> 200" in said
    assert KEYS["secret_access_key"] not in said.replace("secret_access_key", "")


def test_a_model_survives_kill_9(start: Start, port: int) -> None:
    server = start()
    wait_until_ready(server, port)
    create_model(port, "a")
    server.kill()
    server.wait(LIMIT_S)
    wait_until_ready(start(), port)
    assert client(port, "sagemaker").describe_model(ModelName="a")["ModelName"] == "a"


def test_a_second_server_on_one_state_is_refused_by_pid(start: Start, port: int) -> None:
    server = start()
    wait_until_ready(server, port)
    assert f"in use by another server, process {server.pid}" in refusal(start())
    create_model(port, "a")  # and the first one goes on


def test_a_port_in_use_is_refused(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = refusal(start(port=other.getsockname()[1]))
    assert "address already in use" in said.lower()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - refused
def test_every_address_is_refused_without_a_name(start: Start, host: str) -> None:
    assert f"--host {host} listens on every address; name what" in refusal(start(host=host))


def test_another_address_needs_a_name_clients_use(start: Start, port: int) -> None:
    options = {"host": "0.0.0.0", "allowed-host": "films.example"}  # noqa: S104 - signed only
    wait_until_ready(start(**options), port)
    codes = [
        httpx.get(
            f"http://127.0.0.1:{port}/_matinee/health", headers={"Host": host}, trust_env=False
        ).status_code
        for host in ("films.example", f"films.example:{port}", "other.example")
    ]
    assert codes == [200, 200, 403]


def test_a_name_that_is_none_is_refused(start: Start) -> None:
    assert "--allowed-host 'a:80' is not a host name" in refusal(start(**{"allowed-host": "a:80"}))


def test_keys_that_others_may_read_are_refused(start: Start, credentials: Path) -> None:
    credentials.chmod(0o640)
    said = refusal(start())
    assert f"{credentials} has mode 640: only its owner may access it" in said


@pytest.mark.parametrize("text", ["", "[]", '{"access_key_id": "a"}', '{"access_key_id": 1}'])
def test_a_key_file_of_another_form_is_refused(start: Start, credentials: Path, text: str) -> None:
    credentials.write_text(text)
    assert str(credentials) in refusal(start())


def test_a_missing_key_file_is_refused(start: Start, credentials: Path) -> None:
    credentials.unlink()
    assert "cannot read the credentials file" in refusal(start())


def test_options_that_mean_nothing_are_refused(start: Start, credentials: Path) -> None:
    assert "--s3-endpoint-url nonsense" in refusal(start(**{"s3-endpoint-url": "nonsense"}))
    assert "cannot make the state folder" in refusal(start(state=credentials / "state"))
    assert "argument --port: invalid" in refusal(start(port=65536))


def test_a_console_that_cannot_be_is_refused(start: Start, tmp_path: Path) -> None:
    token = tmp_path / "console.json"
    console = {"console-token": token}
    assert "cannot read the console token file" in refusal(start(**console))
    token.write_text('{"token": "secret"}')
    token.chmod(0o644)
    assert f"{token} has mode 644" in refusal(start(**console))
    token.chmod(0o600)
    page = {"console-page": "mine=tests.nowhere:page"}
    assert "cannot import 'tests.nowhere'" in refusal(start(**console, **page))
    page = {"console-page": "mine=json:loads"}
    assert "mine=json:loads: the factory failed: TypeError" in refusal(start(**console, **page))
    link = {"console-tag-link": "run=ftp://host/{}"}
    assert "--console-tag-link run=ftp://host/{}" in refusal(start(**console, **link))
    token.write_text("{}")
    assert "must be an object with the string token" in refusal(start(**console))


def test_listens_on_ipv6(start: Start, port: int) -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    wait_until_ready(start(host="::1"), port, "[::1]")


def test_its_state_is_its_owners_alone(start: Start, port: int, tmp_path: Path) -> None:
    wait_until_ready(start(), port)
    state = tmp_path / "state"
    assert state.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in state.iterdir())


def test_known_roles_and_region_are_options(start: Start, port: int) -> None:
    wait_until_ready(start(role="film", region="eu-west-1"), port)
    assert client(port, "iam").get_role(RoleName="film")["Role"]["RoleName"] == "film"
    with pytest.raises(client(port, "iam").exceptions.ClientError, match="cannot be found"):
        client(port, "iam").get_role(RoleName=f"other-{secrets.token_hex(4)}")
    with pytest.raises(client(port, "sagemaker").exceptions.ClientError, match="'eu-west-1'"):
        client(port, "sagemaker").list_models()


def test_a_client_that_goes_away_is_no_error(start: Start, port: int) -> None:
    server = start()
    wait_until_ready(server, port)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
    client(port, "sts").get_caller_identity()
    server.terminate()
    _, said = server.communicate(timeout=LIMIT_S)
    assert "GetCallerIdentity -> 200" in said
    assert "Traceback" not in said


def cluster_file(folder: Path, **members: Any) -> Path:
    path = folder / "state/cluster.json"
    path.parent.mkdir()
    path.write_text(json.dumps(members))
    return path


def test_a_cluster_without_a_token_is_refused(start: Start, tmp_path: Path) -> None:
    path = cluster_file(tmp_path, ray="127.0.0.2:9")
    said = refusal(start())
    assert f'{path} must have "token_file"' in said
    assert "a cluster is used with its token only" in said


def test_a_cluster_needs_the_extra(start: Start, tmp_path: Path) -> None:
    path = cluster_file(tmp_path, ray="127.0.0.2:9", token_file=str(tmp_path / "token"))
    assert f"{path} needs Ray: install matinee[ray]" in refusal(start())


def test_jobs_on_a_cluster_are_not_forgotten(start: Start, tmp_path: Path) -> None:
    mark = tmp_path / "state/jobs/1/placement.json"
    mark.parent.mkdir(parents=True)
    mark.write_text("{}")
    assert "are on a Ray cluster; it must be named in" in refusal(start())


def test_a_database_that_cannot_be_opened_is_refused(start: Start) -> None:
    assert "cannot open the database" in refusal(start(database="sqlite:////no/such/folder/a"))


def test_a_client_that_never_ends_its_request_does_not_keep_it(start: Start, port: int) -> None:
    server = start()
    wait_until_ready(server, port)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        client(port, "sts").get_caller_identity()
        os.kill(server.pid, signal.SIGTERM)
        server.communicate(timeout=LIMIT_S)
    assert server.returncode == 0
