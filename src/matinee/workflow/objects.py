"""S3 as the steps use it: URIs in and out, whole objects, JSON documents, a folder at a time.

Every object is written by one upload, so readers see all of it or none. Refuses URIs that are not
`s3://bucket/key`, and turns "not found" and "forbidden" into an `ObjectsError` that names the URI;
what may pass by itself (a lost connection, a busy server) stays boto's own error.
"""

from __future__ import annotations

import builtins
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
from botocore.exceptions import ClientError

from matinee.workflow.errors import ObjectsError

_STREAM_BYTES = 2**20
_SMALL_BYTES = 2**23


def split_uri(uri: str) -> tuple[str, str]:
    """Split `s3://bucket/key` into bucket and key; the key may be empty.

    Raises
    ------
    ObjectsError
        If the URI has another scheme or no bucket.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ObjectsError(f"{uri!r} is not an S3 URI: it must look like s3://bucket/key")
    return bucket, key


@contextmanager
def _naming(uri: str, deed: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (403, 404):
            raise ObjectsError(f"cannot {deed} {uri}: {error}") from error
        raise


class Objects:
    """The S3 operations of a step, over one client."""

    def __init__(self, client: Any | None = None) -> None:
        self._client = client or boto3.client("s3")

    def find(self, uri: str) -> list[str]:
        """Return the URI itself if it is an object, else the objects of the folder, by key.

        A folder's markers and the files that Spark and Hive hide (`_SUCCESS`, `.part.crc`) are left
        out.

        Raises
        ------
        ObjectsError
            If there is neither an object nor a folder, or the bucket cannot be read.
        """
        bucket, key = split_uri(uri)
        folder = key if key.endswith("/") or not key else f"{key}/"
        with _naming(uri, "read"):
            if not key.endswith("/") and self._described(bucket, key):
                return [uri]
            found = [
                f"s3://{bucket}/{name}"
                for name in self._keys(bucket, folder)
                if not name.endswith("/") and name.rpartition("/")[2][0] not in "_."
            ]
        if not found:
            raise ObjectsError(f"there is no object {uri}, nor any object under {uri.rstrip('/')}/")
        return found

    def exists(self, uri: str) -> bool:
        """Whether there is such an object."""
        with _naming(uri, "read"):
            return self._described(*split_uri(uri)) is not None

    def stat(self, uri: str) -> builtins.list[tuple[str, int, str]]:
        """Return URI, size in bytes and ETag of an object, or of all below a folder, by key.

        Raises
        ------
        ObjectsError
            If there is neither an object nor a folder, or the bucket cannot be read.
        """
        bucket, key = split_uri(uri)
        with _naming(uri, "read"):
            found = [
                (f"s3://{bucket}/{item['Key']}", int(item["Size"]), str(item["ETag"]))
                for item in self._items(bucket, key.rstrip("/"))
                if item["Key"] == key or item["Key"].startswith(f"{key.rstrip('/')}/".lstrip("/"))
            ]
        if not found:
            raise ObjectsError(f"there is no object {uri}, nor any object under {uri.rstrip('/')}/")
        return found

    def folders(self, folder: str) -> builtins.list[str]:
        """Return the URIs of the folders in a folder, by name, without a last slash."""
        bucket, key = split_uri(folder)
        pages = self._client.get_paginator("list_objects_v2")
        with _naming(folder, "list"):
            return [
                f"s3://{bucket}/{common['Prefix'].rstrip('/')}"
                for page in pages.paginate(
                    Bucket=bucket, Prefix=f"{key.rstrip('/')}/" if key else "", Delimiter="/"
                )
                for common in page.get("CommonPrefixes", ())
            ]

    def list(self, folder: str) -> list[str]:
        """Return the URIs of all objects below a folder, by key."""
        bucket, key = split_uri(folder)
        with _naming(folder, "list"):
            return [f"s3://{bucket}/{name}" for name in self._keys(bucket, f"{key.rstrip('/')}/")]

    def modified(self, uri: str) -> datetime | None:
        """Return when an object was written; None if it is not there."""
        bucket, key = split_uri(uri)
        with _naming(uri, "read"):
            described = self._described(bucket, key)
        return None if described is None else cast(datetime, described["LastModified"])

    def download(self, uri: str, path: Path) -> None:
        """Copy an object into a file."""
        bucket, key = split_uri(uri)
        with _naming(uri, "read"):
            self._client.download_file(bucket, key, str(path))

    def upload(self, path: Path, uri: str) -> None:
        """Copy a file into an object, whole or not at all."""
        bucket, key = split_uri(uri)
        with _naming(uri, "write"):
            if path.stat().st_size > _SMALL_BYTES:
                self._client.upload_file(str(path), bucket, key)
            else:
                # upload_file would do this too, but start its threads anew for each object.
                with path.open("rb") as body:
                    self._client.put_object(Bucket=bucket, Key=key, Body=body)

    def open(self, uri: str) -> BinaryIO:
        """Return an object's bytes as a stream, which whoever asked for it closes."""
        bucket, key = split_uri(uri)
        with _naming(uri, "read"):
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
        return cast(BinaryIO, io.BufferedReader(body, _STREAM_BYTES))

    def read(self, uri: str) -> bytes:
        """Return an object's bytes."""
        bucket, key = split_uri(uri)
        with _naming(uri, "read"):
            body: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
            return body

    def read_json(self, uri: str) -> Any:
        """Return the JSON document in an object."""
        body = self.read(uri)
        try:
            return json.loads(body)
        except ValueError as error:
            raise ObjectsError(f"{uri} is not a JSON document: {error}") from error

    def write_json(self, document: Any, uri: str) -> None:
        """Write a JSON document, indented, names in the order given."""
        body = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        self._write_text(body, uri, "application/json")

    def write_html(self, page: str, uri: str) -> None:
        """Write a page that a browser shows instead of saving it."""
        self._write_text(page, uri, "text/html; charset=utf-8")

    def delete(self, uri: str) -> None:
        """Delete an object, if it is there."""
        bucket, key = split_uri(uri)
        with _naming(uri, "delete"):
            self._client.delete_object(Bucket=bucket, Key=key)

    def delete_folder(self, folder: str) -> int:
        """Delete all objects below a folder; return how many there were."""
        _, key = split_uri(folder)
        if not key.strip("/"):
            raise ObjectsError(f"{folder} is a whole bucket: matinee empties folders only")
        uris = self.list(folder)
        for uri in uris:
            self.delete(uri)
        return len(uris)

    def _write_text(self, text: str, uri: str, content_type: str) -> None:
        bucket, key = split_uri(uri)
        with _naming(uri, "write"):
            self._client.put_object(
                Bucket=bucket, Key=key, Body=text.encode(), ContentType=content_type
            )

    def _described(self, bucket: str, key: str) -> dict[str, Any] | None:
        try:
            return cast("dict[str, Any]", self._client.head_object(Bucket=bucket, Key=key))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return None
            raise

    def _keys(self, bucket: str, prefix: str) -> Iterator[str]:
        return (item["Key"] for item in self._items(bucket, prefix))

    def _items(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            yield from page.get("Contents", ())
