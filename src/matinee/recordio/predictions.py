"""A model's answers as RecordIO-protobuf: labels `score` and `predicted_label`, no features.

Source: SageMaker Developer Guide, "Common data formats for inference".
"""

import numpy
from numpy.typing import ArrayLike, NDArray

from matinee.recordio import message, varints
from matinee.recordio.framing import (
    HEADER_SIZE,
    Buffer,
    Octets,
    RecordIOError,
    as_octets,
    find_frames,
    frame,
    payload_sizes,
)
from matinee.recordio.schema import ENTRY_VALUE_TAG, FLOAT32_TAG, LABEL_TAG, VALUES_TAG

_SCORE = b"score"
_PREDICTED_LABEL = b"predicted_label"

Floats = NDArray[numpy.float32]


def encode_predictions(scores: ArrayLike, predicted_labels: ArrayLike | None = None) -> bytes:
    """Encode a model's answers, one record a row.

    Parameters
    ----------
    scores : array_like of float, shape (n,)
    predicted_labels : array_like of float, shape (n,), optional
        A classifier's labels.

    Returns
    -------
    bytes
        The response's body.

    Raises
    ------
    ValueError
        If the shapes aren't both (n,).
    """
    columns = [numpy.asarray(scores, dtype="<f4")]
    if predicted_labels is not None:
        columns.append(numpy.asarray(predicted_labels, dtype="<f4"))
    if columns[0].ndim != 1 or columns[-1].shape != columns[0].shape:
        raise ValueError(f"predictions of shapes {[column.shape for column in columns]}")
    template, places = _template(labelled=predicted_labels is not None)
    records = numpy.tile(template, (columns[0].size, 1))
    for column, at in zip(columns, places, strict=True):
        records[:, at : at + 4] = numpy.ascontiguousarray(column).view(numpy.uint8).reshape(-1, 4)
    return records.tobytes()


def decode_predictions(data: Buffer) -> tuple[Floats, Floats | None]:
    """Decode a model's answers.

    Parameters
    ----------
    data : bytes, bytearray, memoryview or mmap
        The response's body.

    Returns
    -------
    scores : ndarray of float32, shape (n,)
    predicted_labels : ndarray of float32, shape (n,), or None
        None when no record has one.

    Raises
    ------
    RecordIOError
        If the file is malformed, a record has no score, or only some have a predicted label.
    """
    octets = as_octets(data)
    offsets = find_frames(octets)
    for labelled in (True, False):
        columns = _read_alike(octets, labelled)
        if columns is not None:
            return columns[0], columns[1] if labelled else None
    starts = offsets[:-1] + HEADER_SIZE
    ends = starts + payload_sizes(octets, offsets[:-1])
    scores = numpy.empty(starts.size, dtype=numpy.float32)
    labels = numpy.empty(starts.size, dtype=numpy.float32)
    labelled = False
    for record, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        try:
            answers = message.parse(octets[start:end].tobytes()).label
            scores[record] = _number(answers, _SCORE)
            if record == 0:
                labelled = _PREDICTED_LABEL in answers
            if labelled != (_PREDICTED_LABEL in answers):
                raise message.MessageError("predicted_label in only some of the records")
            if labelled:
                labels[record] = _number(answers, _PREDICTED_LABEL)
        except message.MessageError as error:
            raise RecordIOError(record, start - HEADER_SIZE, str(error)) from error
    return scores, labels if labelled else None


def _number(answers: message.Values, name: bytes) -> float:
    if name not in answers:
        raise message.MessageError(f"no label {name.decode()}")
    tensor = message.parse_tensor(answers[name])
    if tensor.values.size != 1 or tensor.keys.size:
        raise message.MessageError(f"label {name.decode()} isn't exactly one value")
    return float(tensor.values[0])


def _read_alike(octets: Octets, labelled: bool) -> list[Floats] | None:
    """Read records written by `encode_predictions`; None if one differs from its template."""
    template, places = _template(labelled)
    if octets.size % template.size:
        return None
    records = octets.reshape(-1, template.size)
    fixed = numpy.ones(template.size, dtype=bool)
    for at in places:
        fixed[at : at + 4] = False
    if (records[:, fixed] != template[fixed]).any():
        return None
    return [
        records[:, at : at + 4].copy().view("<f4").reshape(-1).astype(numpy.float32)
        for at in places
    ]


def _template(labelled: bool) -> tuple[Octets, list[int]]:
    """A framed answer with zeros for its numbers, and where those begin."""
    payload = b""
    places = []
    for name in (_SCORE, _PREDICTED_LABEL)[: 1 + labelled]:
        tensor = bytes([VALUES_TAG, 4, 0, 0, 0, 0])
        value = bytes([FLOAT32_TAG, len(tensor)]) + tensor
        entry = bytes([0x0A, len(name)]) + name + bytes([ENTRY_VALUE_TAG, len(value)]) + value
        payload += bytes([LABEL_TAG]) + varints.encode_one(len(entry)) + entry
        places.append(HEADER_SIZE + len(payload) - 4)
    return numpy.frombuffer(frame(payload), dtype=numpy.uint8), places
