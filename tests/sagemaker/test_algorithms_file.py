"""A user's own algorithms: the file they stand in."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from matinee.sagemaker.algorithms import BUILT_IN
from matinee.sagemaker.algorithms_file import AlgorithmsFileError, registry
from matinee.sagemaker.machine import limits
from matinee.sagemaker.machine.commands import Command


def read(folder: Path, entry: Any) -> Any:
    (folder / "algorithms.json").write_text(json.dumps({"mine": entry}))
    known = registry(folder)
    assert known.keys() == {"mine", *BUILT_IN}
    return known["mine"]


def test_without_a_file_there_are_the_built_in_ones(tmp_path: Path) -> None:
    assert registry(tmp_path) == BUILT_IN


def test_an_entry_may_be_programs(tmp_path: Path) -> None:
    mine = read(tmp_path, {"train": ["/opt/mine/run", "train"], "process": ["/opt/mine/run"]})
    assert mine.train == Command(("/opt/mine/run", "train"), limits.generous(), in_place=True)
    assert not mine.serve
    assert mine.process.words == ("/opt/mine/run",)
    assert mine.entrypoint.search_path == "/opt/mine"


def test_an_entry_may_be_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/before")
    mine = read(tmp_path, {"module": "my.module", "path": "/code"})
    for verb in ("train", "serve", "process"):
        command = mine.command(verb)
        assert command.words == (sys.executable, "-m", "my.module", verb)
        assert command.environment == {"PYTHONPATH": "/code:/before"}


def test_an_entry_may_be_an_image(tmp_path: Path) -> None:
    mine = read(tmp_path, {"docker": "my-image:1"})
    assert mine.train == Command(("train",), image="my-image:1")
    assert (mine.process.image, mine.process.words) == ("my-image:1", ())


def test_an_entry_may_say_what_is_measured_and_tuned_and_how_much_is_used(tmp_path: Path) -> None:
    loss = {"Name": "loss", "Regex": "loss=(.*)"}
    mine = read(
        tmp_path,
        {
            "train": ["run"],
            "metric_definitions": [loss],
            "objectives": {"loss": "Minimize"},
            "tunable": ["rate"],
            "limits": {"memory_mb": 100, "processes": None},
        },
    )
    assert mine.metric_definitions == (loss,)
    assert mine.objectives == {"loss": "Minimize"}
    assert mine.tunable == {"rate"}
    assert mine.train.limits.given() == {"memory_mb": 100, "open_files": 65_536}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "is not JSON"),
        ([], "must hold an object"),
        ({"mine": []}, "'mine' must be an object"),
        ({"mine": {}}, "'mine' must be an object with either"),
        ({"mine": {"trian": ["x"]}}, "'mine' must not have trian"),
        ({"mine": {"train": "run train"}}, "'mine' 'train' must be a list of words"),
        ({"mine": {"serve": ["run", 1]}}, "'mine' 'serve' must be a list of words"),
        ({"mine": {"train": ["x"], "docker": "y"}}, "'mine' must be an object with either"),
        ({"mine": {"train": ["x"], "path": "/y"}}, 'must have "path" only with "module"'),
        ({"mine": {"module": "a b"}}, "must be the name of a Python module, not 'a b'"),
        ({"mine": {"module": "a", "path": "b"}}, "path must be an absolute path, not 'b'"),
        ({"mine": {"docker": "--privileged"}}, "must be the name of an image"),
        ({"mine": {"docker": "x", "limits": {"memory": 1}}}, "limits must be an object with some"),
        ({"mine": {"docker": "x", "limits": {"memory_mb": 0}}}, "must be a whole number over 0"),
        ({"mine": {"docker": "x", "metric_definitions": [{}]}}, "must hold a Name and a Regex"),
        (
            {"mine": {"docker": "x", "metric_definitions": [{"Name": "a", "Regex": "("}]}},
            "metric 'a' has a bad Regex",
        ),
        (
            {
                "mine": {
                    "docker": "x",
                    "metric_definitions": [{"Name": "a", "Regex": "b{9999999999}"}],
                }
            },
            "metric 'a' has a bad Regex",
        ),
        ({"mine": {"docker": "x", "objectives": {"a": "Up"}}}, "to Minimize or Maximize"),
        ({"mine": {"docker": "x", "tunable": "a"}}, "tunable must be a list"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "algorithms.json").write_text(text)
    with pytest.raises(AlgorithmsFileError) as caught:
        registry(tmp_path)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
