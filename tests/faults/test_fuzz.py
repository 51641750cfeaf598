"""Requests nobody would write are answered with a refusal; more of them by hand."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy
import pytest

from matinee import recordio
from matinee.recordio import RecordIOError
from matinee.sagemaker.access import policies
from matinee.sagemaker.data import archives
from matinee.sagemaker.data.archives import ArchiveError
from matinee.sagemaker.errors import ServiceError
from matinee.sagemaker.monitoring import filter_patterns, metric_math
from matinee.sagemaker.transform_jobs import json_paths
from tests.conftest import ObjectStore
from tests.faults.fuzz import mutated, run
from tests.faults.servers import FaultServer

SEEDS = 400


def test_every_operation_and_broken_heads(object_store: ObjectStore, tmp_path: Path) -> None:
    server = FaultServer(tmp_path, object_store, object_store.endpoint)
    try:
        server.start()
        found = run(server, object_store, count=4, seed=7)
    finally:
        server.close()
    assert found.failures == [], found
    assert found.answers[200] > 0


def dice() -> Iterator[random.Random]:
    for seed in range(SEEDS):
        yield random.Random(seed)  # noqa: S311 - no secret


def test_broken_records_are_refused_or_read_alike() -> None:
    rows = numpy.arange(24, dtype=numpy.float32).reshape(6, 4)
    whole = recordio.encode(rows, numpy.ones(6, dtype=numpy.float32))
    refused = 0
    for choice in dice():
        data = mutated(whole, choice)
        try:
            records = recordio.decode(data)
        except RecordIOError:
            refused += 1
            continue
        blocks = list(recordio.decode_stream(io.BytesIO(data)))
        count = sum(block.values.size // block.width for block in blocks if block.counts is None)
        count += sum(block.counts.size for block in blocks if block.counts is not None)
        assert count == records.features.shape[0]
    assert 0 < refused < SEEDS


def test_broken_archives_stay_in_their_folder(tmp_path: Path) -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name in ("model/a", "model/deep/b", "c" * 120):
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(b"x" * 700))
    unpacked = 0
    for number, choice in enumerate(dice()):
        # The archive itself, and what it holds
        whole = written.getvalue()
        inside = number % 2 == 0
        data = gzip.compress(mutated(whole, choice) if inside else whole, 1)
        archive = tmp_path / "archive.tar.gz"
        archive.write_bytes(data if inside else mutated(data, choice))
        folder = tmp_path / f"{number}" / "ml"
        folder.mkdir(parents=True)
        try:
            archives.unpack(archive, folder)
            unpacked += 1
        except ArchiveError:
            pass
        assert [path.name for path in folder.parent.iterdir()] == ["ml"]
        assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert 0 < unpacked < SEEDS


def _policy(text: str) -> object:
    return policies.read_identity_policy("p", text)


@pytest.mark.parametrize(
    ("read", "whole"),
    [
        (filter_patterns.compile_pattern, '{ ($.a.b[0] = "x*" && $.c > 1.5) || $.d NOT EXISTS }'),
        (filter_patterns.compile_pattern, '[ip, user, code = 4*, size > 10, ...] ?a -"b c" %x+%'),
        (metric_math.names, "IF(m1 > 3, AVG([m1, m2]) / -(e1 + 2.5e3), FILL(m2, 0))"),
        (json_paths.JsonPath, "$['a'].b[0,1][-1:].c[*]..d"),
        (
            _policy,
            '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*"}]}',
        ),
    ],
)
def test_broken_expressions_are_refused(read: Callable[[str], Any], whole: str) -> None:
    for choice in dice():
        text = mutated(whole.encode(), choice).decode(errors="replace") * choice.choice((1, 1, 30))
        with suppress(ServiceError, ValueError):
            read(text)
