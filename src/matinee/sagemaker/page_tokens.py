"""The tokens by which lists go on: what was asked for, and the place where a page ended.

A place means something to the list that wrote it alone, so a token of another query or of another
hand is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Container, Mapping
from typing import Any


def fingerprint(request: Mapping[str, Any], left_out: Container[str], *more: Any) -> str:
    """Return what tells a query from others.

    Parameters
    ----------
    request
        The parsed request.
    left_out
        Members that may change from page to page.
    more
        What else tells this list from others.
    """
    asked = {name: value for name, value in request.items() if name not in left_out}
    text = json.dumps([asked, *more], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write(query: str, *place: str | float) -> str:
    """Return the token of a place in a query's answer; the query by its fingerprint."""
    return base64.urlsafe_b64encode(json.dumps([query, *place]).encode()).decode()


def read(token: str, query: str) -> list[Any]:
    """Return the place that a token was written for.

    Raises
    ------
    ValueError
        It is no token, or one of another query.
    """
    try:
        written = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, RecursionError) as error:
        raise ValueError("is not a token of this service") from error
    if not isinstance(written, list) or not written:
        raise ValueError("is not a token of this service")
    if written[0] != query:
        raise ValueError("belongs to another query")
    return written[1:]
