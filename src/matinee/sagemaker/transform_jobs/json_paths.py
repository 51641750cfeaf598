"""The JSONPath of batch transform's filters: the part of the language that SageMaker takes.

Developer Guide, "Associate Prediction Results with Input Records": ``$``, ``.name``, ``*``,
``['a','b']``, ``[i,j]`` (negative from the end) and ``[start:end]``. Everything else, such as
``..`` and ``[?()]``, is refused with the place. As in the library the guide points to, a slice
leaves its end out, several names give an object of those that are there, and whatever may match
several values gives an array.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"[\w-]+")
_QUOTED = re.compile(r"'([^']*)'")
_INDEX = re.compile(r"-?[0-9]+")
_SLICE = re.compile(r"(-?[0-9]+)? *: *(-?[0-9]+)?")
# Of CSV, whose records have no names.
_INDEX_OPERATORS = frozenset("$[]*. ,:-0123456789")


class JsonPathError(ValueError):
    """A path cannot be read, or uses what SageMaker does not take."""


class NoMatchError(LookupError):
    """A document does not have what a path names."""


@dataclass(frozen=True, slots=True)
class _Names:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Indexes:
    """Indexes, and at most one slice among them."""

    items: tuple[int | slice, ...]


class _Any:
    """The wildcard."""


_Step = _Names | _Indexes | _Any


class JsonPath:
    """A path that was read.

    Parameters
    ----------
    text
        As the caller wrote it.

    Raises
    ------
    JsonPathError
        It is not a path of the part of JSONPath above.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps = tuple(_Reader(text).steps())

    @property
    def is_root(self) -> bool:
        """Whether it selects the whole document."""
        return not self._steps

    def refuse_names(self) -> None:
        """Refuse what a CSV record, which is an array, cannot have.

        Raises
        ------
        JsonPathError
        """
        for place, character in enumerate(self.text):
            if character not in _INDEX_OPERATORS:
                raise _unexpected(character, place)

    def select(self, document: Any) -> Any:
        """Return what the path finds in a parsed JSON document.

        Raises
        ------
        NoMatchError
            A single name or an index is not there.
        """
        nodes, is_definite = [document], True
        for place, step in enumerate(self._steps):
            if isinstance(step, _Names) and len(step.names) > 1:
                is_last = place == len(self._steps) - 1
                nodes = [item for node in nodes for item in _named(node, step.names, is_last)]
                is_definite = is_definite and is_last
                continue
            found = []
            for node in nodes:
                try:
                    found += _children(node, step)
                except NoMatchError as error:
                    if is_definite:
                        raise NoMatchError(f"{self.text} finds nothing: {error}") from error
            nodes = found
            is_single = isinstance(step, _Names) or (
                isinstance(step, _Indexes)
                and len(step.items) == 1
                and not isinstance(step.items[0], slice)
            )
            is_definite = is_definite and is_single
        return nodes[0] if is_definite else nodes


def _named(node: Any, names: tuple[str, ...], is_last: bool) -> list[Any]:
    if not isinstance(node, Mapping):
        return []
    found = {name: node[name] for name in names if name in node}
    return [found] if is_last else list(found.values())


def _children(node: Any, step: _Step) -> list[Any]:
    if isinstance(step, _Names):
        (name,) = step.names
        if not isinstance(node, Mapping) or name not in node:
            raise NoMatchError(f"no attribute {name!r}")
        return [node[name]]
    if isinstance(step, _Any):
        if isinstance(node, Mapping):
            return list(node.values())
        return list(node) if isinstance(node, list) else []
    if not isinstance(node, list):
        raise NoMatchError("not an array")
    found = []
    for item in step.items:
        if isinstance(item, slice):
            found += node[item]
        elif -len(node) <= item < len(node):
            found.append(node[item])
        else:
            raise NoMatchError(f"index {item} of {len(node)} elements")
    return found


class _Reader:
    """Reads a path from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    def steps(self) -> Iterator[_Step]:
        self._expect("$")
        while not self._is_at_end:
            if self._take("."):
                # A bracket may follow a dot: $.field1.['child1','child2']
                if self._take("["):
                    yield self._bracket()
                elif self._take("*"):
                    yield _Any()
                else:
                    yield _Names((self._match(_NAME)[0],))
            else:
                self._expect("[")
                yield self._bracket()

    def _bracket(self) -> _Step:
        self._skip_spaces()
        step: _Step
        if self._take("*"):
            step = _Any()
            self._skip_spaces()
        elif self._peek == "'":
            step = _Names(tuple(self._match(_QUOTED)[1] for _ in self._items()))
        else:
            step = _Indexes(tuple(self._index() for _ in self._items()))
            if sum(isinstance(item, slice) for item in step.items) > 1:
                raise JsonPathError(
                    f"Invalid JsonPath: {self._text}: only single range filters of format "
                    "(eg: [1:5]) are supported"
                )
        self._expect("]")
        return step

    def _items(self) -> Iterator[None]:
        """Yield before each of the items of a list, and read what is between them."""
        yield
        self._skip_spaces()
        while self._take(","):
            self._skip_spaces()
            yield
            self._skip_spaces()

    def _index(self) -> int | slice:
        if found := _SLICE.match(self._text, self._place):
            self._place = found.end()
            start, end = (None if part is None else int(part) for part in found.groups())
            return slice(start, end)
        return int(self._match(_INDEX)[0])

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self._text, self._place)
        if found is None:
            raise self._error()
        self._place = found.end()
        return found

    def _skip_spaces(self) -> None:
        while self._take(" "):
            pass

    def _take(self, character: str) -> bool:
        if self._peek != character:
            return False
        self._place += 1
        return True

    def _expect(self, character: str) -> None:
        if not self._take(character):
            raise self._error()

    @property
    def _peek(self) -> str:
        return self._text[self._place : self._place + 1]

    @property
    def _is_at_end(self) -> bool:
        return self._place >= len(self._text)

    def _error(self) -> JsonPathError:
        if self._is_at_end:
            return JsonPathError(f"Invalid JsonPath: {self._text}: it ends too early")
        return _unexpected(self._peek, self._place)


def _unexpected(character: str, place: int) -> JsonPathError:
    return JsonPathError(f'Unexpected "{character}" in JsonPath at character {place + 1}')
