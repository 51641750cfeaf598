"""What every page of the console has around it: the navigation, the style, the headings.

Templates are Jinja2's with autoescape, so whatever a name, a title or a log line holds is shown and
never obeyed; a value that a template misses is an error, not a blank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from matinee.sagemaker.console import texts

ROOT = "/console"
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the navigation: its words and where it leads."""

    title: str
    path: str


def href(*parts: str) -> str:
    """Return the path of a page below the console, its parts encoded."""
    return "/".join([ROOT, *(quote(part, safe="") for part in parts)])


class Frame:
    """Renders pages of the console.

    Parameters
    ----------
    navigation
        Its entries in their order.
    folders
        Of templates, besides the console's own; those of a folder may extend ``layout.html`` and
        fill its blocks ``main`` and ``head``.
    """

    def __init__(self, navigation: Sequence[Entry], folders: Sequence[Path] = ()) -> None:
        self._navigation = navigation
        self._folders = folders
        self._environment = Environment(
            loader=ChoiceLoader([FileSystemLoader(path) for path in (*folders, _TEMPLATES)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(texts.FILTERS)
        self._environment.globals.update(href=href, root=ROOT, version=version("matinee"))

    def with_templates(self, folder: Path) -> Frame:
        """Return the same frame for templates of another folder."""
        return Frame(self._navigation, [folder, *self._folders])

    def render(
        self, request: Request, template: str, /, *, title: str, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """Render a page.

        Parameters
        ----------
        request
            What it answers; tells where in the navigation the page is.
        template
            Its file's name; it extends ``layout.html``.
        title
            Of the page, in the browser's tab and over the page.
        status
            Of the answer.
        values
            What else the template uses.
        """
        path = request.scope["path"]
        entries = [
            (entry, path == entry.path or (entry.path != f"{ROOT}/" and _is_below(path, entry)))
            for entry in self._navigation
        ]
        text = self._text(template, {"title": title, "navigation": entries, **values})
        return HTMLResponse(text, status)

    def fragment(self, template: str, /, *, is_live: bool, **values: Any) -> HTMLResponse:
        """Render the parts of a page that change, each an element with ``data-part``.

        A page that has them in an element with ``data-live``, the address that answers this, has
        each replaced when it has changed.

        Parameters
        ----------
        template
            Its file's name.
        is_live
            Whether the page is to ask again.
        values
            What else the template uses.
        """
        text = self._text(template, {"is_live": is_live, **values})
        return HTMLResponse(text, headers={"x-matinee-live": "yes" if is_live else "no"})

    def _text(self, template: str, values: Mapping[str, Any]) -> str:
        return self._environment.get_template(template).render(values)


def _is_below(path: str, entry: Entry) -> bool:
    return bool(f"{path}/".startswith(f"{entry.path.rstrip('/')}/"))
