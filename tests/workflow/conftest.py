"""What the workflow's tests share: the environment that every client needs, and small ratings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.conftest import ObjectStore, find_by

Rating = tuple[str, str, str]


@pytest.fixture
def s3(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the object store, which the steps find too."""
    find_by(object_store.environment, monkeypatch)
    client = object_store.client()
    yield client
    client.close()


@pytest.fixture
def put(s3: Any, bucket: str) -> Callable[[str, bytes | str], str]:
    """Put an object into the test's bucket; return its URI."""

    def put_object(key: str, body: bytes | str) -> str:
        s3.put_object(Bucket=bucket, Key=key, Body=body.encode() if isinstance(body, str) else body)
        return f"s3://{bucket}/{key}"

    return put_object


def as_csv(ratings: Sequence[Sequence[str]], header: str = "user_id,item_id,rating") -> str:
    """Write ratings as CSV, by default of a layout that needs no mapping."""
    return "\n".join([header, *(",".join(rating) for rating in ratings)]) + "\n"


def grid(customers: int, videos: int) -> list[Rating]:
    """Let every customer rate every video, with stars that depend on both."""
    return [
        (f"c{customer}", f"v{video}", str(1 + (customer + 2 * video) % 5))
        for customer in range(customers)
        for video in range(videos)
    ]
