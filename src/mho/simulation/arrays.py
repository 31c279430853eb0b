"""Arrays by name in .npz files: what programs are fed with and what they give."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.cache_folder import write_atomically
from mho.errors import InputFileError

_EXPECTED = "an .npz file of numeric arrays, as numpy.savez writes it"


def read_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read every array of an .npz file. Nothing in it can run code.

    Raises:
        InputFileError: missing, damaged, not an .npz file, or with arrays of objects.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise InputFileError("a single array without a name", where=str(path), expected=_EXPECTED)
        with loaded as content:
            arrays = {name: content[name] for name in content.files}
    except OSError as error:
        raise InputFileError(error.strerror or "cannot be read", where=str(path), expected=_EXPECTED) from error
    except (ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        # NumPy's own text advises to allow pickles: what holds objects is refused here instead.
        raise InputFileError(
            "damaged, not an .npz file, or with objects in it", where=str(path), expected=_EXPECTED
        ) from error
    except MemoryError as error:
        raise InputFileError(f"too large for this machine: {error}", where=str(path), expected=_EXPECTED) from error
    if others := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise InputFileError(f"{others[0]!r} in it is not an array", where=str(path), expected=_EXPECTED)
    return arrays


def check_kinds(
    arrays: Mapping[str, NDArray[Any]], kinds: Mapping[str, tuple[str, int]], *, where: str, expected: str
) -> None:
    """Hold the arrays of a file against the kinds and ranks that they must have.

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
            told = f"{name!r} is {arrays[name].dtype} of shape {list(arrays[name].shape)}"
            raise InputFileError(told, where=where, expected=expected)


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to an .npz file, atomically. Raises `InputFileError` where it cannot be written."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in arrays.items():
            # An entry without a time of its own: the same arrays give the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)
    try:
        write_atomically(Path(path), content.getvalue())
    except OSError as error:
        raise InputFileError(error.strerror or "cannot be written", where=str(path)) from error
