"""Signing in by the address with the token or by a form, and signing out."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from matinee.sagemaker.console import forms
from matinee.sagemaker.console.frame import ROOT, Frame, href
from matinee.sagemaker.console.sign_in import SignIn

_HOME = f"{ROOT}/"


class SignInPage:
    """The pages of signing in and out.

    Parameters
    ----------
    frame
        Renders them.
    sign_in
        Knows the token.
    """

    def __init__(self, frame: Frame, sign_in: SignIn) -> None:
        self._frame = frame
        self._sign_in = sign_in

    @property
    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/sign-in", self._by_address, methods=["GET"]),
            Route("/sign-in", self._by_form, methods=["POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
        ]

    def ask(self, request: Request, *, status: int, problem: str = "") -> Response:
        """Ask for the token; whoever gives it comes to the page that was asked for."""
        wanted = request.url.path
        if request.url.query:
            wanted += f"?{request.url.query}"
        next_ = wanted if request.method == "GET" and problem == "" else _HOME
        return self._frame.render(
            request, "sign_in.html", title="Sign in", status=status, problem=problem, next=next_
        )

    def _by_address(self, request: Request) -> Response:
        token = request.query_params.get("token")
        if token is not None:
            return self._answer(request, token, request.query_params.get("next", _HOME))
        if self._sign_in.is_signed_in(request):
            return RedirectResponse(_HOME, 303)
        return self._frame.render(
            request, "sign_in.html", title="Sign in", status=200, problem="", next=_HOME
        )

    async def _by_form(self, request: Request) -> Response:
        form = await forms.fields(request)
        return self._answer(request, form.get("token", ""), form.get("next", _HOME))

    def _answer(self, request: Request, token: str, wanted: str) -> Response:
        if not self._sign_in.is_token(token):
            return self.ask(request, status=403, problem="That is not the token of this console.")
        response = RedirectResponse(_inside(wanted), 303)
        self._sign_in.admit(response)
        return response

    def _sign_out(self, _request: Request) -> Response:
        response = RedirectResponse(href("sign-in"), 303)
        self._sign_in.dismiss(response)
        return response


def _inside(wanted: str) -> str:
    """Return the address if it is one of the console's pages, else that of the first page."""
    # Browsers take a backslash for a slash, and leave tabs and line breaks out.
    is_plain = wanted.isprintable() and "\\" not in wanted
    if not (is_plain and wanted.startswith(_HOME)):
        return _HOME
    parts = urlsplit(wanted)
    return wanted if not (parts.scheme or parts.netloc) and ".." not in parts.path else _HOME
