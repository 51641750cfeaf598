"""A user's own algorithms: ``algorithms.json`` of the state folder, read when the server starts.

It maps repository names to objects. Each says how the image is run, in one of three ways::

    {"train": ["/opt/mine/run", "train"], "serve": [..], "process": [..]}  programs, some or all
    {"module": "my.module", "path": "/home/me/code"}    python -m my.module train | serve | process
    {"docker": "my-image:1"}                            docker run my-image:1 train | serve | -

and may add ``limits`` (``limits.py``), ``metric_definitions``, ``objectives`` and ``tunable``
(``algorithms.py``). Anything else in it keeps the server from starting, with a sentence that says
where. An entry takes the place of a built-in one of its name.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from matinee.sagemaker.algorithms import BUILT_IN, Algorithm
from matinee.sagemaker.machine import limits
from matinee.sagemaker.machine.commands import Command
from matinee.sagemaker.machine.limits import Limits

FILE_NAME = "algorithms.json"
_VERBS = ("train", "serve", "process")
_WAYS = ("module", "docker", *_VERBS)
_MORE = ("limits", "metric_definitions", "objectives", "tunable")
_DIRECTIONS = {"Minimize", "Maximize"}
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class AlgorithmsFileError(ValueError):
    """``algorithms.json`` is not what this module's documentation says."""


def registry(folder: Path) -> dict[str, Algorithm]:
    """Return the built-in algorithms and those of ``folder / "algorithms.json"``, if it is there.

    Raises
    ------
    AlgorithmsFileError
        The file has another form.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return dict(BUILT_IN)
    try:
        entries = json.loads(path.read_text())
    except ValueError as error:
        raise AlgorithmsFileError(f"{path} is not JSON: {error}") from error
    if not isinstance(entries, dict):
        raise AlgorithmsFileError(f"{path} must hold an object: repository name -> commands")
    own = {}
    for name, entry in entries.items():
        try:
            own[name] = _algorithm(entry)
        except ValueError as error:
            raise AlgorithmsFileError(f"{path}: {name!r} {error}") from error
    return {**BUILT_IN, **own}


def _algorithm(entry: Any) -> Algorithm:
    if not isinstance(entry, dict):
        raise ValueError("must be an object")
    if unknown := sorted(entry.keys() - {*_WAYS, *_MORE, "path"}):
        raise ValueError(f"must not have {', '.join(unknown)}")
    ways = [way for way in ("module", "docker") if way in entry]
    if any(verb in entry for verb in _VERBS):
        ways.append("commands")
    if len(ways) != 1:
        raise ValueError(
            'must be an object with either "module", or "docker", or the commands "train", "serve" '
            'and "process", or some of these'
        )
    if "path" in entry and ways != ["module"]:
        raise ValueError('must have "path" only with "module"')
    try:
        # What an engine's containers may use unless told is the engine's own affair.
        usual = limits.NONE if ways == ["docker"] else limits.generous()
        allowed = usual.changed(entry.get("limits", {}))
    except ValueError as error:
        raise ValueError(f"limits {error}") from error
    make: Callable[[dict[str, Any], Limits], dict[str, Command]] = {
        "module": _module,
        "docker": _image,
        "commands": _programs,
    }[ways[0]]
    return Algorithm(
        **make(entry, allowed),
        metric_definitions=_definitions(entry.get("metric_definitions", [])),
        objectives=_objectives(entry.get("objectives")),
        tunable=_tunable(entry.get("tunable")),
    )


def _programs(entry: dict[str, Any], allowed: Limits) -> dict[str, Command]:
    commands = {}
    for verb in _VERBS:
        if verb not in entry:
            continue
        words = entry[verb]
        if not isinstance(words, list) or not words or not all(map(_is_word, words)):
            raise ValueError(f"{verb!r} must be a list of words, not {words!r}")
        commands[verb] = Command(tuple(words), allowed, in_place=True)
    first = next(iter(commands.values())).words[0]
    search_path = str(Path(first).parent) if Path(first).is_absolute() else ""
    return {**commands, "entrypoint": Command((), allowed, in_place=True, search_path=search_path)}


def _module(entry: dict[str, Any], allowed: Limits) -> dict[str, Command]:
    module, path = entry["module"], entry.get("path")
    if not isinstance(module, str) or not _MODULE.fullmatch(module):
        raise ValueError(f"module must be the name of a Python module, not {module!r}")
    environment = {}
    if path is not None:
        if not _is_word(path) or not Path(path).is_absolute():
            raise ValueError(f"path must be an absolute path, not {path!r}")
        inherited = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([path, *([inherited] if inherited else [])])
    shared: dict[str, Any] = {
        "limits": allowed,
        "in_place": True,
        "search_path": str(Path(sys.executable).parent),
        "environment": MappingProxyType(environment),
    }
    commands = {verb: Command((sys.executable, "-m", module, verb), **shared) for verb in _VERBS}
    return {**commands, "entrypoint": Command(**shared)}


def _image(entry: dict[str, Any], allowed: Limits) -> dict[str, Command]:
    image = entry["docker"]
    # A word that begins with a dash would be an option of the engine.
    if not _is_word(image) or image.startswith("-"):
        raise ValueError(f"docker must be the name of an image, not {image!r}")
    own = Command((), allowed, image=image)
    return {
        **{verb: Command((verb,), allowed, image=image) for verb in ("train", "serve")},
        "process": own,
        "entrypoint": own,
    }


def _definitions(value: Any) -> tuple[Mapping[str, str], ...]:
    if not isinstance(value, list):
        raise ValueError("metric_definitions must be a list")
    for item in value:
        if not (
            isinstance(item, dict)
            and item.keys() == {"Name", "Regex"}
            and all(map(_is_word, item.values()))
        ):
            raise ValueError(f"metric_definitions must hold a Name and a Regex each, not {item!r}")
        try:
            re.compile(item["Regex"])
        except (re.error, OverflowError) as error:
            raise ValueError(f"metric {item['Name']!r} has a bad Regex: {error}") from error
    return tuple(value)


def _objectives(value: Any) -> Mapping[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not set(map(str, value.values())) <= _DIRECTIONS:
        raise ValueError("objectives must map metrics to Minimize or Maximize")
    return MappingProxyType(value)


def _tunable(value: Any) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(map(_is_word, value)):
        raise ValueError("tunable must be a list of hyperparameters")
    return frozenset(value)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value != ""
