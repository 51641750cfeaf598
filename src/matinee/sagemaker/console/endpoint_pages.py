"""An endpoint's page, with a form that sends it a record as InvokeEndpoint does."""

from __future__ import annotations

import json
import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee.sagemaker.console import forms, texts
from matinee.sagemaker.console.frame import Frame
from matinee.sagemaker.console.kinds import ENDPOINT
from matinee.sagemaker.console.resource_pages import ResourcePages
from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ServiceError
from matinee.sagemaker.services import runtime

_JSON = "application/json"
_SHOWN_BYTES = 100_000


def routes(context: Context, frame: Frame, pages: ResourcePages) -> list[Route]:
    """Return the routes of endpoints, but for their lists and logs."""

    def page(request: Request, trial: dict[str, Any]) -> Response:
        endpoint = pages.find(ENDPOINT, request)
        return frame.render(
            request,
            "endpoint.html",
            title=endpoint.name,
            trial=trial,
            **pages.parts(ENDPOINT, endpoint),
            **pages.head(endpoint),
        )

    def show(request: Request) -> Response:
        return page(request, {"record": "", "content_type": _JSON, "accept": "", "answer": None})

    async def try_it(request: Request) -> Response:
        form = await forms.fields(request)
        asked = {
            "record": form.get("record", ""),
            "content_type": form.get("content_type", _JSON),
            "accept": form.get("accept", ""),
        }
        answer = await _invoke(context, request.path_params["name"], asked)
        return await run_in_threadpool(page, request, {**asked, "answer": answer})

    path = f"/{ENDPOINT.path}/{{name}}"
    return [Route(path, show), Route(f"{path}/try", try_it, methods=["POST"])]


async def _invoke(context: Context, name: str, asked: dict[str, str]) -> dict[str, Any]:
    """Return what the endpoint answers, or why it does not."""
    request = {
        "EndpointName": name,
        "ContentType": asked["content_type"],
        "Accept": asked["accept"],
        # A browser's lines end with two characters.
        "Body": asked["record"].replace("\r\n", "\n").encode(),
    }
    started = time.perf_counter()
    try:
        answer = await runtime.invoke_endpoint(context, request)
    except ServiceError as error:
        return {"problem": f"{error.code}: {error.message}"}
    body: bytes = answer["Body"]
    return {
        "problem": "",
        "milliseconds": 1000 * (time.perf_counter() - started),
        "content_type": answer["ContentType"],
        "variant": answer["InvokedProductionVariant"],
        "size": len(body),
        "text": _readable(body[:_SHOWN_BYTES], answer["ContentType"]),
        "is_cut": len(body) > _SHOWN_BYTES,
    }


def _readable(body: bytes, content_type: str) -> str:
    text = body.decode(errors="replace")
    if content_type.partition(";")[0].strip() == _JSON:
        try:
            return texts.document(json.loads(text))
        except (ValueError, RecursionError):
            return text
    return text
