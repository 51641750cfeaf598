"""The console's options of the server's start, read and checked before it listens."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matinee.sagemaker import private_files
from matinee.sagemaker.console import added_pages, tag_links
from matinee.sagemaker.console.added_pages import AddedPage
from matinee.sagemaker.console.errors import ConsoleOptionsError
from matinee.sagemaker.console.navigation import OWN_NAMES
from matinee.sagemaker.console.tag_links import TagLink

__all__ = ["ConsoleOptions", "ConsoleOptionsError", "add_to", "read"]


@dataclass(frozen=True, slots=True, repr=False)
class ConsoleOptions:
    """What a console is started with; no repr, so that the token gets into no log.

    Attributes
    ----------
    token
        Signs in.
    pages
        Of somebody above the server.
    tag_links
        Where tags of jobs lead.
    """

    token: str
    pages: Sequence[AddedPage] = ()
    tag_links: Sequence[TagLink] = ()


def add_to(parser: argparse.ArgumentParser) -> None:
    """Add the options to the server's parser."""
    parser.add_argument(
        "--console-token",
        type=Path,
        metavar="FILE",
        help='serve the console; JSON of mode 600: {"token": ..}, which signs in',
    )
    parser.add_argument(
        "--console-page",
        action="append",
        default=[],
        metavar="NAME=MODULE:FACTORY",
        help="a page that the console has besides its own; may be repeated",
    )
    parser.add_argument(
        "--console-tag-link",
        action="append",
        default=[],
        metavar="TAG=URL",
        help="where a job with this tag links to, {} for the tag's value; may be repeated",
    )


def read(arguments: argparse.Namespace) -> ConsoleOptions | None:
    """Return the options of the console; None when there is to be none.

    Raises
    ------
    PrivateFileError, ConsoleOptionsError
        The console cannot be as it was told to.
    """
    pages = added_pages.load(arguments.console_page, OWN_NAMES)
    links = tag_links.read(arguments.console_tag_link)
    if arguments.console_token is None:
        return None
    found = private_files.read_strings(arguments.console_token, "console token", ["token"])
    return ConsoleOptions(found["token"], pages, links)
