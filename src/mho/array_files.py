"""Arrays by name in .npz files: what programs are fed with and what they give, datasets, decoded data that is kept."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mho.cache_folder import open_atomically
from mho.errors import InputFileError, MhoError, file_errors
from mho.input_files import check_memory, check_regular_file

_EXPECTED = "an .npz file of numeric arrays, as numpy.savez writes it"
_KINDS = "biufcSU"
"""NumPy's letters for numbers and text of a fixed length. Objects could run code."""
_LONGEST_READ = 16 << 20
"""zipfile reads an archive's table of contents in one; what it makes of that takes about ten times as much memory."""


def read_arrays(path: str | Path, names: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read the arrays of an .npz file. Nothing in it can run code; sizes are checked before memory is taken.

    Args:
        path: of the file.
        names: the arrays to read, as far as they are there; None: all.

    Raises:
        InputFileError: missing, damaged, not an .npz file, or with arrays of objects.
        MemoryBudgetError: the arrays together would take more memory than the budget.
    """
    where = str(path)
    check_regular_file(path, expected=_EXPECTED)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with Path(path).open("rb") as file:
            if file.read(6) == b"\x93NUMPY":
                raise InputFileError("a single array without a name", where=where, expected=_EXPECTED)
            with zipfile.ZipFile(_BoundedReads(file)) as archive:
                for member in archive.infolist():
                    name = member.filename.removesuffix(".npy")
                    if names is not None and name not in names:
                        continue
                    if name in arrays:
                        raise InputFileError(f"holds {name!r} twice", where=where, expected=_EXPECTED)
                    held = sum(array.nbytes for array in arrays.values())
                    arrays[name] = _read_member(archive, member, held, f"{where}: {name}")
    except MhoError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds for damaged files
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputFileError(reason or "damaged, or not an .npz file", where=where, expected=_EXPECTED) from error
    return arrays


class _BoundedReads:
    """A file for zipfile, which refuses to give gigabytes in one."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(min(size, _LONGEST_READ + 1) if size >= 0 else _LONGEST_READ + 1)
        if len(content) > _LONGEST_READ:
            raise zipfile.BadZipFile("its table of contents is too long")
        return content


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, held: int, where: str) -> NDArray[Any]:
    """Read one array; `held` bytes are taken by others of the file."""
    if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputFileError("encrypted, or compressed by another method than deflate", where=where, expected=_EXPECTED)
    with archive.open(member) as file:
        try:
            version = np.lib.format.read_magic(file)
        except ValueError as error:
            raise InputFileError("not an array", where=where, expected=_EXPECTED) from error
        if version != (1, 0):  # others are for headers beyond 64 KiB and for records
            raise InputFileError(f"an array of format version {version}", where=where, expected="version 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise InputFileError(f"an array of {dtype}", where=where, expected="numbers, or text of a fixed length")
    if any(type(size) is not int or not 0 <= size < 1 << 63 for size in shape):
        raise InputFileError(f"an array of shape {shape}", where=where, expected="sizes from 0")
    size = math.prod(shape) * dtype.itemsize
    if member.file_size != start + size:
        raise InputFileError(f"holds {member.file_size - start} bytes", where=where, expected=f"{size} for {shape}")
    check_memory(held + size, "the arrays", where=where)
    with archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        file.read(1)  # the end, where zipfile compares checksums
    if dtype.kind == "U" and not _is_text(array):
        raise InputFileError("text that is not Unicode", where=where)
    return np.asarray(array)


def _is_text(array: NDArray[np.str_]) -> bool:
    """Return whether all characters can be encoded: none beyond Unicode, no half of a surrogate pair."""
    codes = array.reshape(-1).view(f"{array.dtype.str[0]}u4")
    return not bool(((codes > 0x10FFFF) | (codes >> 11 == 0xD800 >> 11)).any())


def check_kinds(
    arrays: Mapping[str, NDArray[Any]], kinds: Mapping[str, tuple[str, int]], *, where: str, expected: str
) -> None:
    """Check the arrays of a file for the kinds and ranks that they must have.

    Args:
        arrays: of the file.
        kinds: by name, of NumPy's letters for kinds ("i", "f", "U") and the number of dimensions.
        where: the file.
        expected: what the file should be.

    Raises:
        InputFileError: one is missing, or of another kind or rank.
    """
    for name, (kind, rank) in kinds.items():
        if name not in arrays:
            raise InputFileError(f"holds no {name!r}", where=where, expected=expected)
        if arrays[name].dtype.kind != kind or arrays[name].ndim != rank:
            found = f"{name!r} is {arrays[name].dtype} of shape {list(arrays[name].shape)}"
            raise InputFileError(found, where=where, expected=expected)


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to an .npz file, atomically. Raises `InputFileError` where it cannot be written."""
    with (
        file_errors(path, "cannot be written"),
        open_atomically(Path(path)) as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        for name, array in arrays.items():
            # An entry without a time of its own: the same arrays give the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
