"""MovieLens-100K: the real ratings by every road, and nothing else than the real ratings."""

from __future__ import annotations

import gzip
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from matinee.datasets.movielens import (
    COLUMNS,
    GENRES,
    MEMBER_LIMIT_BYTES,
    DatasetError,
    GroupLens,
    MovieLens,
    RecBole,
    load,
)

OFFLINE = {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache into which the data set was really fetched, from whichever source is in reach."""
    folder = tmp_path_factory.mktemp("movielens")
    load(folder)
    return folder


class Archive(BaseHTTPRequestHandler):
    """Serves one archive at every path."""

    content: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def publisher() -> Iterator[str]:
    """The URL of a web server that answers with `Archive.content`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Archive) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/ml-100k.zip"
        server.shutdown()
        thread.join()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def items_of(dataset: MovieLens) -> bytes:
    """Write titles and genres as GroupLens's `u.item` has them."""
    lines = []
    for number, title in dataset.titles.items():
        flags = "|".join(str(int(genre in dataset.genres[number])) for genre in GENRES)
        lines.append(f"{number}|{title}|01-Jan-1995||http://us.imdb.com/M/title|{flags}\n")
    return "".join(lines).encode("latin-1")


def test_genres_are_all_those_of_the_data_set(cache: Path) -> None:
    dataset = load(cache)
    assert dataset.genres["1"] == ("Animation", "Children's", "Comedy")
    assert {genre for genres in dataset.genres.values() for genre in genres} == set(GENRES)
    assert dataset.genres.keys() == dataset.titles.keys()
    assert all(dataset.genres.values())


def test_reviews_have_the_layout_of_amazon(cache: Path) -> None:
    reviews = load(cache).reviews()
    lines = gzip.decompress(reviews).decode().split("\n")
    header, first = lines[0].split("\t"), lines[1].split("\t")
    assert header == list(COLUMNS)
    assert dict(zip(header, first, strict=True)) == {
        "marketplace": "",
        "customer_id": "196",
        "review_id": "R000001",
        "product_id": "242",
        "product_parent": "242",
        "product_title": "Kolya (1996)",
        "product_category": "Comedy",
        "star_rating": "3",
        "helpful_votes": "0",
        "total_votes": "0",
        "vine": "N",
        "verified_purchase": "N",
        "review_headline": "",
        "review_body": "",
        "review_date": "1997-12-04",
    }
    assert len(lines) == 100_002
    assert lines[-1] == ""
    assert {line.count("\t") for line in lines[:-1]} == {14}
    assert load(cache).reviews() == reviews


def test_the_cache_needs_no_network(cache: Path) -> None:
    sources = (GroupLens("http://127.0.0.1:1/"), RecBole(OFFLINE))
    assert load(cache, sources=sources) == load(cache)


def test_the_archive_of_grouplens_is_read(cache: Path, publisher: str, tmp_path: Path) -> None:
    dataset = load(cache)
    members = {"ml-100k/u.data": dataset.ratings, "ml-100k/u.item": items_of(dataset)}
    Archive.content = zipped(members)
    assert load(tmp_path, sources=(GroupLens(publisher),)) == dataset
    assert (tmp_path / "ml-100k.zip").read_bytes() == Archive.content


def test_other_ratings_are_refused(publisher: str, tmp_path: Path) -> None:
    members = {
        "ml-100k/u.data": b"196\t242\t5\t881250949\n",
        "ml-100k/u.item": b"242|Kolya|||" + b"|0" * 19 + b"\n",
    }
    Archive.content = zipped(members)
    with pytest.raises(
        DatasetError, match=r"its ratings have sha256 [0-9a-f]{64}, expected 06416e"
    ):
        load(tmp_path, sources=(GroupLens(publisher),))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>sign in</html>", "ml-100k.zip is damaged: File is not a zip file"),
        (zipped({"README": b""}), "it holds no ml-100k/u.data"),
        (
            zipped({"ml-100k/u.data": bytes(MEMBER_LIMIT_BYTES + 1)}),
            f"ml-100k/u.data is larger than {MEMBER_LIMIT_BYTES} bytes",
        ),
    ],
)
def test_another_archive_is_refused(
    publisher: str, tmp_path: Path, content: bytes, reason: str
) -> None:
    Archive.content = content
    with pytest.raises(DatasetError, match=reason):
        load(tmp_path, sources=(GroupLens(publisher),))
    assert list(tmp_path.iterdir()) == []


def test_another_wheel_of_that_name_is_refused(tmp_path: Path) -> None:
    metadata = b"Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n"
    wheel = {
        "recbole-1.2.1.dist-info/METADATA": metadata,
        "recbole-1.2.1.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
        "recbole-1.2.1.dist-info/RECORD": b"",
    }
    (tmp_path / RecBole.archive).write_bytes(zipped(wheel))
    source = RecBole({**OFFLINE, "PIP_FIND_LINKS": str(tmp_path)})
    with pytest.raises(DatasetError, match=f"has sha256 [0-9a-f]+, expected {RecBole.sha256}"):
        load(tmp_path / "cache", sources=(source,))


def test_offline_the_error_names_every_source_and_its_reason(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/ml-100k.zip"
    with pytest.raises(DatasetError) as caught:
        load(tmp_path, sources=(GroupLens(url), RecBole(OFFLINE)))
    message = str(caught.value)
    assert f"{url}: [Errno 111] Connection refused" in message
    assert "recbole==1.2.1: ERROR: No matching distribution found for recbole==1.2.1" in message
    assert f"put it into {tmp_path}" in message


def test_a_damaged_cache_is_fetched_again(cache: Path, publisher: str, tmp_path: Path) -> None:
    dataset: MovieLens = load(cache)
    members = {"ml-100k/u.data": dataset.ratings, "ml-100k/u.item": items_of(dataset)}
    Archive.content = zipped(members)
    (tmp_path / "ml-100k.zip").write_bytes(b"cut short")
    assert load(tmp_path, sources=(GroupLens(publisher),)) == dataset
