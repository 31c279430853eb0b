"""Files that a user hands in: regular files only, within one memory budget, JSON of bounded depth.

Every reader of a user's file starts here. The budget bounds the memory that any one thing that is handed in may take
once it is read (a file, an array, the tensors of a network, a decoded dataset); it is checked before memory is taken.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import stat
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from mho.errors import ConfigError, InputFileError, MemoryBudgetError, file_errors, nearest, propose

MEMORY_KEY = "MHO_MEMORY_GIB"
"""The environment variable that sets the budget, GiB."""

DEFAULT_MEMORY_GIB = 2.0

MAX_JSON_DEPTH = 200
"""Tables and lists within each other; what mho writes stays below 30."""

MAX_DIGITS = 1000
"""Of a number; seeds may have so many."""

_MOST_ENTRIES = 1000
"""Entries of a folder that are looked at for a name."""

_LARGEST_EXPONENT = 308
"""Of a decimal, as of a double: whoever computes with larger ones runs out of time and memory."""

_JSON_GROWTH = 25
"""Bytes of memory that a byte of JSON may become: an empty list takes 72, and its text 3."""

_KINDS_BY_CONTENT = {
    b"PK": "an archive of arrays (.npz)",
    b"MHOPROG": "a program (.mho)",
    b"<!doctype html": "a page (HTML)",
    b"<!DOCTYPE html": "a page (HTML)",
}
_KINDS_BY_ENDING = {
    ".onnx": "an ONNX file",
    ".mho": "a program (.mho)",
    ".npz": "an archive of arrays (.npz)",
    ".html": "a page (HTML)",
    ".toml": "a TOML file",
}


def memory_budget_bytes() -> int:
    """Return how much memory one thing that is handed in may take, bytes: $MHO_MEMORY_GIB, else 2 GiB.

    Raises:
        ConfigError: the variable holds no positive number.
    """
    text = os.environ.get(MEMORY_KEY, "").strip()
    try:
        gib = float(text) if text else DEFAULT_MEMORY_GIB
    except ValueError:
        gib = 0.0
    if not 0 < gib < 1 << 20:
        raise ConfigError(f"is {text[:60]!r}", where=MEMORY_KEY, expected="a positive number of GiB, such as 8")
    return int(gib * (1 << 30))


def check_memory(size_bytes: int, what: str, *, where: str = "") -> None:
    """Refuse what would take more memory than the budget, before the memory is taken.

    Args:
        size_bytes: that it would take.
        what: it is, for the message: ``"tensor 'x' of shape 2048 x 2048"``.
        where: the file, key or layer.

    Raises:
        MemoryBudgetError: it is above the budget.
    """
    budget = memory_budget_bytes()
    if size_bytes > budget:
        raise MemoryBudgetError(
            f"{what} would take {_gib(size_bytes)} of memory",
            where=where,
            expected=f"at most {_gib(budget)}",
            hint=f"set the environment variable {MEMORY_KEY} to allow more",
        )


def stat_regular_file(path: str | Path, *, expected: str = "") -> os.stat_result:
    """Return size, times and inode of a file that can be read to its end; does not open it.

    Args:
        path: of the file.
        expected: what it should be, for the message.

    Raises:
        InputFileError: there is no such file, or it is a folder, a pipe, a device or a socket.
    """
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        is_missing = isinstance(error, FileNotFoundError)
        what, hint = "no such file" if is_missing else reason or str(error), suggest_file(path) if is_missing else ""
        raise InputFileError(what, where=str(path), expected=expected, hint=hint) from error
    if not stat.S_ISREG(found.st_mode):
        what = "is a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise InputFileError(what, where=str(path), expected=expected or "a regular file")
    return found


def suggest_file(path: str | Path, folders: Iterable[Path] = ()) -> str:
    """Return ``did you mean 'x'?`` for the file nearest to one that is not there, or an empty string.

    Args:
        path: of what is not there.
        folders: where to look too; files of its own folder go first.
    """
    wanted = Path(path)
    for folder in (wanted.parent, *folders):
        try:
            with os.scandir(folder) as entries:
                found = [one.name for one in itertools.islice(entries, _MOST_ENTRIES) if one.is_file()]
        except OSError:
            continue
        names = {Path(name).stem: name for name in sorted(found) if wanted.suffix in ("", Path(name).suffix)}
        if near := nearest(wanted.stem, names):
            return propose(str(folder / names[stem]) for stem in near)
    return ""


def check_regular_file(path: str | Path, *, expected: str = "") -> int:
    """Return the size in bytes of a file that can be read to its end. Raises as `stat_regular_file`."""
    return stat_regular_file(path, expected=expected).st_size


def is_folder(path: str | Path) -> bool:
    """Return whether `path` is a folder; False where the system cannot say (Path.is_dir raises there)."""
    return os.path.isdir(path)  # noqa: PTH112


def read_file(path: str | Path, *, expected: str = "") -> bytes:
    """Return the content of a regular file within the memory budget.

    Raises:
        InputFileError: as `check_regular_file`, or it cannot be read.
        MemoryBudgetError: it is larger than the budget.
    """
    check_memory(check_regular_file(path, expected=expected), "the file", where=str(path))
    with file_errors(path, "cannot be read", expected=expected):
        return Path(path).read_bytes()


def hash_file(path: str | Path) -> str:
    """Return the SHA-256 of a regular file of any size, in hex.

    Raises:
        InputFileError: as `check_regular_file`, or it cannot be read.
    """
    check_regular_file(path)
    with file_errors(path, "cannot be read"), Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: str | Path, *, expected: str) -> str:
    """Return the content of a regular file of UTF-8 text. Raises as `read_file`, and where it is not UTF-8."""
    content = read_file(path, expected=expected)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        kind = tell_kind(path, content)
        what = f"is {kind}" if kind and Path(path).suffix != ".toml" else "not UTF-8 text"
        raise InputFileError(what, where=str(path), expected=expected) from error


def parse_json(text: str | bytes, *, where: str) -> Any:
    """Parse JSON that a user or a damaged disk may have written.

    Args:
        text: UTF-8.
        where: the file, for messages.

    Raises:
        InputFileError: not JSON (NaN and Infinity are not), half of a surrogate pair, or as `check_content`.
        MemoryBudgetError: it may take more memory than the budget.
    """
    check_memory(_JSON_GROWTH * len(text), "the JSON text", where=where)
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if "\\u" in text:  # halves of surrogate pairs can neither be written to a file nor printed
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InputFileError(f"not JSON: {_reason(error)}", where=where, hint="the file is damaged") from error
    check_content(content, where=where)
    return content


def read_json(path: str | Path, *, expected: str) -> Any:
    """Return the content of a JSON file. Raises as `read_file` and `parse_json`; names what another kind of file is."""
    content = read_file(path, expected=expected)
    try:
        return parse_json(content, where=str(path))
    except (InputFileError, MemoryBudgetError) as error:
        if kind := tell_kind(path, content):
            raise InputFileError(f"is {kind}", where=str(path), expected=f"{expected} (JSON)") from error
        raise


def tell_kind(path: str | Path, content: bytes) -> str:
    """Return what a file seems to be that could not be read as what it should be: ``an ONNX file``; nothing if unknown.

    Args:
        path: of the file.
        content: its first bytes, or all.
    """
    by_content = next((kind for start, kind in _KINDS_BY_CONTENT.items() if content.startswith(start)), "")
    return by_content or _KINDS_BY_ENDING.get(Path(path).suffix.lower(), "")


def check_content(content: Any, *, where: str) -> None:
    """Refuse tables (of JSON, TOML or a caller) whose depth or numbers nobody can compute with.

    Args:
        content: dictionaries, lists and scalars.
        where: the file, for messages.

    Raises:
        InputFileError: nested more than 200 deep, or a number that is infinite, has over 1,000 digits, or a decimal
            exponent beyond those of doubles; names its key.
    """
    level: list[tuple[Any, Any]] = [((), [content])]  # where each table lies, as nested pairs, and the table
    for depth in range(MAX_JSON_DEPTH + 2):
        below: list[tuple[Any, Any]] = []
        for place, table in level:
            for key, value in table.items() if isinstance(table, dict) else enumerate(table):
                if isinstance(value, (dict, list, tuple)):
                    below.append(((place, key) if depth else (), value))
                elif isinstance(value, (int, float, Decimal)) and (what := _excess(value)):
                    raise InputFileError(what, where=": ".join(filter(None, (where, _dotted(place, key, depth)))))
        level = below
    if level:
        raise InputFileError(f"nested over {MAX_JSON_DEPTH} deep", where=where, hint="the file is damaged")


def _excess(value: float | Decimal) -> str:
    """Return what makes a number impossible, in words; nothing where it is fine."""
    if isinstance(value, Decimal):
        if not value.is_finite() or not value:
            return ""  # settings state the valid range of a key that is NaN
        digits, exponent = len(value.as_tuple().digits), value.adjusted()
        if abs(exponent) > _LARGEST_EXPONENT:
            return f"a number with an exponent of {exponent:,}"
        return f"a number of {digits:,} digits" if digits > MAX_DIGITS else ""
    if isinstance(value, int):
        is_long = value.bit_length() > math.ceil(MAX_DIGITS * math.log2(10))
        return f"a number of over {MAX_DIGITS:,} digits" if is_long else ""
    return "" if math.isfinite(value) else f"is {value}, not a finite number"


def _dotted(place: Any, key: Any, depth: int) -> str:
    keys = [str(key)[:60]] if depth else []
    while place:
        place, key = place
        keys.append(str(key)[:60])
    return ".".join(reversed(keys))


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)[:200]


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):,.1f} GiB" if size_bytes < 1 << 50 else "over a million GiB"
