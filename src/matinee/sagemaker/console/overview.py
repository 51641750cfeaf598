"""The first page: how many there are of everything, what runs, what failed last."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee.sagemaker.console.frame import Frame
from matinee.sagemaker.context import Context


def routes(context: Context, frame: Frame) -> list[Route]:
    """Return the page's route."""

    def show(request: Request) -> Response:
        return frame.render(request, "overview.html", title="Overview", region=context.region)

    return [Route("/", show)]
