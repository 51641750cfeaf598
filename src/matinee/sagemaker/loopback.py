"""Which names and which web pages may talk to the server.

A page on another site can make a browser send requests here, and a name its owner controls can be
pointed at 127.0.0.1 (DNS rebinding). So only requests by a loopback name or address pass, and
none that a page of another origin made. Everything else is refused before it is looked at.
"""

from __future__ import annotations

import ipaddress
import json
import re

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from matinee.sagemaker.errors import AccessDeniedException

_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9.-]+))(?::\d{1,5})?", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """Return whether a host name or a bare IP address means this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class LoopbackOnly:
    """ASGI middleware that refuses other Hosts and other Origins with 403.

    Parameters
    ----------
    app
        What it guards.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = _refusal(Headers(scope=scope))
        if refusal is None:
            await self.app(scope, receive, send)
            return
        body = json.dumps({"__type": refusal.code, "message": refusal.message})
        response = Response(body, refusal.status, media_type="application/json")
        await response(scope, receive, send)


def _refusal(headers: Headers) -> AccessDeniedException | None:
    hosts = headers.getlist("host")
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if match is None or not is_loopback(match["v6"] or match["name"]):
        return AccessDeniedException(
            f"Host {', '.join(hosts)!r} is not a loopback name; use 127.0.0.1, localhost or [::1]"
        )
    own = f"http://{hosts[0]}".lower()
    if any(origin.lower() != own for origin in headers.getlist("origin")):
        return AccessDeniedException(
            f"Origin {', '.join(headers.getlist('origin'))!r} is another site than {own!r}"
        )
    return None
