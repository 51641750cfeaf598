"""Pages that somebody above the server adds: ``--console-page NAME=module:factory``.

The page's name is its place, ``/console/NAME/``, and its line in the navigation. The factory is
called once, at the start, with the frame and the server's surroundings, and returns the routes that
are to be below that place, the first of them ``/``; they are behind the same sign-in. What cannot
work is refused by name before the server listens.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute, Mount

from matinee.sagemaker.console.errors import ConsoleOptionsError
from matinee.sagemaker.console.frame import Entry, Frame, href
from matinee.sagemaker.context import Context

Factory = Callable[[Frame, Context], Sequence[BaseRoute]]

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


class PageError(ConsoleOptionsError):
    """A page cannot be added as it was told."""


@dataclass(frozen=True, slots=True)
class AddedPage:
    """A page and what makes it.

    Attributes
    ----------
    name
        Its place.
    source
        What it was given as, for messages.
    factory
        Returns its routes.
    """

    name: str
    source: str
    factory: Factory

    @property
    def entry(self) -> Entry:
        """Its line in the navigation."""
        return Entry(self.name.replace("-", " ").capitalize(), f"{href(self.name)}/")

    def mount(self, frame: Frame, context: Context) -> Mount:
        """Make the page.

        Raises
        ------
        PageError
            The factory fails, or returns what are no routes.
        """
        try:
            routes = self.factory(frame, context)
        except Exception as error:
            raise PageError(
                f"{self.source}: the factory failed: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(routes, Sequence) or not all(
            isinstance(route, BaseRoute) for route in routes
        ):
            raise PageError(
                f"{self.source}: the factory must return a sequence of Starlette's routes, not "
                f"{routes!r}"
            )
        return Mount(f"/{self.name}", routes=routes)


def load(words: Sequence[str], taken: Collection[str]) -> list[AddedPage]:
    """Read the values of ``--console-page`` and import what they name.

    Parameters
    ----------
    words
        Each ``NAME=module:factory``.
    taken
        Names of the console's own pages.

    Raises
    ------
    PageError
        One is not of that form, its name is taken, or there is no such factory.
    """
    pages: list[AddedPage] = []
    for word in words:
        name, _, place = word.partition("=")
        module_name, _, attribute = place.partition(":")
        where = f"--console-page {word}"
        if not (_NAME.fullmatch(name) and module_name and attribute.isidentifier()):
            raise PageError(
                f"{where}: it must look like NAME=module:factory, NAME of small letters, digits "
                "and hyphens"
            )
        if name in taken or any(page.name == name for page in pages):
            raise PageError(f"{where}: the console already has a page {name!r}")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise PageError(f"{where}: cannot import {module_name!r}: {error}") from error
        factory = getattr(module, attribute, None)
        if not callable(factory):
            raise PageError(f"{where}: {module_name!r} has no function {attribute!r}")
        pages.append(AddedPage(name, where, factory))
    return pages
