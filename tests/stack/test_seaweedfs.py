"""SeaweedFS as the stack starts it: writable when ready, closed to strangers."""

from __future__ import annotations

import boto3
import httpx
import psutil
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from matinee.stack import ports
from matinee.stack.clients import client
from matinee.stack.credentials import Credentials
from matinee.stack.seaweedfs import SeaweedFS
from tests.conftest import ObjectStore


def test_an_object_written_is_read(object_store: ObjectStore, bucket: str) -> None:
    client = object_store.client()
    client.put_object(Bucket=bucket, Key="stars", Body=b"5")
    assert client.get_object(Bucket=bucket, Key="stars")["Body"].read() == b"5"


def test_the_bucket_of_the_stack_is_there(object_store: ObjectStore) -> None:
    listed = object_store.client().list_objects_v2(Bucket="matinee", Prefix=".")["Contents"]
    assert [item["Key"] for item in listed] == [".matinee/ready"]


def test_every_port_is_on_loopback_and_known(object_store: ObjectStore) -> None:
    server = psutil.Process(ports.holder(object_store.server.first_port))
    listening = {
        connection.laddr
        for connection in server.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert {port for _, port in listening} == set(object_store.server.ports)


@pytest.mark.parametrize("position", range(5))
def test_no_http_port_answers_a_stranger(
    object_store: ObjectStore, bucket: str, position: int
) -> None:
    object_store.client().put_object(Bucket=bucket, Key="secret", Body=b"5")
    port = object_store.server.ports[position]
    for path in (f"/{bucket}/secret", f"/buckets/{bucket}/secret"):
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False)
        except httpx.TransportError:
            continue
        assert answer.status_code >= 400, (port, path)


def test_a_wrong_secret_and_no_secret_are_refused(object_store: ObjectStore) -> None:
    stranger = Credentials(object_store.credentials.access_key_id, "guessed")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client("s3", object_store.endpoint, stranger).list_buckets()
    unsigned = boto3.client(
        "s3",
        endpoint_url=object_store.endpoint,
        region_name="us-east-1",
        config=Config(signature_version=UNSIGNED),
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        unsigned.list_objects_v2(Bucket="matinee")


def test_a_bucket_is_neither_made_nor_emptied_by_the_way(
    object_store: ObjectStore, bucket: str
) -> None:
    client = object_store.client()
    with pytest.raises(ClientError, match="NoSuchBucket"):
        client.put_object(Bucket=f"{bucket}-other", Key="stars", Body=b"5")
    client.put_object(Bucket=bucket, Key="stars", Body=b"5")
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        client.delete_bucket(Bucket=bucket)


def test_the_identities_are_private(object_store: ObjectStore) -> None:
    server: SeaweedFS = object_store.server
    identities = server.folder / "identities.json"
    assert identities.stat().st_mode & 0o777 == 0o600
    assert (server.folder / "data").stat().st_mode & 0o777 == 0o700
    assert object_store.credentials.secret_access_key not in " ".join(server.command())


def test_the_settings_of_the_users_own_aws_do_not_matter(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_PROFILE": "work",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    assert object_store.server.waiting_for() is None
