"""Bodies that clients send compressed, as CloudWatch's do with what is over 10 KiB."""

from __future__ import annotations

import dataclasses
import zlib

from matinee.sagemaker.errors import RequestEntityTooLarge, SerializationException
from matinee.sagemaker.http.auth import ReceivedRequest

# So much may come of a body that is allowed to be a megabyte.
MAX_INFLATED_BYTES = 16 << 20
_GZIP = 16 + zlib.MAX_WBITS


def inflated(request: ReceivedRequest) -> ReceivedRequest:
    """Return a request with the body it had before it was compressed.

    Raises
    ------
    SerializationException
        It is compressed in an unknown way, or damaged.
    RequestEntityTooLarge
        The body would be over the limit.
    """
    encoding = (request.header("content-encoding") or "identity").strip().lower()
    if encoding == "identity":
        return request
    if encoding != "gzip":
        raise SerializationException(f"Content-Encoding {encoding!r} is not gzip")
    stream = zlib.decompressobj(_GZIP)
    try:
        body = stream.decompress(request.body, MAX_INFLATED_BYTES + 1)
    except zlib.error as error:
        raise SerializationException(f"the body is not gzip: {error}") from error
    if len(body) > MAX_INFLATED_BYTES:
        raise RequestEntityTooLarge(f"the body is over {MAX_INFLATED_BYTES} bytes, uncompressed")
    if not stream.eof or stream.unused_data:
        raise SerializationException("the body is not gzip: it does not end where it should")
    return dataclasses.replace(request, body=body)
