"""The body of a request, as far as it may go."""

from __future__ import annotations

from starlette.requests import Request


async def read_body(request: Request, limit: int) -> bytes | None:
    """Read the body; None when it is over so many bytes.

    Raises
    ------
    starlette.requests.ClientDisconnect
        The client is gone.
    """
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
