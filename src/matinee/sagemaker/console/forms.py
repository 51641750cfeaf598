"""Forms that a page sends: their fields, bounded."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request

from matinee.sagemaker.errors import SerializationException
from matinee.sagemaker.http.bodies import read_body
from matinee.sagemaker.http.query_protocol import read_form

MAX_BYTES = 1 << 20


async def fields(request: Request) -> dict[str, str]:
    """Return the fields of a form that was sent.

    Raises
    ------
    HTTPException
        It is over a mebibyte (413), or no form (400).
    """
    body = await read_body(request, MAX_BYTES)
    if body is None:
        raise HTTPException(413, f"The form is over {MAX_BYTES} bytes")
    try:
        return read_form(body)
    except SerializationException as error:
        raise HTTPException(400, "This is not a form of the console") from error
