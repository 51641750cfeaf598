"""The cache of machine code: filled once, read without a compiler, never trusted blindly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from matinee.fm import native

PROGRAM = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s")
from matinee.fm.native import kernels
print(type(kernels("checking")).__name__, "numba" in sys.modules)
"""


def run(cache: Path, **environment: str) -> tuple[str, str]:
    """Load kernels in a process of its own; return what it printed and logged."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, native.CACHE_VARIABLE: str(cache), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    cache = tmp_path_factory.mktemp("machine") / "code"
    return cache, *run(cache)


def test_the_first_process_compiles_and_says_so(filled: tuple[Path, str, str]) -> None:
    cache, printed, logged = filled
    assert printed == "SimpleNamespace True\n"
    assert "Compiling the checking kernels for this processor, once" in logged
    assert [path.suffix for path in cache.iterdir()] == [".kernels"]
    assert cache.stat().st_mode & 0o777 == 0o700


def test_the_second_process_loads_no_compiler(filled: tuple[Path, str, str]) -> None:
    assert run(filled[0]) == ("SimpleNamespace False\n", "")


def test_a_damaged_file_is_compiled_again(filled: tuple[Path, str, str]) -> None:
    (path,) = filled[0].iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert run(filled[0])[0] == "SimpleNamespace True\n"
    assert len(path.read_bytes()) == len(whole)


def test_a_file_that_others_could_have_written_is_not_loaded(
    filled: tuple[Path, str, str],
) -> None:
    (path,) = filled[0].iterdir()
    path.chmod(0o666)
    printed, logged = run(filled[0])
    assert printed == "SimpleNamespace True\n"
    assert "is not used: others could have written it" in logged
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_place_for_the_cache_the_kernels_still_run(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    printed, logged = run(blocked / "cache")
    assert printed == "SimpleNamespace True\n"
    assert "the compiled kernels cannot be kept in" in logged


def test_code_for_another_processor_is_kept_beside(filled: tuple[Path, str, str]) -> None:
    before = {path.name: path.read_bytes() for path in filled[0].iterdir()}
    # The one that every machine of x86-64 can pass for.
    other = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
    assert run(filled[0], **other)[0] == "SimpleNamespace True\n"
    assert run(filled[0], **other) == ("SimpleNamespace False\n", "")
    (added,) = set(filled[0].iterdir()) - {filled[0] / name for name in before}
    assert added.read_bytes() not in before.values()
