"""A console with the page of recommendations, as the stack starts it, and a run to look at."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from matinee.stack.stack import Stack
from matinee.workflow.objects import Objects
from tests.films import put_run, running_stack

PAGE = "/console/recommendations/"


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("explorer")) as stack:
        folder = tmp_path_factory.mktemp("run")
        put_run(Objects(stack.client("s3")), stack, "matinee-0000000001", 1, folder)
        yield stack


@pytest.fixture
def stranger(stack: Stack) -> Iterator[httpx.Client]:
    """Ask without having signed in."""
    with httpx.Client(base_url=stack.sagemaker.address, trust_env=False) as client:
        yield client


@pytest.fixture
def browser(stack: Stack) -> Iterator[httpx.Client]:
    """Ask as who has signed in."""
    with httpx.Client(base_url=stack.sagemaker.address, trust_env=False) as client:
        assert client.get(stack.console_address).status_code == 303
        yield client
