"""Links from a job to where it was asked for: ``--console-tag-link TAG=URL``.

A resource with the tag ``TAG`` links to ``URL``, in which ``{}`` stands for the tag's value. So the
jobs of a workflow lead back to the run that made them, and the server knows of no workflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from matinee.sagemaker.console.errors import ConsoleOptionsError


class TagLinkError(ConsoleOptionsError):
    """A link is not of the form it must have."""


@dataclass(frozen=True, slots=True)
class TagLink:
    """A tag, and the address its values stand for."""

    tag: str
    url: str

    def of(self, value: str) -> str:
        """Return the address for a value of the tag."""
        return self.url.replace("{}", quote(value, safe=""))


def read(words: Sequence[str]) -> list[TagLink]:
    """Read the values of ``--console-tag-link``.

    Raises
    ------
    TagLinkError
        One is not ``TAG=URL``, or its URL is not http, https, or without ``{}`` in its path or
        query.
    """
    links = []
    for word in words:
        tag, equals, url = word.partition("=")
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise TagLinkError(f"--console-tag-link {word}: {error}") from error
        is_web = parts.scheme in {"http", "https"} and parts.netloc and "{}" not in parts.netloc
        if not (tag and equals and is_web and "{}" in url):
            raise TagLinkError(
                f"--console-tag-link {word}: it must look like TAG=http://host/path/{{}}, with "
                "{} for the tag's value"
            )
        links.append(TagLink(tag, url))
    return links


def found(links: Sequence[TagLink], tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the addresses of a resource's tags, by tag."""
    values = {tag["Key"]: tag["Value"] for tag in tags}
    return {link.tag: link.of(values[link.tag]) for link in links if link.tag in values}
