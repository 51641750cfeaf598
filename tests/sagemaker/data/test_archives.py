"""Model archives: the same bytes for the same files, nothing outside, no bombs."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from matinee.sagemaker.data.archives import ArchiveError, Limits, contents, pack, unpack


def archive_of(path: Path, *members: tarfile.TarInfo, content: bytes = b"") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "model").write_bytes(b"\0\1\2")
    (source / "sub" / "run").write_text("#!")
    (source / "sub" / "run").chmod(0o755)
    pack(contents({"model": source}), tmp_path / "a.tar.gz")
    target.mkdir()
    unpack(tmp_path / "a.tar.gz", target)
    assert (target / "model").read_bytes() == b"\0\1\2"
    assert os.access(target / "sub" / "run", os.X_OK)
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        assert tar.getnames() == ["model", "sub/run"]


def test_the_bytes_do_not_tell_who_packed_when(tmp_path: Path) -> None:
    names = ["b", "a", "c/d"]
    archives = []
    for folder, order, moment in (("one", names, 1), ("two", names[::-1], 1_000_000_000)):
        for name in order:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            os.utime(path, (moment, moment))
        files = contents({"model": tmp_path / folder})
        pack(files, tmp_path / f"{folder}.tar.gz")
        archives.append((tmp_path / f"{folder}.tar.gz").read_bytes())
    assert archives[0] == archives[1]


def test_a_link_is_not_packed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(ArchiveError, match="'link' is neither a file nor a folder"):
        contents({"model": folder})


def test_folders_are_put_together(tmp_path: Path) -> None:
    for name in ("one/a", "two/b/c"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.touch()
    found = contents({name: tmp_path / name for name in ("one", "two", "missing")})
    assert found == {"a": tmp_path / "one/a", "b/c": tmp_path / "two/b/c"}


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("a", "a", "both one and two have a file 'a'"),
        ("a", "a/b", "'a' is a file of one and a folder of two"),
        ("a/b", "a", "'a' is a file of two and a folder of one"),
    ],
)
def test_two_of_one_name_are_refused(tmp_path: Path, first: str, second: str, said: str) -> None:
    for folder, name in (("one", first), ("two", second)):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True)
        path.touch()
    with pytest.raises(ArchiveError, match=said):
        contents({"one": tmp_path / "one", "two": tmp_path / "two"})


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (member("../outside"), "'../outside' would lie outside"),
        (member("/etc/outside"), "'/etc/outside' would lie outside"),
        (member("sub/../../outside"), "would lie outside"),
        (member("a" * 256), "would lie outside of the archive, or cannot be a file's name"),
        (member("link", tarfile.SYMTYPE, "/etc"), "'link' is neither a plain file nor a folder"),
        (member("link", tarfile.LNKTYPE, "model"), "'link' is neither a plain file nor a folder"),
        (member("pipe", tarfile.FIFOTYPE), "'pipe' is neither a plain file nor a folder"),
        (member("model"), "'model' is there twice"),
        (member("model/below"), "'model/below' is there twice"),
    ],
)
def test_an_unsafe_member_is_refused(tmp_path: Path, bad: tarfile.TarInfo, said: str) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", member("model"), bad)
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    with pytest.raises(ArchiveError, match=said):
        unpack(archive, folder)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        *("a.tar.gz", "deep", "folder", "model")
    ]


def test_an_archive_that_grows_too_much_is_refused_early(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", member("zeros"), content=bytes(1 << 22))
    limits = Limits(ratio=10, ratio_from_bytes=1 << 20)
    with pytest.raises(ArchiveError, match="the archive unpacks to over 1048576 bytes"):
        unpack(archive, tmp_path, limits)
    assert (tmp_path / "zeros").stat().st_size <= 1 << 20


def test_an_archive_of_too_many_members_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", member("a"), member("b"), member("c"))
    with pytest.raises(ArchiveError, match="over 2 members"):
        unpack(archive, tmp_path, Limits(members=2))


@pytest.mark.parametrize(
    "data", [b"", b"no archive", gzip.compress(b"no tar", mtime=0), b"\x1f\x8b\x08\0"]
)
def test_a_damaged_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(data)
    with pytest.raises(ArchiveError, match=r"not a .tar.gz archive, or a damaged one"):
        unpack(tmp_path / "a.tar.gz", tmp_path)


def test_a_torn_archive_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.tar.gz", member("model"), content=os.urandom(10_000))
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(ArchiveError, match="a damaged one"):
        unpack(archive, tmp_path)
