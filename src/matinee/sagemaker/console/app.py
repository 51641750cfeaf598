"""The console as an ASGI application, to be mounted at ``/console``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from matinee.sagemaker.console import (
    comparison,
    endpoint_pages,
    lineage_pages,
    listings,
    overview,
    registry_pages,
    trial_pages,
)
from matinee.sagemaker.console.frame import Frame, href
from matinee.sagemaker.console.navigation import ENTRIES
from matinee.sagemaker.console.options import ConsoleOptions
from matinee.sagemaker.console.resource_pages import ResourcePages
from matinee.sagemaker.console.sign_in import Guard, SignIn
from matinee.sagemaker.console.sign_in_page import SignInPage
from matinee.sagemaker.context import Context
from matinee.sagemaker.errors import ServiceError

_STATIC = Path(__file__).parent / "static"
_OPEN_PATHS = frozenset({href("sign-in"), href("static", "console.css")})


def create_console(context: Context, options: ConsoleOptions) -> Starlette:
    """Return the console.

    Parameters
    ----------
    context
        The server's surroundings.
    options
        What it was started with.

    Raises
    ------
    PageError
        A page of somebody above the server cannot be made.
    """
    frame = Frame([*ENTRIES, *(page.entry for page in options.pages)])
    sign_in = SignIn(options.token, context.clock)
    sign_in_page = SignInPage(frame, sign_in)

    pages = ResourcePages(context, frame, options.tag_links)

    def refuse(request: Request) -> Response:
        return sign_in_page.ask(request, status=401)

    def missing(request: Request, error: Any) -> Response:
        status, title = error.status_code, error.detail
        return frame.render(request, "error.html", title=title, status=status, message="")

    def refused(request: Request, error: Any) -> Response:
        said = error.message
        return frame.render(request, "error.html", title="Not possible", status=404, message=said)

    return Starlette(
        routes=[
            *sign_in_page.routes,
            Route("/static/plotly.min.js", _plotly),
            Mount("/static", StaticFiles(directory=_STATIC)),
            *overview.routes(context, frame),
            *listings.routes(context, frame),
            *comparison.routes(context, frame),
            *trial_pages.routes(context, frame, pages),
            *endpoint_pages.routes(context, frame, pages),
            *registry_pages.routes(context, frame, pages),
            *lineage_pages.routes(context, frame),
            *pages.routes,
            *(page.mount(frame, context) for page in options.pages),
        ],
        middleware=[
            Middleware(Guard, sign_in=sign_in, open_paths=_OPEN_PATHS, refuse=refuse),
        ],
        exception_handlers={HTTPException: missing, ServiceError: refused},
    )


def _plotly(_request: Request) -> Response:
    """Serve plotly's script as it lies in the installed package, which need not be imported."""
    package = importlib.util.find_spec("plotly")
    if package is None or package.origin is None:
        raise HTTPException(404, "plotly is not installed")
    path = Path(package.origin).parent / "package_data" / "plotly.min.js"
    return FileResponse(path, headers={"cache-control": "private, max-age=86400"})
