"""The trials on a tuning job's page: their table, and their figures."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from matinee.sagemaker.console import trials
from matinee.sagemaker.console.frame import Frame
from matinee.sagemaker.console.kinds import TUNING
from matinee.sagemaker.console.resource_pages import ResourcePages, is_at_rest
from matinee.sagemaker.context import Context


def routes(context: Context, frame: Frame, pages: ResourcePages) -> list[Route]:
    """Return the routes, to be asked before those of other jobs."""

    def show(request: Request) -> Response:
        job = pages.find(TUNING, request)
        return frame.render(
            request,
            "tuning.html",
            title=job.name,
            trials=trials.of(context, job),
            **pages.parts(TUNING, job),
            **pages.head(job),
        )

    def live(request: Request) -> Response:
        job = pages.find(TUNING, request)
        parts = pages.parts(TUNING, job)
        found = trials.of(context, job)
        is_live = parts.pop("is_live")
        return frame.fragment("tuning_parts.html", is_live=is_live, trials=found, **parts)

    def draw(request: Request) -> Response:
        job = pages.find(TUNING, request)
        figures = trials.figures(job, trials.of(context, job))
        return JSONResponse({"figures": figures, "is_live": not is_at_rest(TUNING, job)})

    path = f"/{TUNING.path}/{{name}}"
    return [Route(path, show), Route(f"{path}/live", live), Route(f"{path}/trials", draw)]
