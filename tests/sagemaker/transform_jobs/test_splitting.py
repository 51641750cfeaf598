"""Objects cut into request bodies."""

from __future__ import annotations

import math
import struct

import pytest

from matinee.sagemaker.transform_jobs.splitting import SplitError, bodies


def frame(payload: bytes, flag: int = 0) -> bytes:
    head = struct.pack("<II", 0xCED7230A, len(payload) | flag << 29)
    return head + payload + b"\0" * (-len(payload) % 4)


def tfrecord(payload: bytes) -> bytes:
    """Frame a payload of one byte or four; the length's check sum is CRC-32C, masked."""
    check = {1: 0x41DE7501, 4: 0x04524542}[len(payload)]
    return struct.pack("<QI", len(payload), check) + payload + b"sum!"


def cut(data: bytes, split_type: str, strategy: str, limit: float = 100) -> list[bytes]:
    return [bytes(body) for body in bodies(data, split_type, strategy, limit)]


@pytest.mark.parametrize(
    ("data", "blocks", "lines"),
    [
        (b"", [], []),
        (b"a\nb\n", [b"a\nb\n"], [b"a", b"b"]),
        (b"a\nb", [b"a\nb"], [b"a", b"b"]),
        (b"a\n\nb\n", [b"a\n\n", b"b\n"], [b"a", b"b"]),
        (b"aaa\nbb\nc", [b"aaa\n", b"bb\nc"], [b"aaa", b"bb", b"c"]),
    ],
)
def test_lines(data: bytes, blocks: list[bytes], lines: list[bytes]) -> None:
    assert cut(data, "Line", "MultiRecord", limit=4 if len(data) > 4 else 100) == blocks
    assert cut(data, "Line", "SingleRecord") == lines


def test_frames_stay_whole_and_fill_the_payload() -> None:
    one, two, three = frame(b"1234"), frame(b"12345678"), frame(b"x")
    assert [len(item) for item in (one, two, three)] == [12, 16, 12]
    data = one + two + three
    assert cut(data, "RecordIO", "MultiRecord", limit=28) == [one + two, three]
    assert cut(data, "RecordIO", "MultiRecord", limit=27) == [one, two, three]
    assert cut(data, "RecordIO", "MultiRecord", limit=40) == [data]
    assert cut(data, "RecordIO", "SingleRecord") == [b"1234", b"12345678", b"x"]
    assert cut(b"", "RecordIO", "MultiRecord") == []


def test_a_record_may_hold_the_magic_number() -> None:
    inner = frame(b"1234")
    assert cut(frame(inner), "RecordIO", "SingleRecord") == [inner]


def test_a_record_in_several_frames_is_one() -> None:
    data = frame(b"1234", 1) + frame(b"5678", 2) + frame(b"9", 3) + frame(b"x")
    assert cut(data, "RecordIO", "MultiRecord", limit=36) == [data[:36], frame(b"x")]
    magic = struct.pack("<I", 0xCED7230A)
    assert cut(data, "RecordIO", "SingleRecord") == [magic.join((b"1234", b"5678", b"9")), b"x"]


def test_tfrecords() -> None:
    one, two = tfrecord(b"1"), tfrecord(b"abcd")
    assert cut(one + two, "TFRecord", "MultiRecord", limit=37) == [one + two]
    assert cut(one + two, "TFRecord", "MultiRecord", limit=36) == [one, two]
    assert cut(one + two, "TFRecord", "SingleRecord") == [b"1", b"abcd"]
    assert cut(b"", "TFRecord", "SingleRecord") == []


def test_without_a_limit_nothing_is_cut() -> None:
    data = b"x" * 1000 + b"\n" + b"y"
    assert cut(data, "None", "MultiRecord", math.inf) == [data]
    assert cut(data, "Line", "MultiRecord", math.inf) == [data]
    assert cut(data, "Line", "SingleRecord", math.inf) == [b"x" * 1000, b"y"]


def test_a_whole_object_is_one_body() -> None:
    assert cut(b"a\nb", "None", "MultiRecord") == [b"a\nb"]
    assert cut(b"", "None", "MultiRecord") == []


@pytest.mark.parametrize(
    ("data", "split_type", "strategy", "said"),
    [
        (b"x" * 11, "None", "MultiRecord", "the object has 11 bytes, over the payload limit of 10"),
        (b"a\n" + b"x" * 11, "Line", "SingleRecord", "the line at byte 2 is over the payload"),
        (b"a\n" + b"x" * 11, "Line", "MultiRecord", "the line at byte 2 is over the payload"),
        (frame(b"1234"), "RecordIO", "MultiRecord", "record 0 at byte 0: it is over the payload"),
        (b"\0" * 8, "RecordIO", "MultiRecord", "it begins with 0x00000000 and not 0xced7230a"),
        (
            frame(b"") + b"123",
            "RecordIO",
            "MultiRecord",
            "record 1 at byte 8: only 3 bytes are left",
        ),
        (frame(b"1")[:-1], "RecordIO", "MultiRecord", "it needs 12 bytes, 11 are left"),
        (frame(b"", flag=1), "RecordIO", "SingleRecord", "record 0 at byte 0: only 0 bytes are"),
        (frame(b"", flag=2), "RecordIO", "SingleRecord", "its frames are not in order"),
        (frame(b"", flag=1) + frame(b""), "RecordIO", "MultiRecord", "frames are not in order"),
        (tfrecord(b"1")[:15], "TFRecord", "SingleRecord", "record 0 at byte 0: only 15 bytes"),
        (tfrecord(b"abcd")[:-1], "TFRecord", "SingleRecord", "it needs 20 bytes, 19 are left"),
        (b"\1" + tfrecord(b"1"), "TFRecord", "MultiRecord", "its length does not fit its check"),
        (tfrecord(b"1"), "TFRecord", "MultiRecord", "record 0 at byte 0: it is over the payload"),
    ],
)
def test_what_cannot_be_cut_is_refused_by_place(
    data: bytes, split_type: str, strategy: str, said: str
) -> None:
    with pytest.raises(SplitError, match=said):
        cut(data, split_type, strategy, limit=10)
