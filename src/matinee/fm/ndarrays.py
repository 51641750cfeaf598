"""MXNet's NDArray list file: named arrays, little endian, as ``mx.nd.save`` writes them.

Written: dense float32 in the version 2 layout. Read: versions 1 to 3, dense and row-sparse, float16
to float64, as float32. No size in a file is believed before the bytes for it are known to be there.
Layout: apache/mxnet, ``src/ndarray/ndarray.cc``, ``NDArray::Save`` and ``NDArray::Load``.
"""

import math
import struct
from collections.abc import Mapping
from typing import IO

import numpy as np
from numpy.typing import NDArray

from matinee.fm.errors import ArtifactError

_LIST_MAGIC = 0x112
_VERSIONS = {0xF993FAC8: 1, 0xF993FAC9: 2, 0xF993FACA: 3}
_VERSION_2_MAGIC = 0xF993FAC9
_DENSE, _ROW_SPARSE = 0, 1
_CPU = 1
_FLOAT32, _INT64 = 0, 6
_FLOATS = {0: "<f4", 1: "<f8", 2: "<f2"}
_MOST_ARRAYS = 1000
_MOST_DIMENSIONS = 32
_LONGEST_NAME = 1000
_PIECE = 2**22  # what goes into or comes out of the ZIP at a time


def size(arrays: Mapping[str, NDArray[np.float32]]) -> int:
    """Return how many bytes ``write`` writes."""
    headers = sum(28 + 8 * array.ndim for array in arrays.values())
    names = sum(8 + len(name.encode()) for name in arrays)
    return 32 + headers + sum(array.nbytes for array in arrays.values()) + names


def write(stream: IO[bytes], arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Write float32 arrays under their names, in their order."""
    stream.write(struct.pack("<QQQ", _LIST_MAGIC, 0, len(arrays)))
    for array in arrays.values():
        stream.write(struct.pack("<IiI", _VERSION_2_MAGIC, _DENSE, array.ndim))
        stream.write(struct.pack(f"<{array.ndim}q", *array.shape))
        stream.write(struct.pack("<iii", _CPU, 0, _FLOAT32))
        data = np.ascontiguousarray(array, dtype="<f4").reshape(-1)
        for start in range(0, len(data), _PIECE):
            stream.write(data[start : start + _PIECE].tobytes())
    stream.write(struct.pack("<Q", len(arrays)))
    for name in arrays:
        encoded = name.encode()
        stream.write(struct.pack("<Q", len(encoded)) + encoded)


def read(stream: IO[bytes], length: int, largest: int) -> dict[str, NDArray[np.float32]]:
    """Read named arrays.

    Parameters
    ----------
    stream
        The file, from its start to its end.
    length
        Number of bytes it says it holds.
    largest
        Bytes that a row-sparse array may fill when its empty rows are there too.

    Raises
    ------
    ArtifactError
        If the bytes are not such a file, or end early or late.
    """
    return _Reader(stream, length, largest).read()


class _Reader:
    def __init__(self, stream: IO[bytes], length: int, largest: int) -> None:
        self._stream = stream
        self._left = length
        self._largest = largest

    def read(self) -> dict[str, NDArray[np.float32]]:
        magic, _, count = self._unpack("QQQ")
        if magic != _LIST_MAGIC:
            raise ArtifactError(f"'params' starts with {magic:#x}, not MXNet's {_LIST_MAGIC:#x}")
        if count > _MOST_ARRAYS:
            raise ArtifactError(f"'params' says it holds {count} arrays")
        arrays = [self._array() for _ in range(count)]
        (named,) = self._unpack("Q")
        if named != count:
            raise ArtifactError(f"'params' has {count} arrays but {named} names")
        names = [self._name() for _ in range(count)]
        if len(set(names)) != count:
            raise ArtifactError(f"'params' names an array twice: {names}")
        # Reading on to the end also makes zipfile compare the checksum.
        if self._stream.read(1):
            raise ArtifactError("'params' goes on after its last name")
        return dict(zip(names, arrays, strict=True))

    def _array(self) -> NDArray[np.float32]:
        (magic,) = self._unpack("I")
        version = _VERSIONS.get(magic)
        if version is None:
            raise ArtifactError(f"an array starts with the unknown magic number {magic:#x}")
        storage = _DENSE
        if version > 1:
            (storage,) = self._unpack("i")
        if storage not in (_DENSE, _ROW_SPARSE):
            raise ArtifactError(
                f"an array has storage type {storage}; dense (0) and row-sparse (1) are read"
            )
        stored = self._shape() if storage == _ROW_SPARSE else None
        shape = self._shape()
        # Before NumPy shapes (version 3), no dimensions meant no array.
        if not shape and version < 3:
            raise ArtifactError("an array is empty")
        _, _, element = self._unpack("iii")
        if element not in _FLOATS:
            raise ArtifactError(f"an array has element type {element}; floats (0, 1, 2) are read")
        if stored is None:
            return self._floats(shape, _FLOATS[element])
        return self._row_sparse(shape, stored, _FLOATS[element])

    def _row_sparse(
        self, shape: tuple[int, ...], stored: tuple[int, ...], element: str
    ) -> NDArray[np.float32]:
        (index_type,) = self._unpack("i")
        rows = self._shape()
        if index_type != _INT64 or len(rows) != 1 or stored != (*rows, *shape[1:]):
            raise ArtifactError(
                f"a row-sparse array of shape {shape} stores {stored} for {rows} rows"
            )
        if 4 * math.prod(shape) > self._largest:
            raise ArtifactError(
                f"a row-sparse array of shape {shape} fills over {self._largest} bytes"
            )
        data = self._floats(stored, element)
        index = self._data(rows, "<i8").astype(np.int64, copy=False)
        if index.size and (
            index[0] < 0 or index[-1] >= shape[0] or (index[1:] <= index[:-1]).any()
        ):
            raise ArtifactError(f"a row-sparse array's rows are not ascending within {shape[0]}")
        array = np.zeros(shape, dtype=np.float32)
        array[index] = data
        return array

    def _floats(self, shape: tuple[int, ...], element: str) -> NDArray[np.float32]:
        # What float32 cannot hold becomes an infinity, which is refused with the array's name.
        with np.errstate(over="ignore"):
            return self._data(shape, element).astype(np.float32, copy=False)

    def _data(self, shape: tuple[int, ...], element: str) -> NDArray[np.generic]:
        dtype = np.dtype(element)
        self._claim(dtype.itemsize * math.prod(shape))
        array = np.empty(shape, dtype=dtype)
        # Filled in pieces: a model is large enough to be in memory only once.
        view = array.reshape(-1).view(np.uint8)
        done = 0
        while done < len(view):
            piece = self._stream.read(min(_PIECE, len(view) - done))
            if not piece:
                raise ArtifactError("'params' ends early")
            view[done : done + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
            done += len(piece)
        return array

    def _shape(self) -> tuple[int, ...]:
        (dimensions,) = self._unpack("I")
        if dimensions > _MOST_DIMENSIONS:
            raise ArtifactError(f"an array says it has {dimensions} dimensions")
        shape: tuple[int, ...] = self._unpack(f"{dimensions}q")
        if any(length < 0 for length in shape):
            raise ArtifactError(f"an array says it has the shape {shape}")
        return shape

    def _name(self) -> str:
        (length,) = self._unpack("Q")
        if length > _LONGEST_NAME:
            raise ArtifactError(f"an array's name says it has {length} bytes")
        return self._take(length).decode()

    def _unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(f"<{layout}", self._take(struct.calcsize(f"<{layout}")))

    def _take(self, count: int) -> bytes:
        self._claim(count)
        data = self._stream.read(count)
        if len(data) != count:
            raise ArtifactError("'params' ends early")
        return data

    def _claim(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ArtifactError("'params' ends early")
