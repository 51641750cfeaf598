"""Type hints become C signatures; code that cannot stand alone is refused."""

import json
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from matinee.fm import native
from matinee.fm.kernels.build import KernelError, compile_kernels, inlined, kernel


@inlined
def twice(value: float) -> float:
    return 2 * value


@kernel
def scale(values: NDArray[np.float64], count: int, factor: float, negate: bool) -> int:
    changed = 0
    for index in range(count):
        if values[index] != 0:
            values[index] = twice(values[index] * factor)
            if negate:
                values[index] = -values[index]
            changed += 1
    return changed


@kernel
def exponential(value: np.float32) -> np.float32:
    return np.float32(math.exp(value))


@kernel
def allocate(count: int) -> int:
    return len(np.zeros(count))


@kernel
def complain(name: str) -> int:
    return len(name)


def module(*functions: Any) -> ModuleType:
    made = ModuleType(__name__)
    for function in functions:
        setattr(made, function.__name__, function)
    return made


def test_the_first_line_says_the_signatures() -> None:
    header = compile_kernels(module(scale, exponential, twice)).partition(b"\n")[0]
    parameters = {"values": "float64*", "count": "int64", "factor": "float64", "negate": "bool"}
    assert json.loads(header) == {
        "scale": [parameters, "int64"],
        "exponential": [{"value": "float32"}, "float32"],
    }


def test_kernels_change_arrays_in_place_and_return_numbers() -> None:
    compiled = native.load(compile_kernels(module(scale, exponential)))
    values = np.array([1.0, 0.0, -3.0])
    assert compiled.scale(values, 3, 0.5, True) == 2
    assert values.tolist() == [-1, 0, 3]
    assert compiled.exponential(np.float32(1)) == np.float32(math.e)


def test_code_that_needs_a_runtime_is_refused() -> None:
    with pytest.raises(KernelError, match=r"its code needs .*NRT"):
        compile_kernels(module(allocate))


def test_a_type_hint_without_a_counterpart_is_refused() -> None:
    with pytest.raises(KernelError, match=r"str.* is no type of a kernel's parameter"):
        compile_kernels(module(complain))


def test_a_kernel_refuses_arrays_of_another_type_or_order() -> None:
    compiled = native.load(compile_kernels(module(scale)))
    with pytest.raises(TypeError, match="scale: values must be a C-contiguous float64 array"):
        compiled.scale(np.ones(3, dtype=np.float32), 3, 1.0, False)
    with pytest.raises(TypeError, match="C-contiguous"):
        compiled.scale(np.ones(6)[::2], 3, 1.0, False)
    with pytest.raises(ValueError, match="zip"):
        compiled.scale(np.ones(3), 3)
