"""Kernels to machine code: type hints to signatures, Numba's result to one relocatable object.

The object stands alone, so that ``matinee.fm.native`` can load it without Numba: kernels neither
allocate nor raise, and a module whose code needs more than the C library's mathematics is refused.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import types
from numba.core.types.misc import CPointer
from numpy.typing import NDArray

from matinee.fm import native

_Function = TypeVar("_Function", bound=Callable[..., Any])

# A type hint's name in the signature, its Numba type and its LLVM type.
_SCALARS: Mapping[Any, tuple[str, types.Type, str]] = MappingProxyType(
    {
        bool: ("bool", types.boolean, "i8"),
        float: ("float64", types.float64, "double"),
        int: ("int64", types.int64, "i64"),
        np.float32: ("float32", types.float32, "float"),
        None: ("None", types.void, "void"),
    }
)
_ARRAYS: Mapping[Any, tuple[str, types.Type, str]] = MappingProxyType(
    {
        NDArray[scalar]: (f"{name}*", CPointer(getattr(types, name)), "ptr")  # type: ignore[valid-type]
        for name, scalar in (
            (name, getattr(np, name))
            for name in ("float32", "float64", "int32", "int64", "uint8", "uint32", "uint64")
        )
    }
)
_ALLOWED = ("llvm.", "exp", "log", "sqrt", "cos", "sin", "pow", "mem", "fma")


class KernelError(TypeError):
    """A kernel cannot be compiled to code that stands alone."""


def kernel(function: _Function) -> _Function:
    """Mark a function as a kernel: its type hints are its signature."""
    function.is_kernel = True  # type: ignore[attr-defined]
    return function


def inlined(function: _Function) -> _Function:
    """Make a function callable from kernels."""
    return numba.njit(error_model="numpy", forceinline=True)(function)  # type: ignore[no-any-return]


def compile_kernels(module: ModuleType) -> bytes:
    """Compile the kernels of a module.

    Returns
    -------
    bytes
        A line of JSON, kernel name -> [parameter -> type, result type], then the object file.

    Raises
    ------
    KernelError
        If a kernel's code cannot stand alone, or a type hint has no counterpart.
    """
    signatures = {}
    linked = llvm.parse_assembly("")
    for name, function in vars(module).items():
        if not getattr(function, "is_kernel", False) or function.__module__ != module.__name__:
            continue
        signature = inspect.signature(function)
        hints = [_type(parameter.annotation) for parameter in signature.parameters.values()]
        result = _type(signature.return_annotation)
        signatures[name] = (
            dict(zip(signature.parameters, (hint[0] for hint in hints), strict=True)),
            result[0],
        )
        linked.link_in(_compile(name, function, [hint[1:] for hint in hints], result[1:]))
    missing = [
        function.name
        for function in linked.functions
        if function.is_declaration and not function.name.startswith(_ALLOWED)
    ]
    if missing:
        raise KernelError(f"{module.__name__}: its code needs {missing}, which kernels cannot have")
    machine_code: bytes = _target().emit_object(linked)
    return json.dumps(signatures).encode() + b"\n" + machine_code


def _compile(
    name: str,
    function: Callable[..., Any],
    parameters: list[tuple[types.Type, str]],
    result: tuple[types.Type, str],
) -> Any:
    """Compile one function into a module that has it under its name, in C's calling convention."""
    compiler = numba.njit(
        result[0](*(type_ for type_, _ in parameters)),
        error_model="numpy",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
    )
    (compiled,) = compiler(function).overloads.values()
    code = llvm.parse_assembly(compiled.library.get_llvm_str())
    native = compiled.fndesc.llvm_func_name
    declared = ", ".join(["ptr", "ptr", *(type_ for _, type_ in parameters)])
    named = [f"{type_} %a{index}" for index, (_, type_) in enumerate(parameters)]
    last = (
        "ret void" if result[1] == "void" else f"%v = load {result[1]}, ptr %r\nret {result[1]} %v"
    )
    # Numba's own convention: places for the result and for an exception, which nothing raises.
    wrapper = f"""
        declare i32 @"{native}"({declared})
        define {result[1]} @"{name}"({", ".join(named)}) {{
            %r = alloca i64
            %e = alloca ptr
            store i64 0, ptr %r
            %s = call i32 @"{native}"({", ".join(["ptr %r", "ptr %e", *named])})
            {last}
        }}"""
    code.link_in(llvm.parse_assembly(wrapper))
    return code


def _target() -> Any:
    # What Numba itself compiles for.
    cpu, features = native.target(numba.config.CPU_NAME, numba.config.CPU_FEATURES)
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu,
        features=features,
        opt=3,
        jit=True,
        codemodel="jitdefault",
    )


def _type(hint: Any) -> tuple[str, types.Type, str]:
    found = _SCALARS.get(hint) or _ARRAYS.get(hint)
    if found is None:
        raise KernelError(f"{hint} is no type of a kernel's parameter")
    return found
