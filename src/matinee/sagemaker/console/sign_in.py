"""Who may see the console, and from where: one token, exchanged for a cookie.

A browser cannot sign as AWS's clients do, so whoever holds the token of the state folder signs in
with it, by the address that ``matinee up`` prints, as with Jupyter. The cookie is an expiry date
under a key made of the token: nothing is stored, a restart signs nobody out, another token signs
everybody out. It is HttpOnly and SameSite=Strict.

Refused: every request without the cookie but those for the sign-in page itself; a POST whose Origin
is not this very server, port included; a request that another site's page makes, other than
following a link. Other ports of this machine are the same *site* to a browser, hence the last two.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LIFETIME = timedelta(days=7)

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not no-referrer, with which browsers hide the Origin of a form.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_OWN_SITE = {"same-origin", "none"}


class SignIn:
    """Checks tokens, and makes and checks cookies.

    Parameters
    ----------
    token
        What signs in.
    clock
        The present as an aware datetime.
    """

    def __init__(self, token: str, clock: Callable[[], datetime]) -> None:
        self._token = token.encode()
        self._clock = clock
        # Cookies do not tell ports apart: two installations on one machine have two names.
        self.cookie_name = f"matinee-console-{hashlib.sha256(self._token).hexdigest()[:8]}"

    def is_token(self, text: str) -> bool:
        """Return whether this is the token."""
        return hmac.compare_digest(text.strip().encode(), self._token)

    def is_signed_in(self, request: Request) -> bool:
        """Return whether a request has a cookie that holds now."""
        expiry, dot, code = request.cookies.get(self.cookie_name, "").partition(".")
        if not (dot and expiry.isascii() and expiry.isdigit()):
            return False
        is_ours = hmac.compare_digest(code.encode(), self._code(expiry).encode())
        return is_ours and int(expiry) > self._clock().timestamp()

    def admit(self, response: Response) -> None:
        """Give the browser the cookie."""
        expiry = str(int((self._clock() + LIFETIME).timestamp()))
        response.set_cookie(
            self.cookie_name,
            f"{expiry}.{self._code(expiry)}",
            max_age=int(LIFETIME.total_seconds()),
            path="/console",
            httponly=True,
            samesite="strict",
        )

    def dismiss(self, response: Response) -> None:
        """Take the cookie away."""
        response.delete_cookie(self.cookie_name, path="/console", httponly=True, samesite="strict")

    def _code(self, expiry: str) -> str:
        return hmac.digest(self._token, f"console until {expiry}".encode(), "sha256").hex()


class Guard:
    """ASGI middleware that lets signed-in browsers through, and sets the console's headers.

    Parameters
    ----------
    app
        What it guards.
    sign_in
        Knows who is signed in.
    is_open
        Tells the paths that everybody may ask for.
    refuse
        Answers who is not signed in.
    """

    def __init__(
        self,
        app: ASGIApp,
        sign_in: SignIn,
        open_paths: Collection[str],
        refuse: Callable[[Request], Response],
    ) -> None:
        self._app = app
        self._sign_in = sign_in
        self._open_paths = open_paths
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                # What a page shows may be gone from the server a moment later.
                headers.setdefault("cache-control", "no-store")
            await send(message)

        answer = self._answer(Request(scope)) or self._app
        await answer(scope, receive, send_with_headers)

    def _answer(self, request: Request) -> Response | None:
        """Return the answer of a request that must not pass."""
        if not _is_own(request):
            return PlainTextResponse("matinee: this request comes from another site\n", 403)
        if request.scope["path"] in self._open_paths or self._sign_in.is_signed_in(request):
            return None
        return self._refuse(request)


def _is_own(request: Request) -> bool:
    """Return whether a request is this console's, or somebody's who follows a link to it."""
    site = request.headers.get("sec-fetch-site", "none")
    if request.method not in {"GET", "HEAD"}:
        # Its value was compared with the Host before; browsers send it with every POST.
        return site in _OWN_SITE and "origin" in request.headers
    is_link = request.headers.get("sec-fetch-mode") == "navigate"
    return site in _OWN_SITE or is_link
