"""How fast RecordIO-protobuf is written and read, against protobuf's own runtime in the same run.

    python -m benchmarks.recordio

The data are those of a recommender: two one-hot features a row and a label. Protobuf converts a
sample of the rows; both sides end with the same bytes and the same arrays, which is checked.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy
import scipy.sparse
from google.protobuf.internal import api_implementation
from tests.recordio.protobuf import Record, record_of

from matinee.recordio import decode, encode, frame, frames

ROWS = 1_000_000
SAMPLE = 20_000
CUSTOMERS = 140_344
WIDTH = 178_729
ROUNDS = 5


def ratings(rows: int, rng: numpy.random.Generator) -> tuple[Any, Any]:
    """Draw a one-hot matrix (rows, WIDTH) of a customer and a video a row, and stars."""
    keys = numpy.empty((rows, 2), dtype=numpy.int32)
    keys[:, 0] = rng.integers(0, CUSTOMERS, rows)
    keys[:, 1] = rng.integers(CUSTOMERS, WIDTH, rows)
    bounds = numpy.arange(rows + 1) * 2
    parts = (numpy.ones(2 * rows, dtype=numpy.float32), keys.reshape(-1), bounds)
    stars = rng.integers(1, 6, rows).astype(numpy.float32)
    return scipy.sparse.csr_matrix(parts, shape=(rows, WIDTH)), stars


def encode_with_protobuf(features: Any, labels: Any) -> bytes:
    records = (record_of(features, row, labels) for row in range(len(labels)))
    return b"".join(frame(record.SerializeToString()) for record in records)


def decode_with_protobuf(data: bytes) -> tuple[Any, Any]:
    values: list[float] = []
    keys: list[int] = []
    bounds = [0]
    labels: list[float] = []
    offset = 0
    while offset < len(data):
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        record = Record.FromString(data[offset + 8 : offset + 8 + size])
        tensor = record.features["values"].float32_tensor
        values.extend(tensor.values)
        keys.extend(tensor.keys)
        bounds.append(len(keys))
        labels.append(record.label["values"].float32_tensor.values[0])
        offset += 8 + size + -size % 4
    parts = (numpy.array(values, dtype=numpy.float32), numpy.array(keys), numpy.array(bounds))
    matrix = scipy.sparse.csr_matrix(parts, shape=(len(labels), WIDTH))
    return matrix, numpy.array(labels, dtype=numpy.float32)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call: other programs on the machine disturb it less than wall time."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    features, labels = ratings(ROWS, numpy.random.default_rng(0))
    data = encode(features, labels)
    sample = features[:SAMPLE], labels[:SAMPLE]
    sample_data = encode(*sample)
    assert encode_with_protobuf(*sample) == sample_data
    theirs, their_labels = decode_with_protobuf(sample_data)
    ours = decode(sample_data)
    assert (theirs != ours.features).nnz == 0
    assert (their_labels == ours.labels).all()
    cases: dict[str, tuple[int, Callable[[], object]]] = {
        "encode, matinee": (ROWS, lambda: encode(features, labels)),
        "encode, protobuf": (SAMPLE, lambda: encode_with_protobuf(*sample)),
        "decode, matinee": (ROWS, lambda: decode(data)),
        "decode, protobuf": (SAMPLE, lambda: decode_with_protobuf(sample_data)),
        "frames, matinee": (ROWS, lambda: frames(data)),
    }
    # Interleaved, so that a disturbance of the machine meets all cases alike.
    measured: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (_, work) in cases.items():
            measured[name].append(seconds(work))
    print(f"{ROWS:,} rows, 2 features of {WIDTH:,}, {len(data) / ROWS:.1f} bytes a record")
    print(f"protobuf: {api_implementation.Type()}, on {SAMPLE:,} rows; medians of {ROUNDS} rounds")
    for name, (rows, _) in cases.items():
        print(f"{name:18} {rows / statistics.median(measured[name]):>12,.0f} records/s of CPU")


if __name__ == "__main__":
    main()
