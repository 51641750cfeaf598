"""Keys and file names, and what a real S3 answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from matinee.sagemaker.data.objects import (
    ManifestError,
    ObjectMissingError,
    ObjectRefusedError,
    Objects,
    UnreachableError,
    UnsafeKeyError,
    contained,
    join_uri,
    parse_uri,
    relative_name,
)
from tests.conftest import ObjectStore


@pytest.mark.parametrize(
    ("prefix", "key", "name"),
    [
        ("", "a/b", "a/b"),
        ("data/", "data/a", "a"),
        ("data", "data/a", "a"),
        ("data", "data-2/a", "data-2/a"),
        ("data/part", "data/part-0", "part-0"),
        ("data/a.csv", "data/a.csv", "a.csv"),
        ("data/", "data/sub/a", "sub/a"),
        ("data/", "data/..a", "..a"),
    ],
)
def test_a_key_is_named_below_its_prefix(prefix: str, key: str, name: str) -> None:
    assert relative_name(prefix, key) == name


@pytest.mark.parametrize(
    "key",
    [
        "data/",
        "data//a",
        "data/../a",
        "data/a/../../b",
        "data/./a",
        "data/\0",
        "data/" + "é" * 128,
        "data/\ud800",
    ],
)
def test_a_key_that_is_no_file_name_is_refused(key: str) -> None:
    with pytest.raises(UnsafeKeyError, match="cannot be the name of a file below 'data/'"):
        relative_name("data/", key)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_key_gets_out_of_its_folder(prefix: str, rest: str) -> None:
    folder = Path("/jobs/1/data")
    try:
        path = contained(folder, relative_name(prefix, prefix + rest))
    except UnsafeKeyError:
        return
    assert path.resolve().is_relative_to(folder)
    assert path.resolve() != folder


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/etc/passwd", "a/../..", "a\0", "a/" + "é" * 128, "\ud800"]
)
def test_a_name_outside_is_refused(name: str) -> None:
    with pytest.raises(UnsafeKeyError, match="is not a name inside a folder"):
        contained(Path("/folder"), name)


def test_uris() -> None:
    assert parse_uri("s3://bucket/a/b") == ("bucket", "a/b")
    assert parse_uri("s3://bucket") == ("bucket", "")
    with pytest.raises(ValueError, match="'https://bucket/a' is not an S3 URI"):
        parse_uri("https://bucket/a")
    assert join_uri("s3://bucket/a", "b") == join_uri("s3://bucket/a/", "b") == "s3://bucket/a/b"


Put = Callable[[str, Any], str]


@pytest.fixture
def put(object_store: ObjectStore, bucket: str) -> Put:
    client = object_store.client()

    def put(key: str, body: Any) -> str:
        client.put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"

    return put


def test_a_listing_is_complete_and_in_key_order(objects: Objects, bucket: str, put: Put) -> None:
    for key in ("q/a-b", "q/a/b", "q/a0", "q/Z", "other"):
        put(key, b"12")
    found = objects.find(bucket, "q/")
    assert [item.key for item in found] == ["q/Z", "q/a-b", "q/a/b", "q/a0"]
    assert {item.size for item in found} == {2}


def test_a_file_comes_back_as_it_went(objects: Objects, bucket: str, tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(bytes(range(256)) * (1 << 16))  # over the size of one part
    objects.upload(source, f"s3://{bucket}/key")
    calls: list[None] = []
    objects.download(bucket, "key", copy, check=lambda: calls.append(None))
    assert copy.read_bytes() == source.read_bytes()
    assert len(calls) >= 16


def test_a_download_can_be_called_off(
    objects: Objects, bucket: str, put: Put, tmp_path: Path
) -> None:
    put("key", b"x")

    def call_off() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        objects.download(bucket, "key", tmp_path / "copy", check=call_off)


def test_failures_are_told_apart(
    object_store: ObjectStore, objects: Objects, bucket: str, put: Put, tmp_path: Path
) -> None:
    with pytest.raises(ObjectMissingError, match=f"s3://{bucket}/none"):
        objects.download(bucket, "none", tmp_path / "copy")
    with pytest.raises(ObjectMissingError):
        objects.find("no-such-bucket-anywhere", "")
    put("key", b"12345")
    with pytest.raises(ObjectRefusedError, match="has 5 bytes; at most 4 are read"):
        objects.read(bucket, "key", limit=4)
    stranger = Objects(
        endpoint_url=object_store.endpoint,
        credentials=Credentials("AKIDEXAMPLE", "wrong"),
        region="us-east-1",
    )
    with pytest.raises(ObjectRefusedError):
        stranger.find(bucket, "")
    stranger.close()


@pytest.mark.parametrize(("bucket", "key"), [("not a bucket", "key"), ("matinee", "\ud800")])
def test_what_cannot_be_asked_for_is_refused_at_once(
    object_store: ObjectStore, tmp_path: Path, bucket: str, key: str
) -> None:
    def sleep(_: float) -> None:
        pytest.fail("it was tried again")

    patient = Objects(
        endpoint_url=object_store.endpoint,
        credentials=Credentials("AKIDEXAMPLE", "secret"),
        region="us-east-1",
        sleep=sleep,
    )
    path = tmp_path / "file"
    path.touch()
    calls: list[Callable[[], None]] = [
        lambda: patient.download(bucket, key, path),
        lambda: patient.upload(path, f"s3://{bucket}/{key}"),
        lambda: patient.delete(f"s3://{bucket}/{key}"),
    ]
    for call in calls:
        with pytest.raises(ObjectRefusedError):
            call()
    patient.close()


def test_a_data_source_is_resolved(objects: Objects, bucket: str, put: Put) -> None:
    for key in ("data/", "data/b", "data/sub/a"):
        put(key, b"")
    found = objects.inputs("S3Prefix", f"s3://{bucket}/data/")
    assert [(item.uri, item.name) for item in found] == [
        (f"s3://{bucket}/data/b", "b"),
        (f"s3://{bucket}/data/sub/a", "sub/a"),
    ]
    with pytest.raises(ObjectMissingError, match=f"no object lies under s3://{bucket}/none"):
        objects.inputs("S3Prefix", f"s3://{bucket}/none")


def test_two_keys_of_one_name_are_refused(objects: Objects, bucket: str, put: Put) -> None:
    put("datax", b"")
    put("data/datax", b"")
    with pytest.raises(UnsafeKeyError, match="'data/datax' and 'datax' are both named 'datax'"):
        objects.inputs("S3Prefix", f"s3://{bucket}/data")


def test_a_key_that_is_file_and_folder_is_refused(objects: Objects, put: Put) -> None:
    uri = put("manifest", json.dumps([{"prefix": "s3://bucket/data/"}, "a", "a/b"]))
    with pytest.raises(UnsafeKeyError, match="'data/a' is a file and, for 'data/a/b', also a"):
        objects.inputs("ManifestFile", uri)


@pytest.mark.parametrize(
    "manifest",
    [
        "no json",
        "[" * 100000,
        "{}",
        "[]",
        '["a"]',
        '[{"prefix": "bucket/"}, "a"]',
        '[{"prefix": "s3://b/"}, 1]',
    ],
)
def test_a_bad_manifest_is_refused(objects: Objects, put: Put, manifest: str) -> None:
    uri = put("manifest", manifest)
    with pytest.raises(ManifestError, match=uri):
        objects.inputs("ManifestFile", uri)


def test_a_server_that_is_not_there_is_unreachable_after_a_brief_wait() -> None:
    pauses: list[float] = []
    objects = Objects(
        endpoint_url="http://127.0.0.1:9",
        credentials=Credentials("AKIDEXAMPLE", "secret"),
        region="us-east-1",
        sleep=pauses.append,
    )
    with pytest.raises(UnreachableError, match="s3://bucket/"):
        objects.find("bucket", "")
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    objects.close()


class _Breaking(BaseHTTPRequestHandler):
    """An S3 whose connections break in the middle of a body, twice."""

    asked: ClassVar[list[tuple[str | None, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.headers["Range"], self.headers["If-Match"]))
        first = int((self.headers["Range"] or "bytes=0-")[6:-1])
        self.send_response(206 if first else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(10 - first))
        self.end_headers()
        last = first + 4 if len(self.asked) < 3 else 10
        self.wfile.write(b"0123456789"[first:last])

    def log_message(self, *_: object) -> None:
        pass


def test_a_broken_download_goes_on_where_it_broke(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Breaking) as server:
        threading.Thread(target=server.serve_forever).start()
        objects = Objects(
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            credentials=Credentials("AKIDEXAMPLE", "secret"),
            region="us-east-1",
            sleep=lambda _: None,
        )
        try:
            objects.download("bucket", "key", tmp_path / "copy")
        finally:
            objects.close()
            server.shutdown()
    assert (tmp_path / "copy").read_bytes() == b"0123456789"
    asked = [(None, None), ("bytes=4-", '"one"'), ("bytes=8-", '"one"')]
    assert _Breaking.asked == asked


def test_another_process_reads_by_the_settings(
    objects: Objects, bucket: str, put: Put, tmp_path: Path
) -> None:
    put("key", b"data")
    same = Objects.of_settings(json.loads(json.dumps(objects.settings())))
    same.download(bucket, "key", tmp_path / "copy")
    same.delete(f"s3://{bucket}/key")
    same.delete(f"s3://{bucket}/key")
    same.close()
    assert (tmp_path / "copy").read_bytes() == b"data"
    assert objects.find(bucket, "key") == []
