"""Where mho keeps what can be made anew: one folder for every user, atomic writes."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mho.errors import MhoError


def cache_folder() -> Path:
    """Return the user's folder, made or not: $MHO_CACHE_DIR, else mho in $XDG_CACHE_HOME, else ~/.cache/mho."""
    if chosen := os.environ.get("MHO_CACHE_DIR"):
        return Path(chosen)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "mho"
    try:
        return Path.home() / ".cache" / "mho"
    except RuntimeError as error:
        raise MhoError("this user has no home folder", hint="set MHO_CACHE_DIR to a folder for the cache") from error


def refuse_to_replace(path: Path) -> None:
    """Raise `OSError` where a rename onto `path` would take the place of a folder, a device or a pipe."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that is there wholly, when the block ends well, or not at all; makes its folder.

    Raises:
        OSError: it cannot be written, or stands for something else: a folder, a device, a pipe.
    """
    refuse_to_replace(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, temporary):
            raise OSError(error.errno, error.strerror, str(path)) from error  # a full disk names no file
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is there wholly or not at all; makes its folder. Raises `OSError` as `open_atomically` does."""
    with open_atomically(path) as file:
        file.write(content)
