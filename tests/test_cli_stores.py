"""Files of a command, on this machine and in a real S3: there as a whole, or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from matinee.cli.stores import S3, LocalFiles, Store
from tests.conftest import ObjectStore

Place = tuple[Store, str, Callable[[], list[str]]]


class Failing(io.RawIOBase):
    """Twenty MiB, more than one part of an upload, and then an error."""

    def __init__(self) -> None:
        self._rest = 20 * 2**20

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            raise RuntimeError("no more")
        size = min(self._rest, len(buffer))
        self._rest -= size
        return size


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A store, a folder of it, and what lists the files there."""
    if request.param == "local":
        yield LocalFiles(), str(tmp_path), lambda: [path.name for path in tmp_path.rglob("*.*")]
        return
    object_store: ObjectStore = request.getfixturevalue("object_store")
    bucket: str = request.getfixturevalue("bucket")
    client = object_store.client()

    def names() -> list[str]:
        found = client.list_objects_v2(Bucket=bucket).get("Contents", ())
        return [item["Key"].rpartition("/")[2] for item in found]

    yield S3(client), f"s3://{bucket}/folder", names
    client.close()


def test_a_file_is_written_and_replaced(place: Place) -> None:
    store, folder, names = place
    assert not store.any_below(f"{folder}/new")
    assert store.write(io.BytesIO(b"four"), f"{folder}/new/a.txt") == 4
    assert store.write(io.BytesIO(b"seven 7"), f"{folder}/new/a.txt") == 7
    assert names() == ["a.txt"]
    assert store.any_below(f"{folder}/new")


def test_what_breaks_off_leaves_nothing(place: Place) -> None:
    store, folder, names = place
    with pytest.raises(RuntimeError, match="no more"):
        store.write(io.BufferedReader(Failing(), 2**20), f"{folder}/new/a.txt")
    assert names() == []


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(click.ClickException, match=f"cannot write {tmp_path}/file/a.txt: "):
        LocalFiles().write(io.BytesIO(b""), f"{tmp_path}/file/a.txt")
