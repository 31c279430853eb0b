"""Backends: what a verified program can be written as, by name, and how their files come to lie in a folder.

Some come with mho; others are entry points of the group `mho.backends` of any installed package. A backend gets an
empty folder and fills it. The folder takes its place only where all went well: a backend that fails leaves nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mho.errors import ConfigError, file_errors, suggest
from mho.program.program import Program
from mho.program.verify import verify_program
from mho.simulation.samples import check_inputs
from mho.user_code import user_errors

GROUP = "mho.backends"
"""The group of entry points, each `NAME = "package.module:BACKEND"`."""

_EXPECTED_FOLDER = "a new or empty folder"

_BUILT_IN: Mapping[str, str] = MappingProxyType(
    {"c": "mho.deploy.c_backend:BACKEND", "vectors": "mho.deploy.vector_files:BACKEND"}
)


@dataclass(frozen=True, eq=False)
class Job:
    """What a backend gets.

    Attributes:
        program: verified.
        inputs: float32 [N, *shape] by name, which fit the program; None where none were given.
        options: texts by name, of those that the backend lists.
    """

    program: Program
    inputs: Mapping[str, NDArray[np.float32]] | None
    options: Mapping[str, str]


@runtime_checkable
class Backend(Protocol):
    """Something that a program can be written as.

    Attributes:
        summary: what it writes, in one line.
        options: the options that it takes -> what they mean.
    """

    summary: str
    options: Mapping[str, str]

    def emit(self, job: Job, directory: Path) -> Sequence[str]:
        """Write files into `directory`, which is there and empty; return lines to print.

        Raises:
            MhoError: something of the job is not possible; says what.
        """


@dataclass(frozen=True)
class Emitted:
    """What a backend wrote.

    Attributes:
        directory: where.
        lines: what it has to tell.
        files: of the folder, relative to it, in the order of their names.
    """

    directory: Path
    lines: tuple[str, ...]
    files: tuple[Path, ...]


def backend_names() -> tuple[str, ...]:
    """Return the names of all backends, those of mho first; what other packages name is not loaded.

    Raises:
        ConfigError: the entry points of a package are malformed.
    """
    return tuple(dict.fromkeys((*_BUILT_IN, *sorted(entry.name for entry in _list_entries()))))


def find_backend(name: str) -> Backend:
    """Return a backend by name.

    Raises:
        ConfigError: there is none, or two packages have one, or it cannot be loaded, or is no backend.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        own: Backend = getattr(importlib.import_module(module), attribute)
        return own
    found = [entry for entry in _list_entries() if entry.name == name]
    if not found:
        names = backend_names()
        raise ConfigError(f"no backend {name!r}", expected=", ".join(names), hint=suggest(name, names))
    if len({entry.value for entry in found}) > 1:
        packages = ", ".join(sorted(_place(entry) for entry in found))
        raise ConfigError(f"several packages have a backend {name!r}", where=packages, expected="one")
    return _load(found[0])


def _list_entries() -> list[EntryPoint]:
    """Return what all installed packages name. Raises `ConfigError` where one's entry points are malformed."""
    try:
        return list(entry_points(group=GROUP))
    except (TypeError, ValueError) as error:  # of importlib.metadata
        what = f"an installed package has an entry_points.txt that cannot be read: {error}"
        raise ConfigError(what, where="backends", expected="lines NAME = MODULE:VALUE") from error


def _load(entry: EntryPoint) -> Backend:
    where = f"backend {entry.name!r} of {_place(entry)}"
    with user_errors(where, "cannot be loaded"):
        loaded = entry.load()
        fits = isinstance(loaded, Backend) and not isinstance(loaded, type)
        fits = fits and isinstance(loaded.summary, str) and isinstance(loaded.options, Mapping)
        fits = fits and all(isinstance(text, str) for text in (*loaded.options, *loaded.options.values()))
    if not fits:
        raise ConfigError(
            f"{entry.value} is no backend",
            where=where,
            expected="a value with summary (text), options (texts by name) and emit(job, directory)",
        )
    backend: Backend = loaded
    return backend


def _place(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def emit(
    program: Program,
    target: str,
    directory: str | Path,
    *,
    inputs: Mapping[str, Any] | NDArray[Any] | None = None,
    options: Mapping[str, str] | None = None,
) -> Emitted:
    """Write a program as a backend does, into a folder that is new or empty: all of it or nothing.

    Args:
        program: is verified first.
        target: name of the backend.
        directory: the folder.
        inputs: samples, where the backend takes some: arrays [N, ...] by input name, or the only input.
        options: of the backend, texts by name.

    Raises:
        ConfigError: no such backend or option, or it failed; the folder holds files.
        DataError: inputs do not fit the program.
        InputFileError: the folder cannot be written.
        ProgramError: the program is not sound.
        MhoError: what the backend raises.
    """
    backend, given = find_backend(target), dict(options or {})
    for option in given:
        if option not in backend.options:
            hint = suggest(option, backend.options) or f"options: {', '.join(backend.options) or 'none'}"
            raise ConfigError(f"unknown option {option!r}", where=f"backend {target!r}", hint=hint)
    verify_program(program)
    arrays = None if inputs is None else check_inputs(program, inputs)
    job = Job(program, arrays, MappingProxyType(given))
    with _staged(Path(directory)) as folder:
        is_own = target in _BUILT_IN
        where = f"backend {target!r}"
        with file_errors(directory, "cannot be written") if is_own else user_errors(where):
            found: object = backend.emit(job, folder)
            lines = tuple(found) if isinstance(found, Iterable) and not isinstance(found, str) else (None,)
        if not all(isinstance(line, str) for line in lines):
            what = f"emit returned a value of type {type(found).__name__}"
            raise ConfigError(what, where=where, expected="a list of lines to print")
        files = tuple(sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()))
    return Emitted(Path(directory), lines, files)


@contextlib.contextmanager
def _staged(directory: Path) -> Iterator[Path]:
    """Give an empty folder whose files come to lie in `directory` when the block ends well, and else are gone.

    Links lead to where files go. An empty folder that is there stays the same one: it may be the current folder, or one
    that is mounted, which cannot be replaced.
    """
    target = Path(os.path.realpath(directory))
    with contextlib.ExitStack() as undo:
        with file_errors(directory, "cannot be written"):
            _check_is_free(target, where=str(directory))
            for parent in reversed([one for one in target.parents if not one.exists()]):
                parent.mkdir()
                undo.callback(_remove_empty, parent)
            stage = Path(tempfile.mkdtemp(dir=target if target.exists() else target.parent, prefix=".mho-"))
            undo.callback(shutil.rmtree, stage, ignore_errors=True)
            folder = stage / "files"
            folder.mkdir()
        yield folder
        with file_errors(directory, "cannot be written"):
            _move(folder, target)
        undo.pop_all()
        shutil.rmtree(stage, ignore_errors=True)


def _check_is_free(target: Path, *, where: str) -> None:
    """Raise `ConfigError` where a folder can neither be made nor be filled."""
    if target.is_symlink():
        raise ConfigError("is a link that leads back to itself", where=where, expected=_EXPECTED_FOLDER)
    nearest = next(one for one in (target, *target.parents) if one.exists())
    if not nearest.is_dir():
        what = "is a file" if nearest == target else f"{nearest} is a file"
        raise ConfigError(what, where=where, expected=_EXPECTED_FOLDER)
    held = next(target.iterdir(), None) if nearest == target else None
    if held is not None:
        raise ConfigError(f"is there already, and holds {held.name!r}", where=where, expected=_EXPECTED_FOLDER)


def _move(folder: Path, target: Path) -> None:
    """Let a folder become `target`, or what it holds that of an empty one: all of it or nothing."""
    if not target.exists():
        folder.rename(target)
        return
    with contextlib.ExitStack() as undo:
        for path in sorted(folder.iterdir()):
            moved = path.rename(target / path.name)
            undo.callback(shutil.rmtree if moved.is_dir() else os.unlink, moved)
        undo.pop_all()


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
