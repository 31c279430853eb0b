"""Files that a command writes: never one that it reads, and each its own."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from mho.errors import ConfigError, file_errors
from mho.terminal import Verbosity, current_verbosity, echo, echo_note


def check_outputs(outputs: Mapping[str, str | Path | None], inputs: Any, *, kept: Path | None = None) -> None:
    """Refuse files to write that the command reads, by whatever name, and one file for two outputs.

    Any other file may be there already: it is replaced. A folder that is not there is made, with a note.

    Args:
        outputs: by option; None where it is not written.
        inputs: what may name files that are read: texts, paths, None, and tables and lists of them. An ONNX file stands
            for the files of its arrays too.
        kept: a folder below which the command keeps files that it goes on from.

    Raises:
        ConfigError: an output is an input, another output, or a file that is kept.
        MhoError: an ONNX file, whose arrays may lie in the output, cannot be read.
    """
    written = {option: Path(path) for option, path in outputs.items() if path is not None}
    if len({path.resolve() for path in written.values()}) < len(written):
        raise ConfigError(f"{' and '.join(written)} name one file", expected="a file for each")
    for folder in {path.parent for path in written.values() if not path.parent.exists()}:
        echo_note(f"note: makes the folder {folder}")
    there = {option: path for option, path in written.items() if path.exists()}
    if not there:
        return
    read = [part for name in dict.fromkeys(_names(inputs)) for part in (Path(name), *_arrays_of(name))]
    for option, path in there.items():
        is_kept = kept is not None and kept.resolve() in path.resolve().parent.parents
        if is_kept or any(_is_same(one, path) for one in read):
            raise ConfigError(f"{option} would replace a file that is read", where=str(path), hint="name another file")


def print_done(line: str, figures: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a command that writes a file has done: figures as JSON, or a line, which --quiet leaves out."""
    if as_json:
        echo(json.dumps(figures, indent=2))
    elif current_verbosity() > Verbosity.QUIET:
        echo(line)


def shows_progress(*, as_json: bool) -> bool:
    """Return whether a long command shows how far it is, on standard output: not where JSON goes there."""
    return not as_json and current_verbosity() > Verbosity.QUIET


@contextmanager
def printed_into(path: Path | None, *inputs: Any) -> Iterator[None]:
    """Write what the block prints into a file, once all is printed; None: print it.

    Args:
        path: of the file; one that is there already is replaced.
        inputs: what may name files that are read, see `check_outputs`.

    Raises:
        ConfigError: the file is one that is read.
        InputFileError: it cannot be written.
    """
    if path is None:
        yield
        return
    check_outputs({"--output": path}, inputs)
    with redirect_stdout(io.StringIO()) as printed:
        yield
    write_output(path, printed.getvalue().encode())
    echo_note(f"written to {path}")


def write_output(path: Path, content: bytes, *, hint: str = "") -> None:
    """Write a file, all of it or nothing. Raises `InputFileError`, with the hint."""
    from mho.cache_folder import write_atomically

    with file_errors(path, "cannot be written", hint=hint):
        write_atomically(path, content)


def _names(value: Any) -> Iterator[str]:
    """Yield the texts and paths in tables and lists, and what stands before a colon or between commas in them."""
    if isinstance(value, (str, Path)):
        text = str(value)
        yield from filter(None, (text, text.rpartition(":")[0], *text.split(",")))
    elif isinstance(value, Iterable):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _names(one)


def _arrays_of(name: str) -> tuple[Path, ...]:
    """Return the files that hold arrays of an ONNX file; none for other files."""
    if not name.endswith(".onnx") or not os.path.isfile(name):  # noqa: PTH113 - takes names that no file can have
        return ()
    from mho.network.onnx_file import external_files

    return external_files(Path(name))


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # there is no such file
        return False
