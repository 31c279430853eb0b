"""Reader of IDX files (MNIST's format), plain or gzipped, checked before memory is taken.

Layout: two zero bytes, a type byte (8: unsigned byte), the number of axes, one big-endian 32-bit size an axis, data.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mho.errors import DataError, InputFileError, MhoError
from mho.input_files import check_memory, check_regular_file

_UNSIGNED_BYTE = 8


def read_idx(path: Path, *, axes: int, beside: int = 0) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes with that many axes.

    Args:
        path: of the file.
        axes: that it must have.
        beside: bytes that other files of the dataset take.

    Raises:
        InputFileError: missing, unreadable, truncated.
        DataError: not IDX, or another type or number of axes.
        MemoryBudgetError: the dataset would take more memory than the budget.
    """
    check_regular_file(path, expected="an IDX file")
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4 + 4 * axes)
            if len(head) < 4 + 4 * axes or head[:3] != bytes((0, 0, _UNSIGNED_BYTE)) or head[3] != axes:
                raise DataError("not an IDX file of unsigned bytes", where=str(path), expected=f"{axes} axes")
            shape = struct.unpack(f">{axes}I", head[4:])
            size = math.prod(shape)
            check_memory(beside + size, f"data of shape {shape}", where=str(path))
            data = file.read(size + 1)
    except MhoError:
        raise
    except Exception as error:  # gzip and zlib raise many kinds for damaged files
        raise InputFileError(str(error) or "cannot be read", where=str(path), expected="an IDX file") from error
    if len(data) != size:
        problem = "is truncated" if len(data) < size else "has bytes after its data"
        raise InputFileError(f"IDX file {problem}", where=str(path), expected=f"{size} bytes for shape {shape}")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
