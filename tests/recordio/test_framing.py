"""Frames are found by their lengths, and a file whose frames don't close is refused."""

import struct

import pytest

from matinee.recordio import RecordIOError, frame, frames

MAGIC = bytes.fromhex("0a23d7ce")


def test_a_frame_is_magic_length_payload_padding() -> None:
    assert frame(b"abcde") == MAGIC + b"\5\0\0\0abcde\0\0\0"


def test_no_padding_after_a_multiple_of_four() -> None:
    assert frame(b"abcd") == MAGIC + b"\4\0\0\0abcd"


def test_frames_begin_where_the_last_one_ends() -> None:
    data = frame(b"a") + frame(b"") + frame(b"abcde")
    assert frames(data).tolist() == [0, 12, 20, 36]


def test_an_empty_file_has_no_frame() -> None:
    assert frames(b"").tolist() == [0]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_read(kind: type) -> None:
    assert frames(kind(frame(b"a"))).tolist() == [0, 12]


def test_an_unaligned_buffer_is_read() -> None:
    assert frames(memoryview(b"x" + frame(b"a"))[1:]).tolist() == [0, 12]


def test_a_magic_inside_a_payload_begins_no_frame() -> None:
    data = frame(b"abcd" + MAGIC + b"\0\0\0\0") + frame(b"a")
    assert frames(data).tolist() == [0, 20, 32]


def test_a_magic_at_the_end_of_a_payload_begins_no_frame() -> None:
    assert frames(frame(b"a") + frame(MAGIC)).tolist() == [0, 12, 24]


@pytest.mark.parametrize(
    ("tail", "problem"),
    [
        (b"\x0a", "truncated header: 1 of 8 bytes"),
        (MAGIC, "truncated header: 4 of 8 bytes"),
        (MAGIC + b"\4\0\0\0abc", "truncated payload: 3 of 4 bytes"),
        (MAGIC + b"\xff\xff\xff\x1f", "truncated payload: 0 of 536870911 bytes"),
        (b"\x0b" + MAGIC[1:] + b"\0\0\0\0", "bad magic 0xCED7230B, not 0xCED7230A"),
        (MAGIC + struct.pack("<I", 1 << 29 | 4) + b"abcd", "continuation flag 1 is set"),
        (MAGIC + b"\1\0\0\0a", "bad padding after the payload: nothing, not 3 zero bytes"),
        (MAGIC + b"\1\0\0\0a\0", "bad padding after the payload: 00, not 3 zero bytes"),
        (MAGIC + b"\1\0\0\0a\0\1\0", "bad padding after the payload: 000100, not 3 zero bytes"),
    ],
)
def test_a_bad_frame_is_named(tail: bytes, problem: str) -> None:
    with pytest.raises(RecordIOError) as caught:
        frames(frame(b"abc") + frame(b"") + tail)
    assert (caught.value.record, caught.value.offset) == (2, 20)
    assert str(caught.value).startswith(f"record 2 at byte 20: {problem}")


def test_a_payload_beyond_the_29_bits_of_the_length_is_refused() -> None:
    with pytest.raises(ValueError, match="536870912 bytes is above the limit"):
        frame(bytes(1 << 29))


@pytest.mark.parametrize("payload", [b"abcd", b"abcd" + MAGIC], ids=["chained", "walked"])
def test_frames_of_a_file_of_many_windows(payload: bytes) -> None:
    one = frame(payload)
    count = (3 << 20) // len(one)
    assert frames(one * count).tolist() == list(range(0, (count + 1) * len(one), len(one)))


def test_a_frame_larger_than_a_window() -> None:
    large = frame(bytes(3 << 20))
    assert frames(frame(b"a") + large + frame(b"b")).tolist() == [
        0,
        12,
        12 + len(large),
        24 + len(large),
    ]


def test_a_bad_frame_far_into_a_file_is_named() -> None:
    good = frame(b"abcd") * (2 << 17)
    with pytest.raises(RecordIOError) as caught:
        frames(good + b"bad magic")
    assert (caught.value.record, caught.value.offset) == (2 << 17, len(good))
