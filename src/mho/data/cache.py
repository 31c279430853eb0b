"""Decoded data kept between runs: arrays under a key, written atomically, thrown away when they do not read back."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.cache_folder import open_atomically


def load_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays kept in `path`; None where there are none or the file is damaged (it is then made anew)."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def store_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write `arrays` to `path` (an uncompressed .npz) so that it is there wholly or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_atomically(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
