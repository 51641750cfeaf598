"""By which names, and from which web pages, the server may be talked to.

A page on another site can make a browser send requests here, and a name its owner controls can be
pointed at 127.0.0.1 (DNS rebinding). So only requests by a loopback name or address pass, or by a
name the operator allows, and none that a page of another origin made. Everything else is refused
before it is looked at.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from matinee.sagemaker.errors import AccessDeniedException

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9.-]+))(?::\d{1,5})?", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """Return whether a host name or a bare IP address means this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """Return whether a text is a host name or a bare IP address, without a port."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _NAME.fullmatch(text) is not None
    return True


class AllowedHosts:
    """ASGI middleware that refuses other Hosts and other Origins with 403.

    Parameters
    ----------
    app
        What it guards.
    names
        Host names and bare IP addresses that are allowed besides those of loopback.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = ()) -> None:
        self.app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope))
        if refusal is None:
            await self.app(scope, receive, send)
            return
        body = json.dumps({"__type": refusal.code, "message": refusal.message})
        response = Response(body, refusal.status, media_type="application/json")
        await response(scope, receive, send)

    def _refusal(self, headers: Headers) -> AccessDeniedException | None:
        hosts = headers.getlist("host")
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        name = "" if match is None else (match["v6"] or match["name"]).lower()
        if not (is_loopback(name) or name in self._names):
            allowed = ", ".join(["127.0.0.1", "localhost", "[::1]", *sorted(self._names)])
            return AccessDeniedException(
                f"Host {', '.join(hosts)!r} is not a loopback name or one that is allowed; use one "
                f"of {allowed}"
            )
        own = f"http://{hosts[0]}".lower()
        if any(origin.lower() != own for origin in headers.getlist("origin")):
            return AccessDeniedException(
                f"Origin {', '.join(headers.getlist('origin'))!r} is another site than {own!r}"
            )
        return None
