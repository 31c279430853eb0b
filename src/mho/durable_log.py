"""Logs of JSON lines that outlive a kill: at most the line that is being written is lost.

The first line names format and version, and what else the owner of a log puts there. Whoever keeps a log says what
its lines mean.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mho.cache_folder import write_atomically
from mho.errors import InputFileError, file_errors
from mho.input_files import parse_json, read_file


@dataclass(frozen=True)
class LogFormat:
    """A kind of log.

    Attributes:
        name: of the format, in the first line.
        version: of it.
        words: what such a file is, for messages: "an evaluation log".
    """

    name: str
    version: int
    words: str

    @property
    def header(self) -> dict[str, Any]:
        """What every first line begins with."""
        return {"format": self.name, "version": self.version}


@dataclass(frozen=True)
class LogContent:
    """What a log holds.

    Attributes:
        header: the first line.
        lines: where each of the others lies (file and line number, for messages), and its content.
        was_repaired: a line at the end was not whole, and was removed.
    """

    header: Mapping[str, Any]
    lines: tuple[tuple[str, Any], ...] = ()
    was_repaired: bool = False


def read_log(path: Path, kind: LogFormat) -> LogContent:
    """Return what a log holds; the file stays as it is, also where another process adds to it.

    Raises:
        InputFileError: the file cannot be read, is no such log, or a line before the last is damaged.
    """
    return _parse_log(path, kind, _whole_lines(read_file(path, expected=kind.words)))


def open_log(path: Path, kind: LogFormat, header: Mapping[str, Any]) -> LogContent:
    """Return what a log holds, made where it does not exist; a line at the end that is not whole is removed.

    Args:
        path: the file.
        kind: of log.
        header: the rest of the first line of a log that is made; the caller checks that of one that exists.

    Raises:
        InputFileError: as `read_log`, or the file cannot be written.
    """
    with file_errors(path, "cannot be read"):
        path.parent.mkdir(parents=True, exist_ok=True)
        content = read_file(path, expected=kind.words) if path.exists() else b""
    lines = _whole_lines(content)
    if not lines:
        beginning = json.dumps(kind.header)[:-1].encode()
        if not beginning.startswith(content[: len(beginning)]):
            raise _no_log(path, kind)
        _truncate(path, 0)
        append_line(path, kind.header | dict(header))
        return LogContent(kind.header | dict(header), was_repaired=bool(content))
    found = _parse_log(path, kind, lines)
    size = sum(map(len, lines))
    if size < len(content):
        _truncate(path, size)
        return LogContent(found.header, found.lines, was_repaired=True)
    return found


def write_log(path: Path, kind: LogFormat, header: Mapping[str, Any], lines: Iterable[Any]) -> None:
    """Write a whole log, atomically. Raises `InputFileError` where it cannot be written."""
    text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in (kind.header | dict(header), *lines))
    with file_errors(path, "cannot be written"):
        write_atomically(path, text.encode())


def append_line(path: Path, content: Any) -> None:
    """Add a line, and make it durable before returning. Raises `InputFileError` where it cannot be written."""
    line = (json.dumps(content, allow_nan=False) + "\n").encode()
    with file_errors(path, "cannot be written"), path.open("ab") as file:
        size = file.seek(0, os.SEEK_END)
        try:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):  # a full disk must not leave half a line for the next one to be glued to
                _truncate(path, size)
            raise


def _whole_lines(content: bytes) -> list[bytes]:
    """Return the lines of a log, without one at the end that was cut off or is damaged."""
    lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
    return lines[:-1] if len(lines) > 1 and _parse(lines[-1]) is None else lines


def _parse_log(path: Path, kind: LogFormat, lines: list[bytes]) -> LogContent:
    header: Any = _parse(lines[0]) if lines else None
    if not isinstance(header, dict) or header.get("format") != kind.name:
        raise _no_log(path, kind)
    if header.get("version") != kind.version:
        raise InputFileError(
            f"version {header.get('version')!r}", where=str(path), expected=f"version {kind.version} of {kind.name}"
        )
    parsed = [(f"{path}: line {number}", _parse(line)) for number, line in enumerate(lines[1:], start=2)]
    for where, content in parsed:
        if content is None:
            raise damaged_line("a damaged line before the end", where)
    return LogContent(header, tuple(parsed))


def damaged_line(what: str, where: str, *, expected: str = "") -> InputFileError:
    """Return the error for a line that does not hold what it should."""
    return InputFileError(
        what, where=where, expected=expected, hint="delete the line: what it held is then evaluated again"
    )


def _no_log(path: Path, kind: LogFormat) -> InputFileError:
    return InputFileError(
        f"not {kind.words}",
        where=str(path),
        hint="name another file or folder; where this file was a log, delete it: what it held is then evaluated again",
    )


def _parse(line: bytes) -> Any:
    """Return the content of a JSON line, None where it is damaged (NaN and infinity are no JSON)."""
    try:
        return parse_json(line, where="")
    except InputFileError:
        return None


def _truncate(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())
