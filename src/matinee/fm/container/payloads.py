"""Requests and responses of the model server: content types in both directions.

Reads JSON, JSON Lines and RecordIO-protobuf, dense and sparse; writes scores, and labels for a
classifier, in the same three. Refuses other types, and bodies that aren't what their type says.
Source: SageMaker Developer Guide, "Common data formats for inference".
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import scipy.sparse
from numpy.typing import NDArray

from matinee.fm.data import Features
from matinee.recordio import RecordIOError, encode_predictions, frame
from matinee.recordio import decode as decode_recordio
from matinee.recordio.framing import MAGIC

JSON = "application/json"
JSON_LINES = "application/jsonlines"
RECORDIO = "application/x-recordio-protobuf"
TYPES = (JSON, JSON_LINES, RECORDIO)
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


def decode(body: bytes, media_type: str) -> Features:
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
    csr_matrix or ndarray, shape (n, width), n > 0
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
            return decode_recordio(framed).features
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
    if labels is None:
        predictions = [f'{{"score": {score!r}}}' for score in scores.tolist()]
    else:
        predictions = [
            f'{{"score": {score!r}, "predicted_label": {label!r}}}'
            for score, label in zip(scores.tolist(), labels.tolist(), strict=True)
        ]
    if media_type == JSON_LINES:
        return "".join(f"{prediction}\n" for prediction in predictions).encode()
    return f'{{"predictions": [{", ".join(predictions)}]}}'.encode()


def _media_type(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def _listed() -> str:
    return ", ".join(TYPES)


def _stack(instances: Sequence[Any]) -> Features:
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
        keys.append(row_keys.astype(numpy.int64))
        widths.append(width)
    if len(set(widths)) > 1:
        raise PayloadError(f"instances of different widths: {sorted(set(widths))}")
    if dense:
        return _float32(numpy.stack(values))
    bounds = numpy.cumsum([0, *(row.size for row in values)])
    parts = (_float32(numpy.concatenate(values)), numpy.concatenate(keys), bounds)
    return scipy.sparse.csr_matrix(parts, shape=(len(instances), widths[0]))


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
