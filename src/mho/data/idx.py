"""Reader of IDX files (MNIST's format), plain or gzipped, checked before memory is taken.

Layout: two zero bytes, a type byte (8: unsigned byte), the number of axes, one big-endian 32-bit size an axis, data.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mho.errors import DataError, InputFileError

MAX_BYTES = 1 << 31
_UNSIGNED_BYTE = 8


def read_idx(path: Path, *, axes: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes with that many axes.

    Raises:
        InputFileError: missing, unreadable, truncated.
        DataError: not IDX, another type or number of axes, or too large.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4 + 4 * axes)
            if len(head) < 4 + 4 * axes or head[:3] != bytes((0, 0, _UNSIGNED_BYTE)) or head[3] != axes:
                raise DataError("not an IDX file of unsigned bytes", where=str(path), expected=f"{axes} axes")
            shape = struct.unpack(f">{axes}I", head[4:])
            size = math.prod(shape)
            if size > MAX_BYTES:
                raise DataError(f"shape {shape} is too large", where=str(path), expected=f"at most {MAX_BYTES} bytes")
            data = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputFileError(str(error) or "cannot be read", where=str(path), expected="an IDX file") from error
    if len(data) != size:
        problem = "is truncated" if len(data) < size else "has bytes after its data"
        raise InputFileError(f"IDX file {problem}", where=str(path), expected=f"{size} bytes for shape {shape}")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
