"""MovieLens-100K: 100,000 real ratings, in the layout of the Amazon Customer Reviews data set.

It comes from GroupLens, or, where that is out of reach, from the copy in the wheel of RecBole. Both
must hold the same ratings, to the byte. Its terms of use forbid passing it on, so matinee does not
carry it: it is fetched on the user's own machine and kept in a cache there.
"""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import httpx

NOTICE = """\
MovieLens-100K is by GroupLens Research, University of Minnesota. It may be used for research; it
may not be redistributed, nor used for commercial ends, without their permission, and its use must
be acknowledged: F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM
TiiS 5 (4), 2015, https://doi.org/10.1145/2827872.
Terms: https://grouplens.org/datasets/movielens/100k/"""

RATINGS_SHA256 = "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"
ARCHIVE_LIMIT_BYTES = 16 * 2**20
MEMBER_LIMIT_BYTES = 4 * 2**20
PIP_LIMIT_S = 180
# Of `u.item`, whose last columns are flags of them: `u.genre`.
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip

# "Amazon Customer Reviews": the header of every file of that data set.
COLUMNS = (
    "marketplace",
    "customer_id",
    "review_id",
    "product_id",
    "product_parent",
    "product_title",
    "product_category",
    "star_rating",
    "helpful_votes",
    "total_votes",
    "vine",
    "verified_purchase",
    "review_headline",
    "review_body",
    "review_date",
)


class DatasetError(RuntimeError):
    """A data set could not be had, or is not what it should be."""


@dataclass(frozen=True, slots=True)
class MovieLens:
    """The ratings as GroupLens's `u.data` (user, item, rating, timestamp by tabs), and titles and
    genres by item.
    """

    ratings: bytes
    titles: Mapping[str, str]
    genres: Mapping[str, tuple[str, ...]]

    def reviews(self) -> bytes:
        """Return the ratings as a gzipped TSV of 15 columns with a header, in their order.

        Reviews have numbers for ids and no text, votes nor marketplace; a product's category is its
        genres, such as `Animation|Children's|Comedy`. Same ratings, same bytes.
        """
        lines = ["\t".join(COLUMNS)]
        for number, line in enumerate(self.ratings.decode("ascii").splitlines(), start=1):
            user, item, stars, seconds = line.split("\t")
            row = dict.fromkeys(COLUMNS, "") | {
                "customer_id": user,
                "review_id": f"R{number:06d}",
                "product_id": item,
                "product_parent": item,
                "product_title": self.titles[item],
                "product_category": "|".join(self.genres[item]),
                "star_rating": stars,
                "helpful_votes": "0",
                "total_votes": "0",
                "vine": "N",
                "verified_purchase": "N",
                "review_date": datetime.fromtimestamp(int(seconds), UTC).date().isoformat(),
            }
            lines.append("\t".join(row.values()))
        return gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)


class Source(Protocol):
    """One place that the data set can come from."""

    @property
    def archive(self) -> str:
        """The name of its file in the cache."""

    @property
    def origin(self) -> str:
        """Where that is, for messages."""

    def fetch(self, target: Path) -> None:
        """Download the archive, or raise `DatasetError`."""

    def parse(self, archive: Path) -> MovieLens:
        """Read the archive."""


@dataclass(frozen=True, slots=True)
class GroupLens:
    """The publisher's own archive."""

    url: str = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
    archive = "ml-100k.zip"

    @property
    def origin(self) -> str:
        """Its URL."""
        return self.url

    def fetch(self, target: Path) -> None:
        """Download it, at most 16 MiB."""
        size = 0
        try:
            timeout = httpx.Timeout(15.0, connect=5.0)
            with httpx.stream("GET", self.url, timeout=timeout) as answer, target.open("wb") as out:
                answer.raise_for_status()
                for chunk in answer.iter_bytes():
                    size += len(chunk)
                    if size > ARCHIVE_LIMIT_BYTES:
                        raise DatasetError(f"answered more than {ARCHIVE_LIMIT_BYTES} bytes")
                    out.write(chunk)
        except httpx.HTTPError as error:
            raise DatasetError(str(error) or type(error).__name__) from error

    def parse(self, archive: Path) -> MovieLens:
        """Read `u.data` and `u.item` (Latin-1: `id|title|date||address|`, genres' flags)."""
        with zipfile.ZipFile(archive) as members:
            ratings = _read_member(members, "ml-100k/u.data")
            items = _read_member(members, "ml-100k/u.item").decode("latin-1")
        # Not splitlines(): Latin-1 text may hold bytes that it takes for ends of lines.
        rows = [line.rstrip("\r").split("|") for line in items.split("\n") if line]
        genres = {
            row[0]: tuple(genre for genre, flag in zip(GENRES, row[5:], strict=True) if flag == "1")
            for row in rows
        }
        return MovieLens(ratings, {row[0]: row[1] for row in rows}, genres)


@dataclass(frozen=True, slots=True)
class RecBole:
    """The copy in RecBole's wheel, from the package index that pip is configured for.

    Parameters
    ----------
    environment
        Of pip; None for this process's own.
    """

    environment: Mapping[str, str] | None = None
    requirement = "recbole==1.2.1"
    sha256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
    archive = "recbole-1.2.1-py3-none-any.whl"

    @property
    def origin(self) -> str:
        """How it is fetched."""
        return f"pip download {self.requirement}"

    def fetch(self, target: Path) -> None:
        """Let pip download this one wheel and nothing that it depends on."""
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            command = [sys.executable, "-m", "pip", "download", "--no-input", "--quiet"]
            command += ["--disable-pip-version-check", "--retries=1", "--no-deps"]
            command += ["--only-binary=:all:", f"--dest={folder}", self.requirement]
            try:
                done = subprocess.run(  # noqa: S603 -- a fixed list of arguments
                    command,
                    env=None if self.environment is None else dict(self.environment),
                    capture_output=True,
                    text=True,
                    timeout=PIP_LIMIT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise DatasetError(f"pip was not done after {PIP_LIMIT_S} s") from error
            if done.returncode != 0:
                reasons = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
                reason = reasons[-1] if reasons else done.stderr.strip() or "pip failed"
                raise DatasetError(reason)
            wheel = Path(folder) / self.archive
            if not wheel.exists():
                raise DatasetError(f"pip did not download {self.archive}")
            wheel.replace(target)

    def parse(self, archive: Path) -> MovieLens:
        """Read `ml-100k.inter` and `ml-100k.item` back into GroupLens's form."""
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != self.sha256:
            raise DatasetError(f"{self.archive} has sha256 {found}, expected {self.sha256}")
        folder = "recbole/dataset_example/ml-100k"
        with zipfile.ZipFile(archive) as members:
            ratings = _read_member(members, f"{folder}/ml-100k.inter")
            items = _read_member(members, f"{folder}/ml-100k.item").decode()
        titles, genres = {}, {}
        for line in items.split("\n")[1:]:
            if line:
                number, title, year, classes = line.split("\t")
                genres[number] = tuple(classes.split(" "))
                # RecBole parted titles from years; the one film without either is misspelt there.
                titles[number] = "unknown" if year == "unkonwn" else f"{title} ({year})"
        return MovieLens(ratings.split(b"\n", 1)[1], titles, genres)


SOURCES: tuple[Source, ...] = (GroupLens(), RecBole())


def load(
    cache: Path,
    *,
    sources: tuple[Source, ...] = SOURCES,
    report: Callable[[str], None] = lambda _: None,
) -> MovieLens:
    """Return MovieLens-100K from the cache, or fetch it into the cache.

    Parameters
    ----------
    cache
        A folder for the archives.
    sources
        Where to look, best first.
    report
        Told what is being tried.

    Raises
    ------
    DatasetError
        Saying what was tried, and why it failed, source by source.
    """
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    tried = []
    for source in sources:
        archive = cache / source.archive
        if archive.exists():
            try:
                return _parse(source, archive)
            except DatasetError as error:
                tried.append(f"  {archive}: {error}")
    for source in sources:
        report(f"fetching MovieLens-100K: {source.origin}")
        try:
            return _fetch(source, cache / source.archive)
        except DatasetError as error:
            tried.append(f"  {source.origin}: {error}")
    raise DatasetError(
        "MovieLens-100K is not to be had:\n"
        + "\n".join(tried)
        + f"\nDownload {SOURCES[0].origin} elsewhere and put it into {cache}, or name ratings of"
        " your own with `matinee run --ratings FILE`."
    )


def _fetch(source: Source, archive: Path) -> MovieLens:
    partial = archive.with_name(archive.name + ".partial")
    try:
        source.fetch(partial)
        dataset = _parse(source, partial)
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
    return dataset


def _parse(source: Source, archive: Path) -> MovieLens:
    try:
        dataset = source.parse(archive)
    except (zipfile.BadZipFile, ValueError, IndexError) as error:
        raise DatasetError(f"{source.archive} is damaged: {error}") from error
    found = hashlib.sha256(dataset.ratings).hexdigest()
    if found != RATINGS_SHA256:
        raise DatasetError(f"its ratings have sha256 {found}, expected {RATINGS_SHA256}")
    return dataset


def _read_member(members: zipfile.ZipFile, name: str) -> bytes:
    """Read a member of an archive, at most 4 MiB whatever its directory says."""
    try:
        with members.open(name) as member:
            content = member.read(MEMBER_LIMIT_BYTES + 1)
    except KeyError as error:
        raise DatasetError(f"it holds no {name}") from error
    if len(content) > MEMBER_LIMIT_BYTES:
        raise DatasetError(f"{name} is larger than {MEMBER_LIMIT_BYTES} bytes")
    return content
