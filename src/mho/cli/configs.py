"""Configuration files of long commands."""

from __future__ import annotations

from pathlib import Path

from mho.errors import InputFileError
from mho.input_files import suggest_file


def check_config(path: Path, examples: str) -> None:
    """Refuse a configuration that is not there, and name the one that was meant.

    Args:
        path: what was given.
        examples: folder of examples of this kind, which may be there.

    Raises:
        InputFileError: there is nothing by this name.
    """
    if path.exists():
        return
    ways = f"mho new run {path.stem}.toml writes one, and {examples} of the source has some"
    hint = suggest_file(path, [Path(examples)]) or ways
    raise InputFileError("no such file", where=str(path), expected="a TOML file", hint=hint)
