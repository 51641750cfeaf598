"""Read RecordIO-protobuf files, into matrices or block by block in bounded memory.

Blocks of records that are laid out as the SageMaker SDK writes them are read at once; any other
legal protobuf is read record by record. A malformed file is refused with the record and its byte
offset; nothing is allocated beyond a small multiple of the file's own size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy
from numpy.typing import NDArray

from matinee.recordio import message
from matinee.recordio.framing import (
    HEADER_SIZE,
    Buffer,
    Integers,
    Octets,
    RecordIOError,
    as_octets,
    frame_size,
    frame_windows,
    payload_sizes,
    whole_frames,
)
from matinee.recordio.layout import LARGEST_WIDTH, Block, read_block
from matinee.recordio.schema import VALUES_NAME

if TYPE_CHECKING:
    import scipy.sparse

# Records read at once: few enough for the work arrays to stay in the cache.
BLOCK_ROWS = 8_192
# Bytes of a stream read at once.
_READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Records:
    """What a file holds.

    Attributes
    ----------
    features : csr_matrix or ndarray of float32, shape (n, width)
        Sparse when the records carry keys (or nothing but a shape: a row of zeros), else dense.
        Sparse entries are kept as stored: explicit zeros, order and duplicate keys included; the
        matrix is in canonical form only if the file is.
    labels : ndarray of float32, shape (n,), or None
        None when no record has a label.
    """

    features: scipy.sparse.csr_matrix | NDArray[numpy.float32]
    labels: NDArray[numpy.float32] | None


class Stream(Protocol):
    """What can be read once."""

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes; fewer only at the end."""


def decode(data: Buffer) -> Records:
    """Decode a whole file.

    Float64 and Int32 tensors are cast to float32; a number too large for it becomes infinite. A
    file without records gives a sparse matrix of shape (0, 0).

    Parameters
    ----------
    data : bytes, bytearray, memoryview or mmap
        Concatenated frames of `aialgs.data.Record` messages.

    Returns
    -------
    Records
        Copies; `data` may be closed or changed afterwards.

    Raises
    ------
    RecordIOError
        If the file is malformed: bad frames or protobuf, features absent, keys that don't match
        the values or exceed the shape, a label that isn't one number, or records that differ in
        being sparse, in width, or in having a label.
    """
    # SciPy takes long to import: only those who want its matrices pay for it.
    import scipy.sparse

    blocks = list(decode_blocks(data))
    if not blocks:
        return Records(scipy.sparse.csr_matrix((0, 0), dtype=numpy.float32), None)
    whole = _join(blocks)
    if whole.counts is None or whole.keys is None:
        return Records(whole.values.reshape(-1, whole.width), whole.labels)
    bounds = numpy.concatenate([numpy.zeros(1, dtype=numpy.int64), numpy.cumsum(whole.counts)])
    features = scipy.sparse.csr_matrix(
        (whole.values, whole.keys, bounds), shape=(whole.counts.size, whole.width)
    )
    return Records(features, whole.labels)


def decode_blocks(data: Buffer, *, least_rows: int = 1) -> Iterator[Block]:
    """Decode a file block by block, each of at most `BLOCK_ROWS` records of about a megabyte.

    What is kept in memory does not depend on the file's size.

    Parameters
    ----------
    data : bytes, bytearray, memoryview or mmap
        Concatenated frames of `aialgs.data.Record` messages.
    least_rows : int
        Blocks of fewer records are read one by one, with the same result: that is done sooner when
        they are very few.

    Yields
    ------
    Block
        Copies; all of one kind and width, and all with labels or all without.

    Raises
    ------
    RecordIOError
        As `decode` does, when the bad record is reached.
    """
    octets, expected = as_octets(data), None
    for first, starts, ends in _payloads(octets):
        block = read_block(octets, starts, ends) if starts.size >= least_rows else None
        if block is None or _difference(block, expected):
            block = _read_singly(octets, starts, ends, first, expected)
        expected = expected or block
        yield block


def decode_stream(file: Stream) -> Iterator[Block]:
    """Decode what can be read only once, such as a pipe, about a megabyte at a time.

    Several files may follow each other: unlike in one file, later records may be wider or narrower
    than earlier ones.

    Parameters
    ----------
    file : Stream
        Concatenated frames of `aialgs.data.Record` messages.

    Yields
    ------
    Block
        Copies; each of one kind and width.

    Raises
    ------
    RecordIOError
        As `decode` does, when the bad record is reached; records that differ are none.
    """
    record, offset, data, ended = 0, 0, b"", False
    while not ended:
        # A frame may be larger than what is read at once.
        size = max(_READ_SIZE, frame_size(data) - len(data))
        chunk = file.read(size)
        ended = len(chunk) < size
        data += chunk
        whole = len(data) if ended else whole_frames(data)
        octets = as_octets(data[:whole])
        seen = 0
        try:
            for first, starts, ends in _payloads(octets):
                yield from _read_runs(octets, starts, ends, first)
                seen = first + starts.size
        except RecordIOError as error:
            number, place = record + error.record, offset + error.offset
            raise RecordIOError(number, place, error.problem) from error
        record, offset, data = record + seen, offset + whole, data[whole:]


def _payloads(octets: Octets) -> Iterator[tuple[int, Integers, Integers]]:
    """Find where records' payloads start and end, for at most `BLOCK_ROWS` records at a time.

    Yields
    ------
    (int, ndarray of int64, ndarray of int64)
        The number of the first of them, and their starts and ends.
    """
    record = 0
    for offsets in frame_windows(octets):
        starts = offsets[:-1] + HEADER_SIZE
        ends = starts + payload_sizes(octets, offsets[:-1])
        for first in range(0, starts.size, BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            yield record + first, starts[rows], ends[rows]
        record += starts.size


def _read_runs(octets: Octets, starts: Integers, ends: Integers, first: int) -> Iterator[Block]:
    """Read records, a block of those that don't differ at a time; the first is number `first`."""
    block = read_block(octets, starts, ends)
    if block is not None:
        yield block
        return
    run: list[Block] = []
    for row in _read_each(octets, starts, ends, first):
        if run and _difference(row, run[0]):
            yield _join(run)
            run = []
        run.append(row)
    yield _join(run)


def _read_singly(
    octets: Octets, starts: Integers, ends: Integers, first: int, expected: Block | None
) -> Block:
    """Read records one by one, the first of them being number `first` of the file.

    Refuses one that differs from `expected` (the beginning of the file) or from those before it.
    """
    rows: list[Block] = []
    for record, row in enumerate(_read_each(octets, starts, ends, first), first):
        expected = expected or row
        difference = _difference(row, expected)
        if difference:
            raise RecordIOError(record, int(starts[record - first]) - HEADER_SIZE, difference)
        rows.append(row)
    return _join(rows)


def _read_each(octets: Octets, starts: Integers, ends: Integers, first: int) -> Iterator[Block]:
    """Read records one by one, the first of them being number `first`."""
    bounds = zip(starts.tolist(), ends.tolist(), strict=True)
    for record, (start, end) in enumerate(bounds, first):
        try:
            yield _read_record(octets[start:end].tobytes())
        except message.MessageError as error:
            raise RecordIOError(record, start - HEADER_SIZE, str(error)) from error


def _read_record(payload: bytes) -> Block:
    parsed = message.parse(payload)
    if VALUES_NAME not in parsed.features:
        raise message.MessageError('no features under the key "values"')
    labels = None
    if VALUES_NAME in parsed.label:
        label = message.parse_tensor(parsed.label[VALUES_NAME])
        if label.values.size != 1 or label.keys.size:
            raise message.MessageError(
                f"the label has {label.values.size} values and {label.keys.size} keys, "
                "not exactly one value"
            )
        labels = label.values
    features = message.parse_tensor(parsed.features[VALUES_NAME])
    count = features.values.size
    shape = [int(size) for size in features.shape]
    if count and not features.keys.size:
        if shape and not _holds(shape, count):
            raise message.MessageError(f"{count} values don't fill the shape {shape}")
        return Block(count, features.values, None, None, labels)
    if not shape:
        what = "keys but no shape" if features.keys.size else "neither values nor a shape"
        raise message.MessageError(f"features have {what}")
    if len(shape) != 1 or not 0 < shape[0] <= LARGEST_WIDTH:
        raise message.MessageError(f"sparse features of shape {shape}, not of one width above 0")
    if features.keys.size != count:
        raise message.MessageError(f"{features.keys.size} keys for {count} values")
    if count and int(features.keys.max()) >= shape[0]:
        raise message.MessageError(f"key {features.keys.max()} isn't below the width {shape[0]}")
    counts = numpy.array([count], dtype=numpy.int64)
    return Block(shape[0], features.values, counts, features.keys.astype(numpy.int64), labels)


def _holds(shape: Sequence[int], count: int) -> bool:
    product = 1
    for size in shape:
        product *= size
        # A hostile shape may have very many factors: stop as soon as the answer is known.
        if product == 0 or product > count:
            return False
    return product == count


def _difference(block: Block, expected: Block | None) -> str | None:
    """What a block has unlike the file's first one, if anything."""
    if expected is None:
        return None
    if (block.keys is None) != (expected.keys is None):
        kinds = ("dense", "sparse") if block.keys is None else ("sparse", "dense")
        return f"{kinds[0]} features in a file of {kinds[1]} ones"
    if block.width != expected.width:
        return f"features of width {block.width} in a file of width {expected.width}"
    if (block.labels is None) != (expected.labels is None):
        return f"{'no' if block.labels is None else 'a'} label, unlike earlier records"
    return None


def _join(blocks: Sequence[Block]) -> Block:
    """Append blocks that don't differ."""
    first = blocks[0]
    return Block(
        first.width,
        numpy.concatenate([block.values for block in blocks]),
        _concatenate([block.counts for block in blocks]),
        _concatenate([block.keys for block in blocks]),
        _concatenate([block.labels for block in blocks]),
    )


def _concatenate(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    present = [part for part in parts if part is not None]
    return numpy.concatenate(present) if present else None
