"""Filter what a model is asked and join what it answers, as batch transform's DataProcessing says.

Developer Guide, "Associate Prediction Results with Input Records": for CSV, JSON and JSON Lines. A
CSV record is an array of columns, kept as they are written, quotes included; blank lines are no
records. Answers that are not what their media type says, and answers that are not one for each
record where they are joined, are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from matinee.sagemaker.transform_jobs.json_paths import JsonPath, NoMatchError

INFERENCE_ID, INFERENCE_TIME = "SageMakerInferenceId", "SageMakerInferenceTime"
_INPUT, _OUTPUT = "SageMakerInput", "SageMakerOutput"
_FIELD = re.compile(r'(?P<field>"(?:[^"]|"")*"|[^",]*)(?P<end>,|$)')

Record = Any


class Format(Enum):
    """How records are written."""

    CSV = "text/csv"
    JSON = "application/json"
    JSON_LINES = "application/jsonlines"


class InputError(ValueError):
    """A request cannot be filtered."""


class OutputError(ValueError):
    """An answer cannot be joined or filtered."""


def format_of(media_type: str) -> Format | None:
    """Return the format of a media type; None if its records cannot be told apart."""
    name = media_type.partition(";")[0].strip().lower()
    return next((item for item in Format if item.value == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """What is done with requests and answers.

    Attributes
    ----------
    input_filter, output_filter
        What is sent of a request's records, and what is kept of the (joined) answer's.
    is_joined
        Whether the answers go to the records they are for.
    input_format
        Of the requests.
    output_format
        Of the answers; None: as they say themselves.
    is_split
        Whether a request's records are its lines.
    is_identified
        Whether each record of an answer gets an identifier and a time.
    """

    input_filter: JsonPath
    output_filter: JsonPath
    is_joined: bool
    input_format: Format | None
    output_format: Format | None
    is_split: bool
    is_identified: bool = False

    @property
    def reads_requests(self) -> bool:
        """Whether requests are more than passed on."""
        return self.is_joined or not self.input_filter.is_root

    @property
    def changes_answers(self) -> bool:
        """Whether answers are more than passed on."""
        return self.is_joined or not self.output_filter.is_root or self.is_identified

    def request(self, body: bytes | memoryview) -> bytes | memoryview:
        """Return what is sent of a request.

        Raises
        ------
        InputError
            It is not of its format, or does not have what the filter names.
        """
        if self.input_filter.is_root:
            return body
        chosen_format = self._input_format
        records = self._input(body)
        try:
            chosen = [_filtered(record, chosen_format, self.input_filter) for record in records]
        except NoMatchError as error:
            raise InputError(f"InputFilter {error}") from error
        # A single line comes without its end, and goes on so.
        return _written(chosen, chosen_format, ends=bytes(body[-1:]) == b"\n")

    def answer(
        self,
        body: bytes | memoryview,
        answer: bytes,
        content_type: str | None,
        inference: Callable[[], tuple[str, str]],
    ) -> bytes:
        """Return what is kept of the answer to a request.

        Parameters
        ----------
        body
            The request, unfiltered.
        answer
            What the model said.
        content_type
            What the model called it.
        inference
            Makes an identifier and a time.

        Raises
        ------
        OutputError
            It is not of its format, does not have what the filter names, or is not one answer for
            each record.
        """
        if not self.changes_answers:
            return answer
        chosen_format = self.output_format or format_of(content_type or "")
        if chosen_format is None:
            raise OutputError(
                f"the algorithm answered with content type {content_type!r}; filters and joins "
                f"need one of {', '.join(item.value for item in Format)}"
            )
        records = _answers(answer, chosen_format)
        if self.is_joined:
            inputs = self._input(body)
            if len(inputs) != len(records):
                raise OutputError(
                    "Fail to join data: mismatched line count between the input and the output: "
                    f"{len(inputs)} and {len(records)}"
                )
            records = [
                _joined(given, said, chosen_format)
                for given, said in zip(inputs, records, strict=True)
            ]
        try:
            kept = [_filtered(record, chosen_format, self.output_filter) for record in records]
        except NoMatchError as error:
            raise OutputError(f"OutputFilter {error}") from error
        if self.is_identified:
            kept = [_identified(record, chosen_format, *inference()) for record in kept]
        return _written(kept, chosen_format, ends=answer[-1:] == b"\n")

    @property
    def _input_format(self) -> Format:
        if self.input_format is None:
            raise InputError("records of this content type cannot be told apart")
        return self.input_format

    def _input(self, body: bytes | memoryview) -> list[Record]:
        chosen = self._input_format
        if chosen is Format.JSON and self.is_split:
            chosen = Format.JSON_LINES
        try:
            return _records(bytes(body), chosen)
        except ValueError as error:
            raise InputError(f"Failed to parse the input as {chosen.name}: {error}") from error


def _answers(answer: bytes, chosen: Format) -> list[Record]:
    try:
        if chosen is Format.JSON:
            try:
                return _records(answer, chosen)
            except ValueError:
                # The answers to several records, one below the other
                return _records(answer, Format.JSON_LINES)
        return _records(answer, chosen)
    except ValueError as error:
        raise OutputError(
            f"Failed to parse output from the algorithm as {chosen.name}: {error}"
        ) from error


def _records(data: bytes, chosen: Format) -> list[Record]:
    text = data.decode()
    if chosen is Format.JSON:
        return [_parsed(text)]
    lines = [line for raw in text.split("\n") if (line := raw.removesuffix("\r"))]
    return [_columns(line) if chosen is Format.CSV else _parsed(line) for line in lines]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _columns(line: str) -> list[str]:
    """Return the columns of a line, each as it is written."""
    if '"' not in line:
        return line.split(",")
    columns, place = list[str](), 0
    while True:
        found = _FIELD.match(line, place)
        if found is None:
            raise ValueError(f"the quotes of column {len(columns)} do not match: {line[:80]!r}")
        columns.append(found["field"])
        place = found.end()
        if not found["end"]:
            return columns


def _filtered(record: Record, chosen: Format, path: JsonPath) -> Record:
    if path.is_root:
        return record
    found = path.select(record)
    # One column is a row too.
    return [found] if chosen is Format.CSV and isinstance(found, str) else found


def _joined(given: Record, said: Record, chosen: Format) -> Record:
    if chosen is Format.CSV:
        return [*given, *said]
    if isinstance(given, Mapping):
        return {**given, _OUTPUT: said}
    return {_INPUT: given, _OUTPUT: said}


def _identified(record: Record, chosen: Format, identifier: str, time: str) -> Record:
    if chosen is Format.CSV:
        return [*record, identifier, time]
    if isinstance(record, Mapping):
        return {**record, INFERENCE_ID: identifier, INFERENCE_TIME: time}
    raise OutputError("an inference identifier can be added to a JSON object only")


def _written(records: list[Record], chosen: Format, *, ends: bool) -> bytes:
    if chosen is Format.CSV:
        lines = [",".join(record) for record in records]
    else:
        lines = [
            json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records
        ]
    text = "\n".join(lines) + ("\n" if ends and lines else "")
    return text.encode(errors="surrogatepass")
