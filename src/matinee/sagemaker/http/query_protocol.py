"""AWS query: a form comes in, XML goes out, times are ISO 8601.

The query models served here rename no member and flatten no list, and so neither does this.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl
from xml.etree.ElementTree import Element, SubElement, tostring

from botocore.model import OperationModel, ServiceModel, Shape
from starlette.responses import Response

from matinee.sagemaker.errors import SerializationException, ServiceError
from matinee.sagemaker.http.protocols import (
    Mismatches,
    Protocol,
    fault,
    present_members,
    query_code,
    read_text,
)


class QueryProtocol(Protocol):
    """Requests are forms, answers XML documents."""

    def read(self, body: bytes, shape: Shape | None) -> dict[str, Any]:
        form = read_form(body)
        if shape is None:
            return {}
        mismatches = Mismatches()
        request = _from_form(form, shape, "", mismatches)
        mismatches.raise_if_any()
        return request or {}

    def write(self, answer: dict[str, Any], operation: OperationModel, request_id: str) -> Response:
        model = operation.service_model
        root = Element(f"{operation.name}Response", xmlns=model.metadata["xmlNamespace"])
        shape = operation.output_shape
        if shape is not None:
            result = SubElement(root, shape.serialization["resultWrapper"])
            _fill(result, answer, shape, operation.name)
        SubElement(SubElement(root, "ResponseMetadata"), "RequestId").text = request_id
        return _response(root, 200, request_id)

    def refuse(self, error: ServiceError, model: ServiceModel | None, request_id: str) -> Response:
        root = Element("ErrorResponse")
        if model is not None and "xmlNamespace" in model.metadata:
            root.set("xmlns", model.metadata["xmlNamespace"])
        detail = SubElement(root, "Error")
        SubElement(detail, "Type").text = fault(error)
        SubElement(detail, "Code").text = query_code(error, model)
        SubElement(detail, "Message").text = _xml_text(error.message)
        SubElement(root, "RequestId").text = request_id
        return _response(root, error.status, request_id)


def read_form(body: bytes) -> dict[str, str]:
    """Parse a form.

    Raises
    ------
    SerializationException
        The body is not a form in UTF-8, or gives a field twice.
    """
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=bool(body), errors="strict"
        )
    except ValueError as error:
        raise SerializationException(f"the body is not a form: {error}") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise SerializationException("the form gives a field twice")
    return form


def _response(root: Element, status: int, request_id: str) -> Response:
    body = tostring(root, encoding="utf-8", xml_declaration=True)
    return Response(body, status, {"x-amzn-RequestId": request_id}, media_type="text/xml")


def _from_form(form: Mapping[str, str], shape: Shape, prefix: str, mismatches: Mismatches) -> Any:
    """Read what stands under a prefix; None when nothing does."""
    kind = shape.type_name
    if kind == "structure":
        return _structure_from_form(form, shape, prefix, mismatches)
    if kind == "list":
        return _list_from_form(form, shape, prefix, mismatches)
    if kind == "map":
        return _map_from_form(form, shape, prefix, mismatches)
    text = form.get(prefix)
    if text is None:
        return None
    try:
        return read_text(text, kind)
    except (ValueError, OverflowError, OSError):
        mismatches.add(prefix, shape, text)
        return None


def _structure_from_form(
    form: Mapping[str, str], shape: Shape, prefix: str, mismatches: Mismatches
) -> dict[str, Any] | None:
    under = f"{prefix}." if prefix else ""
    # Some shapes contain themselves: go down only where the form does.
    if not any(name.startswith(under) for name in form):
        return None
    found = {
        name: _from_form(form, member, f"{under}{name}", mismatches)
        for name, member in shape.members.items()
    }
    return {name: value for name, value in found.items() if value is not None}


def _list_from_form(
    form: Mapping[str, str], shape: Shape, prefix: str, mismatches: Mismatches
) -> list[Any] | None:
    items: list[Any] = []
    while True:
        item = _from_form(form, shape.member, f"{prefix}.member.{len(items) + 1}", mismatches)
        if item is None:
            break
        items.append(item)
    # Clients write an empty list as an empty value.
    return items if items or form.get(prefix) == "" else None


def _map_from_form(
    form: Mapping[str, str], shape: Shape, prefix: str, mismatches: Mismatches
) -> dict[str, Any] | None:
    entries: dict[str, Any] = {}
    while True:
        entry = f"{prefix}.entry.{len(entries) + 1}"
        key = form.get(f"{entry}.key")
        if key is None or key in entries:
            break
        entries[key] = _from_form(form, shape.value, f"{entry}.value", mismatches)
    return entries or None


def _fill(element: Element, value: Any, shape: Shape, path: str) -> None:
    kind = shape.type_name
    if kind == "structure":
        for name, item, member in present_members(value, shape, path):
            _fill(SubElement(element, name), item, member, f"{path}.{name}")
    elif kind == "list":
        for item in value:
            _fill(SubElement(element, "member"), item, shape.member, path)
    elif kind == "map":
        for key, item in value.items():
            entry = SubElement(element, "entry")
            SubElement(entry, "key").text = key
            _fill(SubElement(entry, "value"), item, shape.value, path)
    elif kind == "timestamp":
        moment = value.astimezone(UTC).isoformat(timespec="milliseconds")
        element.text = moment.replace("+00:00", "Z")
    elif kind == "boolean":
        element.text = "true" if value else "false"
    elif kind == "blob":
        element.text = base64.b64encode(value).decode()
    elif kind in {"float", "double"}:
        element.text = str(float(value))
    else:
        element.text = _xml_text(str(value))


def _xml_text(text: str) -> str:
    # XML has no way to write these, and a message may repeat what the caller sent.
    return re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
