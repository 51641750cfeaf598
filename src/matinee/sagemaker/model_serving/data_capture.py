"""Keep what endpoints are asked and what they answer: DataCaptureConfig.

A capture is a line of a file in the state folder before the answer is given; the files become
objects of S3 within seconds, below ``<destination>/<endpoint>/<variant>/<yyyy/mm/dd/hh>/``. Files
that could not be stored are tried again, also by the next server.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinee.sagemaker.data.objects import ObjectsError, join_uri
from matinee.sagemaker.endpoints.hosting_traffic import Ticket
from matinee.sagemaker.model_serving.hosting_connections import Answer

if TYPE_CHECKING:
    from matinee.sagemaker.context import Context

log = logging.getLogger(__name__)

UPLOAD_SECONDS = 2.0
_OPEN, _DONE = ".open", ".jsonl"


@dataclass(slots=True)
class _File:
    path: Path
    hour: str


class Captures:
    """The captures of a server that are on their way to S3."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[tuple[str, str, str], _File] = {}
        self._credit: dict[str, int] = {}
        self._refused: set[Path] = set()

    def is_chosen(self, endpoint: str, percent: int) -> bool:
        """Return whether this request is one of the percentage, as evenly as can be."""
        with self._lock:
            credit = self._credit.get(endpoint, 0) + percent
            self._credit[endpoint] = credit % 100
            return credit >= 100

    def add(
        self, context: Context, ticket: Ticket, config: Mapping[str, Any], line: str, now: datetime
    ) -> None:
        """Write a line to the variant's file of this hour."""
        hour = f"{now:%Y/%m/%d/%H}"
        key = ticket.endpoint, ticket.variant, config["DestinationS3Uri"]
        with self._lock:
            file = self._files.get(key)
            if file is None or file.hour != hour:
                file = self._files[key] = _open(context, ticket, config, now, hour)
            with file.path.open("a") as stream:
                stream.write(line + "\n")

    def upload(self, context: Context) -> None:
        """Store what was captured until now; what cannot be stored is kept for the next time."""
        with self._lock:
            self._files.clear()
            for path in _folder(context).glob(f"*{_OPEN}"):
                path.rename(path.with_suffix(_DONE))
        for path in sorted(_folder(context).glob(f"*{_DONE}")):
            try:
                _store(context, path)
            except (ObjectsError, ValueError) as error:
                # One that cannot be stored, or read, must not keep the others.
                if path not in self._refused:
                    log.warning("captured data %s cannot be stored yet: %s", path, error)
                self._refused.add(path)
            else:
                self._refused.discard(path)


def capture(context: Context, ticket: Ticket, request: Mapping[str, Any], answer: Answer) -> None:
    """Keep a request and its answer, if the endpoint's configuration asks for that.

    Parameters
    ----------
    context
        The server's surroundings.
    ticket
        Where the request went.
    request
        InvokeEndpoint's request.
    answer
        The model's.
    """
    config = ticket.settings["DataCaptureConfig"]
    captures = context.hosting.captures
    if not config.get("EnableCapture", True) or not captures.is_chosen(
        ticket.endpoint, config["InitialSamplingPercentage"]
    ):
        return
    now = context.clock()
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    types = config.get("CaptureContentTypeHeader", {})
    data = {}
    if modes & {"Input", "InputAndOutput"}:
        data["endpointInput"] = _part(
            "INPUT", request.get("ContentType", ""), request.get("Body", b""), types
        )
    if modes & {"Output", "InputAndOutput"}:
        kind = answer.headers.get("content-type", "")
        data["endpointOutput"] = _part("OUTPUT", kind, answer.body, types)
    event = {"eventId": context.new_id(), "inferenceTime": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    if "InferenceId" in request:
        event["inferenceId"] = request["InferenceId"]
    if "CustomAttributes" in request:
        event["customAttributes"] = request["CustomAttributes"]
    line = json.dumps({"captureData": data, "eventMetadata": event, "eventVersion": "0"})
    captures.add(context, ticket, config, line, now)


def _part(mode: str, kind: str, body: bytes, types: Mapping[str, Any]) -> dict[str, str]:
    encoding = "BASE64"
    bare = kind.partition(";")[0].strip()
    for name, member in (("CSV", "CsvContentTypes"), ("JSON", "JsonContentTypes")):
        if bare in types.get(member, ()):
            encoding = name
    if encoding == "BASE64":
        text = base64.b64encode(body).decode()
    else:
        text = body.decode(errors="replace")
    return {"observedContentType": kind, "mode": mode, "data": text, "encoding": encoding}


def _store(context: Context, path: Path) -> None:
    head, _, lines = path.read_text().partition("\n")
    target = json.loads(head)
    partial = path.with_suffix(".upload")
    try:
        # A server that was killed may have left half a line at the end.
        partial.write_text(lines[: lines.rfind("\n") + 1])
        context.objects_for(target["role"]).upload(partial, target["uri"])
    finally:
        partial.unlink(missing_ok=True)
    path.unlink()


def _folder(context: Context) -> Path:
    return context.folder / "captures"


def _open(
    context: Context, ticket: Ticket, config: Mapping[str, Any], now: datetime, hour: str
) -> _File:
    name = context.new_id()
    folder = f"{ticket.endpoint}/{ticket.variant}/{hour}"
    uri = join_uri(config["DestinationS3Uri"], f"{folder}/{now:%M-%S-%f}-{name}.jsonl")
    path = _folder(context) / f"{name}{_OPEN}"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Of what is there under its name, where it goes is known, whenever the server is killed.
    begun = path.with_suffix(".begun")
    begun.write_text(json.dumps({"uri": uri, "role": ticket.settings["role"]}) + "\n")
    begun.replace(path)
    return _File(path, hour)
