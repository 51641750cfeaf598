"""The objects jobs read and write, in any S3: list, download, upload, ask.

Failures come in three kinds, because a job's end depends on which it was: the object is not there,
S3 refuses, S3 cannot be reached (after a brief retry). A key becomes a file name only through
``relative_name`` and ``contained``, which refuse every key that would leave its folder.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self, TypeVar

import boto3
import botocore.loaders
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

MANIFEST_LIMIT_BYTES = 64 * 1024**2
# Long enough for an S3 server on this machine to be started again.
_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
_CHUNK_BYTES = 1024**2
Result = TypeVar("Result")
_URI = re.compile(r"s3://([^/]+)/?(.*)", re.DOTALL)
# In this thread: the transfer library's own threads would hold up the end of the process.
_TRANSFER = TransferConfig(use_threads=False)


class ObjectsError(Exception):
    """Something about an object went wrong; the message names it."""


class ObjectMissingError(ObjectsError):
    """The bucket or the object does not exist."""


class ObjectRefusedError(ObjectsError):
    """S3 answered, and refused: the key pair may not, or the request is wrong."""


class UnreachableError(ObjectsError):
    """S3 did not answer, or answered with an error of its own, several times in a row."""


class UnsafeKeyError(ObjectsError):
    """A key cannot become the name of a file inside a folder."""


class ManifestError(ObjectsError):
    """A manifest file is not what SageMaker's documentation of S3DataSource says."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it."""

    bucket: str
    key: str
    size: int
    etag: str = ""


@dataclass(frozen=True, slots=True)
class InputObject:
    """One object of a data source, and its name relative to that source.

    Attributes
    ----------
    size
        In bytes; None where nobody has asked S3 yet, as for what a manifest names.
    etag
        S3's; empty where nobody has asked.
    """

    bucket: str
    key: str
    name: str
    size: int | None = field(default=None, compare=False)
    etag: str = field(default="", compare=False)

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def parse_uri(uri: str) -> tuple[str, str]:
    """Split ``s3://bucket/key`` into bucket and key (which may be empty).

    Raises
    ------
    ValueError
        It is not an S3 URI.
    """
    found = _URI.fullmatch(uri)
    if not found:
        raise ValueError(f"{uri!r} is not an S3 URI (s3://bucket/key)")
    return found[1], found[2]


def join_uri(prefix: str, name: str) -> str:
    """Return the URI of ``name`` under a prefix, with one slash between them."""
    return f"{prefix.rstrip('/')}/{name}"


def relative_name(prefix: str, key: str) -> str:
    """Return the part of a key that names it below the prefix that found it.

    ``data/`` and ``data`` find ``data/part-0`` as ``part-0``; ``data/part`` finds it as ``part-0``
    too, because a prefix may end within a name.

    Raises
    ------
    UnsafeKeyError
        The name is empty, absolute, climbs out by ``..`` or cannot be a file's name.
    """
    if not prefix.endswith("/") and key.startswith(f"{prefix}/"):
        base = f"{prefix}/"
    else:
        base = prefix[: prefix.rfind("/") + 1]
    name = key.removeprefix(base)
    if not all(part != "." and _is_file_name(part) for part in name.split("/")):
        raise UnsafeKeyError(f"key {key!r} cannot be the name of a file below {prefix!r}")
    return name


def _is_file_name(segment: str) -> bool:
    try:
        encoded = os.fsencode(segment)
    except UnicodeEncodeError:
        return False
    return segment not in {"", ".."} and b"\0" not in encoded and len(encoded) <= 255


def contained(folder: Path, name: str) -> Path:
    """Return the path of a relative name inside a folder.

    Raises
    ------
    UnsafeKeyError
        It would lie outside, or cannot be a file's name.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or not all(map(_is_file_name, path.parts)):
        raise UnsafeKeyError(f"{name!r} is not a name inside a folder")
    return folder / path


@contextlib.contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        kind: type[ObjectsError] = UnreachableError if status >= 500 else ObjectRefusedError
        if status == 404:
            kind = ObjectMissingError
        raise kind(f"{uri}: {error}") from error
    except (ParamValidationError, UnicodeEncodeError) as error:
        # A bucket or a key that cannot be one; nobody has been asked.
        raise ObjectRefusedError(f"{uri!r}: {error}") from error
    except BotoCoreError as error:
        raise UnreachableError(f"{uri}: {error}") from error


@functools.cache
def _loader() -> botocore.loaders.Loader:
    # It keeps what it has read; without it, S3's model would be read anew for every role.
    return botocore.loaders.create_loader()


class _Given(CredentialProvider):  # type: ignore[misc]  # botocore is untyped
    """Finds the credentials it was given."""

    METHOD = "given"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> Credentials:
        return self._credentials


class Objects:
    """An S3 by its endpoint and one caller's keys; safe to use from many threads.

    Parameters
    ----------
    endpoint_url
        Where the S3 server listens; None for AWS.
    credentials
        What requests are signed with.
    region
        For which they are signed.
    sleep
        Waits for a number of seconds, between two tries to reach S3.
    """

    def __init__(
        self,
        *,
        endpoint_url: str | None,
        credentials: Credentials,
        region: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sleep = sleep
        self._endpoint_url = endpoint_url
        self._credentials = credentials
        self._region = region
        core = botocore.session.Session()
        core.register_component("data_loader", _loader())
        # The one way to give boto keys that renew themselves.
        core.register_component("credential_provider", CredentialResolver([_Given(credentials)]))
        session = boto3.Session(botocore_session=core, region_name=region)
        self._client: Any = session.client(
            "s3",
            endpoint_url=endpoint_url,
            config=Config(
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=32,
                retries={"mode": "standard", "total_max_attempts": 2},
                s3={"addressing_style": "path"} if endpoint_url else None,
            ),
        )

    def settings(self) -> dict[str, str | None]:
        """Return what `of_settings` makes the same S3 of in another process; it holds the keys."""
        keys = self._credentials.get_frozen_credentials()
        return {
            "endpoint_url": self._endpoint_url,
            "access_key": keys.access_key,
            "secret_key": keys.secret_key,
            "token": keys.token,
            "region": self._region,
        }

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Return the S3 of `settings`, until its keys expire."""
        keys = Credentials(settings["access_key"], settings["secret_key"], settings["token"])
        endpoint_url, region = settings["endpoint_url"], settings["region"]
        return cls(endpoint_url=endpoint_url, credentials=keys, region=region)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def find(self, bucket: str, prefix: str) -> list[StoredObject]:
        """Return every object whose key begins with a prefix, sorted by key.

        Raises
        ------
        ObjectMissingError, ObjectRefusedError, UnreachableError
        """

        def listing() -> list[StoredObject]:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": 1000}
            )
            return [
                StoredObject(bucket, item["Key"], item["Size"], item["ETag"].strip('"'))
                for page in pages
                for item in page.get("Contents", ())
            ]

        # Not every S3 server lists in byte order; the order of the files decides the training.
        found = self._patiently(f"s3://{bucket}/{prefix}", listing)
        return sorted(found, key=lambda item: item.key)

    def download(
        self, bucket: str, key: str, path: Path, *, check: Callable[[], None] = lambda: None
    ) -> None:
        """Write an object to a file, piece by piece.

        Parameters
        ----------
        check
            Called before every piece; what it raises ends the download.

        Raises
        ------
        ObjectMissingError, ObjectRefusedError, UnreachableError
        """

        with path.open("wb") as file:
            for chunk in self.chunks(bucket, key, check=check):
                file.write(chunk)

    def chunks(
        self, bucket: str, key: str, *, check: Callable[[], None] = lambda: None
    ) -> Iterator[bytes]:
        """Yield an object piece by piece; after a broken connection, from where it broke.

        Parameters
        ----------
        check
            Called before every piece; what it raises ends the download.

        Raises
        ------
        ObjectMissingError, ObjectRefusedError, UnreachableError
            ObjectRefusedError also if the object changes meanwhile.
        """
        uri, position, version = f"s3://{bucket}/{key}", 0, ""
        pauses = list(_PAUSES_SECONDS)
        while True:
            check()
            rest = {"Range": f"bytes={position}-", "IfMatch": version} if position else {}
            try:
                with _explained(uri):
                    answer = self._client.get_object(Bucket=bucket, Key=key, **rest)
                version = answer["ETag"]
                with contextlib.closing(answer["Body"]) as body:
                    pieces = body.iter_chunks(_CHUNK_BYTES)
                    while True:
                        with _explained(uri):
                            chunk = next(pieces, None)
                        if chunk is None:
                            return
                        position += len(chunk)
                        pauses = list(_PAUSES_SECONDS)
                        yield chunk
                        check()
            except UnreachableError:
                if not pauses:
                    raise
                self._sleep(pauses.pop(0))

    def read(self, bucket: str, key: str, *, limit: int) -> bytes:
        """Return a small object whole.

        Raises
        ------
        ObjectMissingError, ObjectRefusedError, UnreachableError
            ObjectRefusedError also if it is larger than ``limit`` bytes.
        """
        uri = f"s3://{bucket}/{key}"

        def get() -> bytes:
            answer = self._client.get_object(Bucket=bucket, Key=key)
            with answer["Body"] as body:
                if (size := answer["ContentLength"]) > limit:
                    raise ObjectRefusedError(f"{uri} has {size} bytes; at most {limit} are read")
                data: bytes = body.read()
            return data

        return self._patiently(uri, get)

    def upload(self, path: Path, uri: str) -> None:
        """Store a file as an object, whole or not at all, and make sure that it is there.

        Raises
        ------
        ObjectMissingError, ObjectRefusedError, UnreachableError
            ObjectMissingError also if S3 accepted it and then does not have it.
        """
        bucket, key = parse_uri(uri)

        def put() -> int:
            with path.open("rb") as file:
                self._client.upload_fileobj(file, bucket, key, Config=_TRANSFER)
            size: int = self._client.head_object(Bucket=bucket, Key=key)["ContentLength"]
            return size

        stored = self._patiently(uri, put)
        if stored != (size := path.stat().st_size):
            raise ObjectMissingError(f"{uri} has {stored} bytes in S3 after {size} were uploaded")

    def delete(self, uri: str) -> None:
        """Remove an object; one that is not there is removed already.

        Raises
        ------
        ObjectMissingError, ObjectRefusedError, UnreachableError
            ObjectMissingError if there is no such bucket.
        """
        bucket, key = parse_uri(uri)
        self._patiently(uri, lambda: self._client.delete_object(Bucket=bucket, Key=key))

    def _patiently(self, uri: str, call: Callable[[], Result]) -> Result:
        """Call until S3 answers. The client's own retries end with the first byte of a body."""
        for pause in _PAUSES_SECONDS:
            with contextlib.suppress(UnreachableError), _explained(uri):
                return call()
            self._sleep(pause)
        with _explained(uri):
            return call()

    def inputs(self, data_type: str, uri: str) -> list[InputObject]:
        """Return the objects of a data source in order, each with its name inside the source.

        Parameters
        ----------
        data_type
            ``S3Prefix`` or ``ManifestFile``.

        Raises
        ------
        ObjectMissingError
            No object is there.
        ManifestError, UnsafeKeyError, ObjectRefusedError, UnreachableError
        """
        bucket, prefix = parse_uri(uri)
        if data_type == "ManifestFile":
            found = self._manifest(bucket, prefix)
        else:
            found = [
                InputObject(bucket, item.key, relative_name(prefix, item.key), item.size, item.etag)
                for item in self.find(bucket, prefix)
                if not item.key.endswith("/")  # a console's "folder", not data
            ]
        if not found:
            raise ObjectMissingError(f"no object lies under {uri}")
        _refuse_clashes(found)
        return found

    def _manifest(self, bucket: str, key: str) -> list[InputObject]:
        uri = f"s3://{bucket}/{key}"
        try:
            entries = json.loads(self.read(bucket, key, limit=MANIFEST_LIMIT_BYTES))
            first, *names = entries
            data_bucket, prefix = parse_uri(first["prefix"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ManifestError(
                f'{uri} is not a manifest ([{{"prefix": "s3://bucket/prefix"}}, "key", ..]): '
                f"{error}"
            ) from error
        if not all(isinstance(name, str) for name in names):
            raise ManifestError(f"{uri}: every entry after the first must be a string")
        return [InputObject(data_bucket, prefix + name, relative_name("", name)) for name in names]


def _refuse_clashes(found: list[InputObject]) -> None:
    keys = {item.name: item.key for item in found}
    for item in found:
        if keys[item.name] != item.key:
            raise UnsafeKeyError(
                f"keys {item.key!r} and {keys[item.name]!r} are both named {item.name!r}"
            )
        for parent in PurePosixPath(item.name).parents:
            if str(parent) in keys:
                raise UnsafeKeyError(
                    f"key {keys[str(parent)]!r} is a file and, for {item.key!r}, also a folder"
                )
