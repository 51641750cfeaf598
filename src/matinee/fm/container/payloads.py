"""Requests and responses of the model server: content types in both directions.

Reads JSON, JSON Lines and RecordIO-protobuf, dense and sparse; writes scores, and labels for a
classifier, in the same three. Refuses other types, and bodies that aren't what their type says.
Source: SageMaker Developer Guide, "Common data formats for inference".
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy
from numpy.typing import NDArray

from matinee.fm.data import SparseRows
from matinee.recordio import RecordIOError, decode_blocks, encode_predictions, frame
from matinee.recordio.framing import MAGIC

JSON = "application/json"
JSON_LINES = "application/jsonlines"
RECORDIO = "application/x-recordio-protobuf"
TYPES = (JSON, JSON_LINES, RECORDIO)
Rows: TypeAlias = SparseRows | NDArray[numpy.float32]

# An endpoint is sent few records at a time.
_FEW_ROWS = 5
_JSON_ENVELOPE = ('{"predictions": [', ", ", "]}")
_ANY = ("", "*/*", "application/*")
_MAGIC = MAGIC.to_bytes(4, "little")


class MediaTypeError(ValueError):
    """A content type that isn't read or written; the message names it and those that are."""


class PayloadError(ValueError):
    """A request's body isn't what its content type says, or holds nothing to score."""


def request_type(content_type: str | None) -> str:
    """Choose how to read a request, by its Content-Type header.

    Raises
    ------
    MediaTypeError
        If the type isn't one of `TYPES`.
    """
    media_type = _media_type(content_type or "")
    if media_type not in TYPES:
        raise MediaTypeError(f"content type {content_type!r} isn't supported, only {_listed()}")
    return media_type


def response_type(accept: str | None, default: str) -> str:
    """Choose how to write a response: the first type of the Accept header that can be written.

    Raises
    ------
    MediaTypeError
        If none can.
    """
    for part in (accept or "").split(","):
        media_type = _media_type(part)
        if media_type in _ANY:
            return default
        if media_type in TYPES:
            return media_type
    raise MediaTypeError(f"accept {accept!r} isn't supported, only {_listed()}")


def decode(body: bytes, media_type: str) -> Rows:
    """Read the features of a request.

    Parameters
    ----------
    body : bytes
        RecordIO frames, or a single record without a frame; a JSON object with `instances`; or one
        instance a line.
    media_type : str
        One of `TYPES`.

    Returns
    -------
    SparseRows or ndarray of float32, shape (n, width), n > 0
        Sparse if any instance is.

    Raises
    ------
    PayloadError
        If the body is malformed or empty.
    """
    if not body:
        raise PayloadError("the body is empty")
    if media_type == RECORDIO:
        # Batch transform strips the frame when it sends single records.
        framed = body if body.startswith(_MAGIC) else frame(body)
        try:
            return _records(framed)
        except RecordIOError as error:
            raise PayloadError(str(error)) from error
    try:
        if media_type == JSON:
            document = json.loads(body)
            instances = document.get("instances") if isinstance(document, dict) else None
        else:
            instances = [json.loads(line) for line in body.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"the body isn't {media_type}: {error}") from error
    if not isinstance(instances, list) or not instances:
        raise PayloadError("the body holds no instances")
    return _stack(instances)


def encode(
    scores: NDArray[numpy.float32], labels: NDArray[numpy.float32] | None, media_type: str
) -> bytes:
    """Write a response.

    Parameters
    ----------
    scores : ndarray of float32, shape (n,)
        Finite scores.
    labels : ndarray of float32, shape (n,), or None
        A classifier's labels.
    media_type : str
        One of `TYPES`.
    """
    if media_type == RECORDIO:
        return encode_predictions(scores, labels)
    # A finite float's repr is JSON, and far faster than building objects to dump.
    head, between, tail = ("", "\n", "\n") if media_type == JSON_LINES else _JSON_ENVELOPE
    if labels is None:
        predictions = [f'{{"score": {score!r}}}' for score in scores.tolist()]
    else:
        predictions = [
            f'{{"score": {score!r}, "predicted_label": {label!r}}}'
            for score, label in zip(scores.tolist(), labels.tolist(), strict=True)
        ]
    return f"{head}{between.join(predictions)}{tail}".encode()


def _media_type(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def _listed() -> str:
    return ", ".join(TYPES)


def _stack(instances: Sequence[Any]) -> Rows:
    """Bring instances into one matrix."""
    values, keys, widths = [], [], []
    dense = True
    for index, instance in enumerate(instances):
        try:
            features = _features(instance)
            row = _numbers(features, "values", "iuf")
            sparse = "keys" in features
            row_keys = _numbers(features, "keys", "iu") if sparse else numpy.arange(row.size)
            width = _width(features) if sparse or "shape" in features else row.size
            _check(row, row_keys, width, sparse)
        except PayloadError as error:
            raise PayloadError(f"instance {index}: {error}") from error
        dense = dense and not sparse
        values.append(row)
        keys.append(row_keys)
        widths.append(width)
    if len(set(widths)) > 1:
        raise PayloadError(f"instances of different widths: {sorted(set(widths))}")
    if dense:
        return _float32(numpy.stack(values))
    starts = numpy.zeros(len(values) + 1, dtype=numpy.int64)
    numpy.cumsum([row.size for row in values], out=starts[1:])
    shape = (len(instances), widths[0])
    # Keys are below a width that fits 32 bits.
    joined = numpy.concatenate(keys).astype(numpy.int32)
    return SparseRows(starts, joined, _float32(numpy.concatenate(values)), shape)


def _records(framed: bytes) -> Rows:
    """Read framed records."""
    blocks = list(decode_blocks(framed, least_rows=_FEW_ROWS))
    width = blocks[0].width
    values = numpy.concatenate([block.values for block in blocks])
    counts = [block.counts for block in blocks if block.counts is not None]
    keys = [block.keys for block in blocks if block.keys is not None]
    if not counts:
        return values.reshape(-1, width)
    if width >= 1 << 31:
        raise PayloadError(f"records of width {width}, not below {1 << 31}")
    records = sum(rows.size for rows in counts)
    starts = numpy.zeros(records + 1, dtype=numpy.int64)
    numpy.cumsum(numpy.concatenate(counts), out=starts[1:])
    joined = numpy.concatenate(keys).astype(numpy.int32)
    return SparseRows(starts, joined, values, (records, width))


def _features(instance: Any) -> Mapping[str, Any]:
    """The tensor of an instance, `{"values": ..}` for the short form too."""
    if isinstance(instance, dict):
        if isinstance(instance.get("features"), list):
            return {"values": instance["features"]}
        data = instance.get("data")
        features = data.get("features") if isinstance(data, dict) else None
        if isinstance(features, dict):
            return features
    raise PayloadError('neither {"features": [..]} nor {"data": {"features": {"values": [..]}}}')


def _numbers(features: Mapping[str, Any], name: str, kinds: str) -> NDArray[Any]:
    given = features.get(name)
    if not isinstance(given, list):
        raise PayloadError(f"{name} must be a list of numbers")
    try:
        numbers = numpy.asarray(given)
    except (ValueError, OverflowError) as error:
        raise PayloadError(f"{name} must be a list of numbers: {error}") from error
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in kinds):
        raise PayloadError(f"{name} must be a list of {'numbers' if 'f' in kinds else 'integers'}")
    return numbers


def _width(features: Mapping[str, Any]) -> int:
    shape = features.get("shape")
    if isinstance(shape, list) and len(shape) == 1:
        width = shape[0]
        if isinstance(width, int) and not isinstance(width, bool) and 0 < width < 1 << 31:
            return width
    raise PayloadError(f"shape must be a list of one positive integer: {shape!r:.100}")


def _check(values: NDArray[Any], keys: NDArray[Any], width: int, sparse: bool) -> None:
    if keys.size != values.size:
        raise PayloadError(f"{keys.size} keys for {values.size} values")
    if not sparse and values.size != width:
        raise PayloadError(f"{values.size} values don't fill the shape [{width}]")
    if keys.size and not 0 <= int(keys.min()) <= int(keys.max()) < width:
        raise PayloadError(f"keys from {keys.min()} to {keys.max()} aren't all below {width}")


def _float32(numbers: NDArray[Any]) -> NDArray[numpy.float32]:
    # What is too large for float32 becomes infinite, which the model refuses.
    with numpy.errstate(over="ignore"):
        return numbers.astype(numpy.float32)
