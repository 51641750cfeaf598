"""Answers go out as labels `score` and `predicted_label`; any legal writing comes back."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinee.recordio import RecordIOError, decode_predictions, encode_predictions, frame, frames
from tests.recordio.protobuf import Record, UnusualRecord

SCORES = [0.25, 0.75]
LABELS = [0.0, 1.0]


def answer(score: float, label: float | None, kind: type = Record) -> bytes:
    record = kind()
    if label is not None:
        record.label["predicted_label"].float32_tensor.values.append(label)
    record.label["score"].float32_tensor.values.append(score)
    serialised: bytes = record.SerializeToString()
    return serialised


def test_a_regressor_s_answer_is_a_score() -> None:
    expected = "0a23d7ce13000000 1211 0a05 73636f7265 1208 1206 0a04 0000803e 00"
    assert encode_predictions([0.25]).hex() == expected.replace(" ", "")


def test_protobuf_reads_a_classifier_s_answers() -> None:
    data = encode_predictions(SCORES, LABELS)
    offsets = frames(data).tolist()
    for index, offset in enumerate(offsets[:-1]):
        size = int.from_bytes(data[offset + 4 : offset + 8], "little")
        record = Record.FromString(data[offset + 8 : offset + 8 + size])
        assert not record.features
        assert set(record.label) == {"score", "predicted_label"}
        assert list(record.label["score"].float32_tensor.values) == [SCORES[index]]
        assert list(record.label["predicted_label"].float32_tensor.values) == [LABELS[index]]
        assert not record.label["score"].float32_tensor.keys


@given(st.lists(st.floats(width=32, allow_nan=False)), st.booleans())
def test_answers_come_back(scores: list[float], labelled: bool) -> None:
    labels = [float(score >= 0.5) for score in scores] if labelled else None
    read_scores, read_labels = decode_predictions(encode_predictions(scores, labels))
    assert read_scores.dtype == numpy.float32
    assert read_scores.tolist() == scores
    if labels:
        assert read_labels is not None
        assert read_labels.tolist() == labels
    elif scores:
        assert read_labels is None


@pytest.mark.parametrize("kind", [Record, UnusualRecord])
@pytest.mark.parametrize("labelled", [True, False])
def test_other_writers_answers_are_read(kind: type, labelled: bool) -> None:
    labels = LABELS if labelled else [None, None]
    answers = [answer(*pair, kind) for pair in zip(SCORES, labels, strict=True)]
    scores, read_labels = decode_predictions(b"".join(frame(payload) for payload in answers))
    assert scores.tolist() == SCORES
    assert (None if read_labels is None else read_labels.tolist()) == (LABELS if labelled else None)


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        (answer(0.5, None), "predicted_label in only some of the records"),
        (b"", "no label score"),
        (b"\x12\x07\x0a\x05score", "no tensor is set"),
        (b"\x12\x0b\x0a\x05score\x12\x02\x12\x00", "label score isn't exactly one value"),
        (b"\x12\x05", "field 2 ends 5 bytes after its message"),
    ],
)
def test_a_malformed_answer_is_named(second: bytes, problem: str) -> None:
    first = frame(answer(0.5, 1.0))
    with pytest.raises(RecordIOError) as caught:
        decode_predictions(first + frame(second))
    assert str(caught.value) == f"record 1 at byte {len(first)}: {problem}"


def test_columns_must_be_alike() -> None:
    with pytest.raises(ValueError, match="predictions of shapes"):
        encode_predictions(SCORES, LABELS[:1])
    with pytest.raises(ValueError, match="predictions of shapes"):
        encode_predictions([SCORES])
