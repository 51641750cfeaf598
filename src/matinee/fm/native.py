"""Compiled kernels for those who only call them: machine code from a cache, without a compiler.

The kernels of ``matinee.fm.kernels`` are written for Numba. The first process that needs a module
of them compiles it and keeps the machine code; later processes load that through llvmlite alone, in
milliseconds instead of Numba's second. Code is kept by its sources, the compiler's version and the
processor, in MATINEE_KERNEL_CACHE (by default ``matinee/kernels`` in the user's cache folder). The
processor is this machine's, or the one that Numba's own NUMBA_CPU_NAME and NUMBA_CPU_FEATURES name,
for code that other machines are to load. A file that is damaged, or that others could have written,
is never loaded.
"""

import ctypes
import functools
import hashlib
import importlib
import json
import logging
import math
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

LOGGER = logging.getLogger(__name__)

LANES = 16
"""Floats in a kernel's vector, which fill a cache line."""

CACHE_VARIABLE = "MATINEE_KERNEL_CACHE"

_PACKAGE = "matinee.fm.kernels"
_SOURCES = Path(__file__).with_name("kernels")
_IMPORTED = re.compile(rb"^from matinee\.fm\.kernels\.(\w+) import", re.MULTILINE)
_DIGEST_SIZE = hashlib.sha256().digest_size
_SCALARS: Mapping[str, tuple[type[Any], Callable[[Any], Any]]] = MappingProxyType(
    {
        "bool": (ctypes.c_bool, bool),
        "float32": (ctypes.c_float, float),
        "float64": (ctypes.c_double, float),
        "int64": (ctypes.c_int64, int),
    }
)


@functools.cache
def kernels(module: str) -> Any:
    """Return the kernels of a module of ``matinee.fm.kernels`` as attributes, compiled.

    Called with NumPy arrays and numbers, a kernel checks the arrays' types and memory order, not
    their sizes or contents, and runs without the interpreter's lock.

    Parameters
    ----------
    module
        The module's name, such as ``"adam"``.
    """
    path = _cache() / f"{module}-{_key(module)}.kernels"
    compiled = _read(path)
    if compiled is None:
        # A warning, which is shown unless it is silenced: this may take longer than training does.
        LOGGER.warning("Compiling the %s kernels for this processor, once", module)
        started = time.perf_counter()
        # Numba takes long to import: only those who compile pay for it.
        build = importlib.import_module(f"{_PACKAGE}.build")
        compiled = build.compile_kernels(importlib.import_module(f"{_PACKAGE}.{module}"))
        _write(path, compiled)
        LOGGER.info("Compiled the %s kernels in %.1f s", module, time.perf_counter() - started)
    return load(compiled)


def load(compiled: bytes) -> Any:
    """Return the kernels in what ``matinee.fm.kernels.build.compile_kernels`` made."""
    header, _, machine_code = compiled.partition(b"\n")
    _initialize()
    target = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    return SimpleNamespace(
        **{
            name: _Kernel(name, engine, parameters, result)
            for name, (parameters, result) in json.loads(header).items()
        }
    )


def target(cpu: str | None, features: str | None) -> tuple[str, str]:
    """Return the processor and its features that code is made for; of this machine what is None.

    LLVM's names of both, such as ``"x86-64-v3"`` and ``"+avx2,+fma"``; no features are those of the
    processor alone.
    """
    return (
        llvm.get_host_cpu_name() if cpu is None else cpu,
        llvm.get_host_cpu_features().flatten() if features is None else features,
    )


def padded(floats: int) -> int:
    """Return how many floats the vectors have that so many fill."""
    return -(-floats // LANES) * LANES


def aligned(*shape: int) -> NDArray[np.float32]:
    """Return zeros that begin where a cache line does, as kernels like their vectors best."""
    size = math.prod(shape)
    # NumPy itself aligns to 16 bytes.
    memory = np.zeros(size + LANES, dtype=np.float32)
    begin = -memory.ctypes.data % (LANES * memory.itemsize) // memory.itemsize
    return memory[begin : begin + size].reshape(shape)


class _Kernel:
    """One compiled function, as a callable."""

    def __init__(self, name: str, engine: Any, parameters: Mapping[str, str], result: str) -> None:
        self._name = name
        self._engine = engine  # owns the code
        # Of each parameter how a number is converted, or of which type an array is.
        self._parameters = [
            (of_name, _SCALARS[type_][1], None)
            if type_ in _SCALARS
            else (of_name, int, np.dtype(type_.rstrip("*")))
            for of_name, type_ in parameters.items()
        ]
        types = [
            _SCALARS[type_][0] if type_ in _SCALARS else ctypes.c_void_p
            for type_ in parameters.values()
        ]
        prototype = ctypes.CFUNCTYPE(_SCALARS[result][0] if result in _SCALARS else None, *types)
        self._function = prototype(engine.get_function_address(name))

    def __call__(self, *arguments: Any) -> Any:
        given = [
            convert(argument) if dtype is None else self._address(name, dtype, argument)
            for (name, convert, dtype), argument in zip(self._parameters, arguments, strict=True)
        ]
        return self._function(*given)

    def _address(self, name: str, dtype: np.dtype[Any], array: NDArray[Any]) -> int:
        flags = array.flags
        if array.dtype != dtype or not (flags.c_contiguous and flags.aligned):
            raise TypeError(f"{self._name}: {name} must be a C-contiguous {dtype.name} array")
        return int(array.__array_interface__["data"][0])


@functools.cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _key(module: str) -> str:
    parts = list(_sources(module, {}).values())
    named = target(os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES"))
    # Numba's releases are tied to llvmlite's.
    parts += [" ".join(named).encode(), llvmlite.__version__.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _sources(module: str, found: dict[str, bytes]) -> dict[str, bytes]:
    """Return the sources of a module and of the modules of its package that it imports."""
    if module not in found:
        found[module] = (_SOURCES / f"{module}.py").read_bytes()
        for name in _IMPORTED.findall(found[module]):
            _sources(name.decode(), found)
    return found


def _cache() -> Path:
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "matinee" / "kernels"


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            of_file, of_folder = os.fstat(file.fileno()), path.parent.stat()
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        LOGGER.warning("%s cannot be read: %s", path, error)
        return None
    if not (_is_ours(of_file) and _is_ours(of_folder)):
        LOGGER.warning("%s is not used: others could have written it", path)
        return None
    digest, compiled = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    return compiled if hashlib.sha256(compiled).digest() == digest else None


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _write(path: Path, compiled: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(hashlib.sha256(compiled).digest() + compiled)
        partial.replace(path)
    except OSError as error:
        LOGGER.warning("the compiled kernels cannot be kept in %s: %s", path.parent, error)
