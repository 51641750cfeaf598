"""Decompress a gzip stream piece by piece, in bounded memory and up to a limit.

Several members make one stream, as ``cat a.gz b.gz`` does. What is damaged, ends too early or
becomes larger than an archive of its size may (``archives.Limits``), if there is such a limit, is
refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from matinee.sagemaker.data.archives import DEFAULT_LIMITS, Limits

# zlib's name for the format, with the largest window
_GZIP = 31
_PIECE_BYTES = 1024**2


def unzipped(chunks: Iterable[bytes], limits: Limits | None = DEFAULT_LIMITS) -> Iterator[bytes]:
    """Yield what gzip compressed, of one member or several; without limits, whatever it becomes.

    Raises
    ------
    zlib.error
        It is not gzip, is damaged or becomes larger than the limits.
    EOFError
        It ends too early.
    """
    member, read, written = zlib.decompressobj(_GZIP), 0, 0
    for chunk in chunks:
        read += len(chunk)
        data = chunk
        while data:
            if member.eof:
                # Zeros may fill up what stands behind a member.
                data = data.lstrip(b"\0")
                if not data:
                    break
                member = zlib.decompressobj(_GZIP)
            piece = member.decompress(data, _PIECE_BYTES)
            written += len(piece)
            if limits and written > (capacity := limits.bytes_for(read)):
                raise zlib.error(f"it decompresses to over {capacity} bytes")
            yield piece
            data = member.unused_data if member.eof else member.unconsumed_tail
    if read and not member.eof:
        raise EOFError("the compressed data ends too early")
