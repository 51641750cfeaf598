"""The page: a customer's ratings beside what is recommended to them, and why.

Made for `--console-page recommendations=matinee.explorer.pages:create`. All that it is asked stands
in the query, so that what one sees has an address. Ids and titles are others' text: the template
escapes them.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee.sagemaker.console import Frame
from matinee.workflow.errors import WorkflowError

if TYPE_CHECKING:
    from matinee.explorer.answers import Answers

_TEMPLATES = Path(__file__).parent / "templates"
_COUNTS = (10, 25, 50)
_TURN = re.compile(r"[0-9]{1,9}")


class _Store(Protocol):
    def settings(self) -> dict[str, str | None]: ...


class Surroundings(Protocol):
    """What the page needs of the server: how its S3 is reached."""

    @property
    def objects(self) -> _Store: ...


def create(frame: Frame, surroundings: Surroundings) -> list[Route]:
    """Return the page's routes.

    Parameters
    ----------
    frame
        The console's.
    surroundings
        The server's context.
    """
    own_frame = frame.with_templates(_TEMPLATES)

    @functools.cache
    def answers() -> Answers:
        from matinee.explorer.answers import Answers

        return Answers(surroundings.objects.settings())

    def show(request: Request) -> Response:
        asked = {
            "customer": request.query_params.get("customer", "").strip(),
            "run": request.query_params.get("run", "").strip(),
            "top": request.query_params.get("top", str(_COUNTS[0])),
        }
        turn = request.query_params.get("examples", "0")
        answer: dict[str, Any] = {}
        problem, status = "", 200
        if asked["top"] not in map(str, _COUNTS) or not _TURN.fullmatch(turn):
            problem, status = "This is not an address of this page.", 400
        else:
            # The server's own API, where it listens: whatever name the browser knows it by.
            host, port = request.scope["server"]
            url = f"http://{host}:{port}"
            try:
                answer = answers().answer(
                    url, asked["customer"], asked["run"], int(asked["top"]), int(turn)
                )
            except WorkflowError as error:
                problem, status = str(error), 404
            except (BotoCoreError, ClientError) as error:
                problem, status = str(error), 503
        return own_frame.render(
            request,
            "explorer.html",
            title="Recommendations",
            status=status,
            asked=asked,
            counts=_COUNTS,
            problem=problem,
            **answer,
        )

    return [Route("/", show)]
