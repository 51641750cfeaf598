"""The model registry: a group's versions with their approval and figures, and one package."""

from __future__ import annotations

import math

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matinee.sagemaker.console import facts, listings
from matinee.sagemaker.console.frame import Frame
from matinee.sagemaker.console.kinds import REGISTRY
from matinee.sagemaker.console.resource_pages import ResourcePages
from matinee.sagemaker.context import Context
from matinee.sagemaker.registry.model_registry import PACKAGE
from matinee.sagemaker.store import Resource

_MOST_FIGURES = 6


def routes(context: Context, frame: Frame, pages: ResourcePages) -> list[Route]:
    """Return the routes of groups and packages."""

    def show_group(request: Request) -> Response:
        group = pages.find(REGISTRY, request)
        # The key ends with the version, of fixed width.
        found, token = listings.rows(
            context, PACKAGE.name, request.query_params, parent=group.arn, sort_by="Name"
        )
        figures = _figures(found)
        return frame.render(
            request,
            "group.html",
            title=group.name,
            group=group,
            packages=found,
            figures=figures,
            is_first="after" not in request.query_params,
            token=token,
            **pages.head(group),
        )

    def show_package(request: Request) -> Response:
        name = request.path_params["name"]
        package = context.store.get(PACKAGE.name, name)
        if package is None:
            raise HTTPException(404, f"There is no model package {name!r}")
        return frame.render(
            request,
            "package.html",
            title=str(package.document["ModelPackageName"]),
            resource=package,
            sections=facts.of(package),
            **pages.head(package),
        )

    return [
        Route(f"/{REGISTRY.path}/{{name}}", show_group),
        Route("/packages/{name:path}", show_package),
    ]


def _figures(packages: list[Resource]) -> list[str]:
    """Return the names of the properties that are numbers, of any of these packages."""
    names: dict[str, None] = {}
    for package in packages:
        for name, value in package.document.get("CustomerMetadataProperties", {}).items():
            if _is_number(value):
                names[name] = None
    return sorted(names)[:_MOST_FIGURES]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
