"""How fast RecordIO-protobuf is written and read, against peers in the same run.

    python -m benchmarks.recordio [--docs docs/recordio.md]

The peers convert a sample of the rows: the SageMaker SDK, in an environment of its own, and
protobuf's own runtime. All sides end with the same bytes and the same arrays, which is checked.
What is given is CPU time: other programs on the machine disturb it less than wall time.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import scipy.sparse
from google.protobuf.internal import api_implementation
from tests.recordio.protobuf import Record, record_of

from benchmarks import environments, tables
from benchmarks.recordio import data
from matinee.recordio import decode, encode, encode_one_hot, frame

ROOT = Path(__file__).parents[2]
SDK = environments.Peer(
    "SageMaker SDK 2.257.7",
    ("sagemaker==2.257.7", "protobuf==6.33.6", "numpy==2.4.6", "scipy==1.17.1"),
)
SAMPLE = 20_000
ROUNDS = 5
ROWS = {"two features": 1_000_000, f"{data.MEAN_FEATURES} features on average": 200_000}
MATINEE, ONE_HOT, PROTOBUF, COPY = "matinee", "matinee, from keys", "protobuf", "copying bytes"


def encode_with_protobuf(features: Any, labels: Any) -> bytes:
    records = (record_of(features, row, labels) for row in range(len(labels)))
    return b"".join(frame(record.SerializeToString()) for record in records)


def decode_with_protobuf(content: bytes) -> tuple[Any, Any]:
    values: list[float] = []
    keys: list[int] = []
    bounds = [0]
    labels: list[float] = []
    offset = 0
    while offset < len(content):
        size = int.from_bytes(content[offset + 4 : offset + 8], "little")
        record = Record.FromString(content[offset + 8 : offset + 8 + size])
        tensor = record.features["values"].float32_tensor
        values.extend(tensor.values)
        keys.extend(tensor.keys)
        bounds.append(len(keys))
        labels.append(record.label["values"].float32_tensor.values[0])
        offset += 8 + size + -size % 4
    parts = (numpy.array(values, dtype=numpy.float32), numpy.array(keys), numpy.array(bounds))
    matrix = scipy.sparse.csr_matrix(parts, shape=(len(labels), data.WIDTH))
    return matrix, numpy.array(labels, dtype=numpy.float32)


class Measured:
    """Records a second of CPU, in millions, by who does what."""

    def __init__(self) -> None:
        self.rates: dict[tuple[str, str], list[float]] = {}

    def add(self, who: str, what: str, rows: int, seconds: float) -> None:
        self.rates.setdefault((who, what), []).append(rows / seconds / 1e6)

    def time(self, who: str, what: str, rows: int, work: Callable[[], object]) -> None:
        start = time.process_time()
        work()
        self.add(who, what, rows, time.process_time() - start)

    def spread(self, who: str, what: str) -> tables.Spread | None:
        rates = self.rates.get((who, what))
        return tables.Spread.of(rates) if rates else None


def with_sdk(python: Path, rows: Path, records: Path) -> dict[str, float]:
    """Let the SDK convert rows once."""
    done = subprocess.run(  # noqa: S603 - our own program
        [python, "-m", "benchmarks.recordio.sdk", rows, records],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def measure(features: Any, labels: Any, sdk: Path | None, scratch: Path) -> Measured:
    """Convert rows in turn by all, so that a disturbance of the machine meets all alike."""
    rows = len(labels)
    content = encode(features, labels)
    sample = features[:SAMPLE], labels[:SAMPLE]
    of_sample = encode(*sample)
    assert encode_with_protobuf(*sample) == of_sample
    theirs, their_labels = decode_with_protobuf(of_sample)
    ours = decode(of_sample)
    assert (theirs != ours.features).nnz == 0
    assert (their_labels == ours.labels).all()
    data.save(scratch / "rows.npz", *sample)
    two = features.indices.reshape(rows, 2) if features.nnz == 2 * rows else None
    measured = Measured()
    for _ in range(ROUNDS):
        measured.time(MATINEE, "encode", rows, lambda: encode(features, labels))
        measured.time(MATINEE, "decode", rows, lambda: decode(content))
        if two is not None:
            one_hot = lambda keys=two: encode_one_hot(keys, data.WIDTH, labels)  # noqa: E731
            measured.time(ONE_HOT, "encode", rows, one_hot)
        measured.time(PROTOBUF, "encode", SAMPLE, lambda: encode_with_protobuf(*sample))
        measured.time(PROTOBUF, "decode", SAMPLE, lambda: decode_with_protobuf(of_sample))
        measured.time(COPY, "encode", rows, lambda: bytearray(content))
        if sdk is not None:
            seconds = with_sdk(sdk, scratch / "rows.npz", scratch / "records")
            assert (scratch / "records").read_bytes() == of_sample
            for what, taken in seconds.items():
                measured.add(SDK.name, what, SAMPLE, taken)
    return measured


def table(by_kind: dict[str, Measured]) -> str:
    """Lay out what was measured."""
    header = ["million records a second of CPU"]
    header += [f"{what}, {kind}" for kind in by_kind for what in ("encode", "decode")]
    rows = []
    for who in (MATINEE, ONE_HOT, SDK.name, PROTOBUF, COPY):
        cells = [
            str(spread) if (spread := measured.spread(who, what)) else ""
            for measured in by_kind.values()
            for what in ("encode", "decode")
        ]
        if any(cells):
            rows.append([who, *cells])
    return tables.markdown(header, rows)


def ratios(by_kind: dict[str, Measured]) -> list[str]:
    """Say how many times as fast as each peer matinee is, by medians."""
    sentences = []
    for kind, measured in by_kind.items():
        for peer in (SDK.name, PROTOBUF):
            times = []
            for what in ("encode", "decode"):
                ours, theirs = measured.spread(MATINEE, what), measured.spread(peer, what)
                if ours and theirs:
                    times.append(f"{what} {tables.short(ours.median / theirs.median)}")
            if times:
                sentences.append(f"{kind}, times {peer}: {', '.join(times)}")
    return sentences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=Path, metavar="FILE", help="put the figures into a page")
    arguments = parser.parse_args()
    home = Path(os.environ.get("MATINEE_HOME", "~/.matinee")).expanduser()
    try:
        sdk: Path | None = environments.interpreter(SDK, home / "cache" / "peers")
    except environments.PeerError as error:
        print(error)
        sdk = None
    load, _, _ = os.getloadavg()
    draw = dict(zip(ROWS, (data.ratings, data.general), strict=True))
    by_kind = {}
    for kind, rows in ROWS.items():
        features, labels = draw[kind](rows, numpy.random.default_rng(0))
        with tempfile.TemporaryDirectory(prefix="matinee-benchmark-") as scratch:
            by_kind[kind] = measure(features, labels, sdk, Path(scratch))
    about = (
        f"Medians of {ROUNDS} rounds (smallest to largest), one core, load {load:.1f} before;"
        f" {' and '.join(f'{rows:,} rows' for rows in ROWS.values())} of {data.WIDTH:,} columns"
        f" with a label, the peers' {SAMPLE:,} of them; protobuf is its runtime"
        f" {api_implementation.Type()}, and the SDK's decode stops at message objects."
    )
    text = f"{about}\n\n{table(by_kind)}\n"
    print(text, *ratios(by_kind), sep="\n")
    if arguments.docs:
        tables.rewrite(arguments.docs, "recordio", f"{text}\n{'; '.join(ratios(by_kind))}.")


if __name__ == "__main__":
    main()
