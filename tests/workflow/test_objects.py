"""S3 as the steps use it, against a real S3 server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from matinee.workflow.errors import ObjectsError
from matinee.workflow.objects import Objects, split_uri

Put = Callable[[str, bytes | str], str]


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "bucket/key", "s3://", "s3:///key", ""])
def test_only_s3_uris_are_taken(uri: str) -> None:
    with pytest.raises(ObjectsError, match="is not an S3 URI"):
        split_uri(uri)


def test_an_object_is_found_as_itself(put: Put) -> None:
    uri = put("ratings.csv", "a")
    put("ratings.csv.old", "b")
    assert Objects().find(uri) == [uri]


def test_a_folder_is_found_as_its_objects_but_not_its_neighbours(put: Put, bucket: str) -> None:
    parts = [put("ratings/part-1", "a"), put("ratings/deep/part-2", "b")]
    put("ratings/_SUCCESS", "")
    put("ratings/.part-1.crc", "x")
    put("ratings-old/part-1", "c")
    for folder in (f"s3://{bucket}/ratings", f"s3://{bucket}/ratings/"):
        assert sorted(Objects().find(folder)) == sorted(parts)


def test_what_is_not_there_is_named(s3: Any, bucket: str) -> None:
    del s3
    with pytest.raises(ObjectsError, match=f"there is no object s3://{bucket}/gone"):
        Objects().find(f"s3://{bucket}/gone")
    with pytest.raises(ObjectsError, match=f"cannot read s3://{bucket}/gone"):
        Objects().read(f"s3://{bucket}/gone")
    with pytest.raises(ObjectsError, match="cannot read s3://no-such-bucket-here/x"):
        Objects().find("s3://no-such-bucket-here/x")


def test_a_missing_object_leaves_no_file(s3: Any, bucket: str, tmp_path: Path) -> None:
    del s3
    with pytest.raises(ObjectsError, match="cannot read"):
        Objects().download(f"s3://{bucket}/gone", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_wrong_keys_are_refused_by_name(s3: Any, bucket: str) -> None:
    del s3
    client = boto3.client("s3", aws_access_key_id="unknown", aws_secret_access_key="wrong")
    with pytest.raises(ObjectsError, match=f"cannot list s3://{bucket}/runs"):
        Objects(client).list(f"s3://{bucket}/runs")
    client.close()


def test_files_and_documents_go_there_and_back(s3: Any, bucket: str, tmp_path: Path) -> None:
    del s3
    objects = Objects()
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"\x00\xff")
    objects.upload(source, f"s3://{bucket}/a")
    objects.download(f"s3://{bucket}/a", target)
    assert target.read_bytes() == b"\x00\xff"
    objects.write_json({"title": "Amélie"}, f"s3://{bucket}/b.json")
    assert objects.read_json(f"s3://{bucket}/b.json") == {"title": "Amélie"}
    with pytest.raises(ObjectsError, match=f"s3://{bucket}/a is not a JSON document"):
        objects.read_json(f"s3://{bucket}/a")


def test_deleting_a_folder_spares_its_neighbours(put: Put, bucket: str) -> None:
    put("runs/matinee-1/prepare/a", "a")
    put("runs/matinee-1/prepare/b/c", "b")
    spared = [put("runs/matinee-1/prepared", "x"), put("runs/matinee-10/prepare/a", "x")]
    objects = Objects()
    assert objects.delete_folder(f"s3://{bucket}/runs/matinee-1/prepare") == 2
    assert objects.delete_folder(f"s3://{bucket}/runs/matinee-1/prepare") == 0
    assert sorted(objects.list(f"s3://{bucket}/runs")) == sorted(spared)


@pytest.mark.parametrize("folder", ["s3://{}", "s3://{}/", "s3://{}//"])
def test_a_whole_bucket_is_never_emptied(put: Put, bucket: str, folder: str) -> None:
    uri = put("a", "a")
    with pytest.raises(ObjectsError, match="is a whole bucket"):
        Objects().delete_folder(folder.format(bucket))
    assert Objects().find(uri) == [uri]
