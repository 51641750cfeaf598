"""The entry point: an algorithm, two words, and no more loaded than one of them needs."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["predict"],
        ["train", "serve"],
        ["--algorithm", "matinee-fm"],
        ["--algorithm", "xgboost", "train"],
        ["--algorithm", "matinee-fm", "train", "serve"],
    ],
)
def test_other_words_are_refused(arguments: list[str]) -> None:
    result = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-m", "matinee.fm.container", *arguments], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr == (
        "usage: python -m matinee.fm.container "
        "[--algorithm factorization-machines|matinee-fm] train|serve\n"
    )


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("train", {"starlette", "uvicorn", "anyio", "numba"}),
        ("serve", {"numba"}),
    ],
)
def test_a_command_loads_only_what_it_needs(module: str, unneeded: set[str]) -> None:
    program = f"import matinee.fm.container.{module}, sys; print(*sys.modules)"
    loaded = subprocess.run(  # noqa: S603 - our own interpreter and words
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not unneeded & set(loaded)
