"""The first page: how many there are of everything, what runs, what came last."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee.sagemaker.console.frame import Frame
from matinee.sagemaker.console.kinds import JOBS, LISTED
from matinee.sagemaker.context import Context
from matinee.sagemaker.store import Query

_LAST = 5


def routes(context: Context, frame: Frame) -> list[Route]:
    """Return the page's route."""

    def show(request: Request) -> Response:
        counts = [(kind, context.store.counts(kind.name)) for kind in LISTED]
        last = [
            (kind, context.store.page(Query(kind=kind.name, descending=True), _LAST))
            for kind in JOBS
        ]
        recent = sorted(
            ((job.created, kind, job) for kind, found in last for job in found),
            key=lambda item: item[0],
            reverse=True,
        )
        return frame.render(
            request,
            "overview.html",
            title="Overview",
            counts=[(kind, sum(found.values()), found) for kind, found in counts],
            recent=[(kind, job) for _, kind, job in recent[: 2 * _LAST]],
        )

    return [Route("/", show)]
