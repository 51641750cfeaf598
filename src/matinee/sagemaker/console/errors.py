"""What is wrong with how a console is to be started."""

from __future__ import annotations


class ConsoleOptionsError(Exception):
    """An option of the console is not of the form it must have, or what it names does not work."""
