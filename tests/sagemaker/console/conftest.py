"""A server with a console, and a browser's way to ask it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee.sagemaker.console.added_pages import AddedPage
from matinee.sagemaker.console.frame import Frame
from matinee.sagemaker.console.options import ConsoleOptions
from matinee.sagemaker.console.tag_links import TagLink
from matinee.sagemaker.context import Context
from matinee.sagemaker.data.objects import Objects
from tests.conftest import ObjectStore
from tests.sagemaker.conftest import Front, fronting
from tests.sagemaker.console.scene import Scene, playing

TOKEN = "a-token-of-the-tests"


def added_page(frame: Frame, context: Context) -> list[Route]:
    """Make a page of somebody above the server."""
    frame = frame.with_templates(Path(__file__).parent / "templates")

    def show(request: Request) -> Response:
        region = context.region
        return frame.render(request, "added.html", title="Added", region=region)

    return [Route("/", show)]


@pytest.fixture
def console_front(
    object_store: ObjectStore, objects: Objects, session: boto3.Session, tmp_path: Path
) -> Iterator[Front]:
    options = ConsoleOptions(
        TOKEN,
        [AddedPage("added-page", "the tests", added_page)],
        [TagLink("airflow-run", "http://127.0.0.1:8080/runs/{}")],
    )
    with fronting(object_store, objects, session, tmp_path, options) as front:
        yield front


@pytest.fixture
def stranger(console_front: Front) -> Iterator[httpx.Client]:
    """Ask without having signed in."""
    with httpx.Client(base_url=console_front.endpoint, trust_env=False) as client:
        yield client


@pytest.fixture
def browser(console_front: Front) -> Iterator[httpx.Client]:
    """Ask as who has signed in."""
    origin = {"origin": console_front.endpoint}
    with httpx.Client(base_url=console_front.endpoint, trust_env=False, headers=origin) as client:
        assert client.get("/console/sign-in", params={"token": TOKEN}).status_code == 303
        yield client


@pytest.fixture(scope="package")
def scene(object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A server process with real jobs."""
    with playing(tmp_path_factory.mktemp("scene"), object_store, TOKEN) as scene:
        yield scene
