"""Varints of all sizes, and those that protobuf forbids."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.recordio import varints

EDGES = [0, 1, 127, 128, 16_383, 16_384, 2**35 - 1, 2**35, 2**63 - 1, 2**63, 2**64 - 1]


@given(st.lists(st.one_of(st.sampled_from(EDGES), st.integers(0, 2**64 - 1))))
def test_many_equal_one_by_one_and_come_back(values: list[int]) -> None:
    octets, sizes = varints.encode(numpy.array(values, dtype=numpy.uint64))
    parts = [varints.encode_one(value) for value in values]
    assert octets.tobytes() == b"".join(parts)
    assert sizes.tolist() == [len(part) for part in parts]
    decoded, ends = varints.decode(octets)
    assert decoded.tolist() == values
    assert ends.tolist() == numpy.cumsum(sizes).tolist()


def test_the_specification_s_example() -> None:
    # Protocol Buffers documentation, "Base 128 Varints": 150 is encoded as 9601.
    assert varints.encode_one(150) == b"\x96\x01"


def test_a_varint_may_be_longer_than_it_must() -> None:
    octets = numpy.frombuffer(b"\x81\x80\x00\x02", dtype=numpy.uint8)
    assert varints.decode(octets)[0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"\x80", "unfinished"),
        (b"\x01\xff\xff", "unfinished"),
        (b"\x80" * 10 + b"\x01", "more than 10 bytes"),
        (b"\xff" * 9 + b"\x02", "above 64 bits"),
    ],
)
def test_an_illegal_varint_is_refused(octets: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        varints.decode(numpy.frombuffer(octets, dtype=numpy.uint8))
