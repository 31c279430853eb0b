"""Accelerators from files: presets by name, the user's own TOML files, and back to TOML or JSON."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from mho.errors import ConfigError, InputFileError, propose, suggest
from mho.hardware.array import Placement
from mho.hardware.spec import PAPER_ENCODINGS, Accelerator, Encoding
from mho.input_files import suggest_file
from mho.settings import parse_settings, read_toml
from mho.toml_text import toml_lines

_SUFFIX = ".toml"
_OVERRIDDEN = "set by the user"


def list_presets() -> tuple[str, ...]:
    """Return the names of the accelerators that come with mho."""
    return tuple(sorted(_preset_paths()))


def load_accelerator(name_or_path: str | Path) -> Accelerator:
    """Load a preset by name, or a TOML file by path.

    What ends in ``.toml``, holds a path separator or is a `Path` is a file; anything else is a preset's name.

    Raises:
        InputFileError: there is no such preset or file, or it is not TOML.
        ConfigError: unknown or missing keys, wrong types, impossible values: all of them, each with its valid range.
    """
    text = str(name_or_path)
    if _is_file(name_or_path):
        return accelerator_from_json(read_toml(text), where=text)
    preset = _preset_paths().get(text)
    if preset is None:
        raise InputFileError(
            f"there is no accelerator {text!r}",
            expected=f"a TOML file or one of {', '.join(list_presets())}",
            hint=suggest_accelerator(text),
        )
    return accelerator_from_json(read_toml(preset), where=text)


def suggest_accelerator(name: str) -> str:
    """Return ``did you mean 'x'?`` for the file or preset nearest to an accelerator that is not there, or nothing."""
    if os.path.isfile(name):  # noqa: PTH113 - unlike Path.is_file, takes names that no file can have
        return f"for the file, say ./{name}"
    file = f"{Path(name).stem}{_SUFFIX}"
    if os.path.isfile(file):  # noqa: PTH113
        return propose([file])
    return suggest(name, list_presets()) or (suggest_file(file) if Path(name).stem else "")


def accelerator_from_json(content: Any, *, where: str) -> Accelerator:
    """Validate the content of a description, as TOML or `Accelerator.to_json` gives it. Raises `ConfigError`."""
    return parse_settings(Accelerator, content, where=where)


def as_accelerator(value: Accelerator | str | Path) -> Accelerator:
    """Return an accelerator as it is, or that of a preset's name or TOML file, see `load_accelerator`."""
    return value if isinstance(value, Accelerator) else load_accelerator(value)


def load_distinct(
    values: Iterable[Accelerator | str | Path], *, where: str = "accelerators"
) -> tuple[Accelerator, ...]:
    """Return accelerators that people can tell apart: of several with one name, those of files have the file's too.

    Args:
        values: accelerators, presets' names or TOML files. Accelerators stay as they are.
        where: they are named, for messages.

    Raises:
        InputFileError, ConfigError: as `load_accelerator`; or a name or file is there twice.
    """
    given = list(values)
    named = [
        Path(value).resolve() if _is_file(value) else value for value in given if not isinstance(value, Accelerator)
    ]
    if twice := [str(name) for name, count in Counter(named).items() if count > 1]:
        raise ConfigError(f"{twice[0]!r} is named twice", where=where, expected="each accelerator once")
    loaded = [as_accelerator(value) for value in given]
    counts = Counter(one.name for one in loaded)
    return tuple(
        one.model_copy(update={"name": f"{one.name} ({value})"})
        if counts[one.name] > 1 and not isinstance(value, Accelerator) and _is_file(value)
        else one
        for one, value in zip(loaded, given, strict=True)
    )


def _is_file(name_or_path: str | Path) -> bool:
    """Tell whether a file is meant: what ends in ``.toml``, holds a path separator or is a `Path`."""
    text = str(name_or_path)
    return isinstance(name_or_path, Path) or text.endswith(_SUFFIX) or "/" in text or "\\" in text


def override(
    accelerator: Accelerator,
    *,
    cell_bits: int | None = None,
    encoding: Encoding | str | None = None,
    crossbars: int | None = None,
    placement: Placement | None = None,
    max_error: float | str | None = None,
    mapping_objective: str | None = None,
    always_digital: Sequence[str] | None = None,
    never_digital: Sequence[str] | None = None,
    arithmetic: str | None = None,
) -> Accelerator:
    """Return the accelerator with other cells, another encoding, placement, number of crossbars, bound on errors,
    objective of mappings, layers that are pinned to a unit, or arithmetic of digital units; what is None stays.

    An encoding becomes the only one that is allowed, and that of the paper's mapping where this has it. Cores
    keep their size, so that their number follows from the crossbars, but for a single crossbar, which is a core; a mesh
    is then as square as it can be.

    Raises:
        ConfigError: a value is impossible, the accelerator does not allow the encoding, or the crossbars do not fill
            whole cores.
    """
    content = accelerator.to_json()
    allowed = accelerator.mapping.allowed.encodings
    if encoding is not None and allowed != (encoding,):
        if encoding in list(Encoding) and encoding not in allowed:
            raise ConfigError(
                f"it does not allow the encoding {str(encoding)!r}", where=accelerator.name,
                expected=f"one of its mapping.allowed.encodings: {', '.join(allowed)}",
            )  # fmt: skip
        content["mapping"]["allowed"]["encodings"] = [str(encoding)]
        content["sources"]["mapping.allowed"] = _OVERRIDDEN
    changes: dict[str, Any] = {
        "crossbar.cell_bits": cell_bits,
        "mapping.encoding": str(encoding) if encoding in PAPER_ENCODINGS else None,
        "array.placement": None if placement is None else str(placement),
        "mapping.max_error": max_error,
        "mapping.objective": None if mapping_objective is None else str(mapping_objective),
        "mapping.always_digital": None if always_digital is None else list(always_digital),
        "mapping.never_digital": None if never_digital is None else list(never_digital),
        "digital.arithmetic": None if arithmetic is None else str(arithmetic),
    }
    if crossbars is not None and crossbars != accelerator.chip.crossbars:
        changes |= {"chip.crossbars": crossbars, "chip.cores": _count_cores(accelerator, crossbars)}
        content["interconnect"] |= dict.fromkeys(("mesh_rows", "mesh_cols"))
    for key, value in changes.items():
        section, name = key.split(".")
        if value is not None and value != content[section][name]:
            content[section][name] = value
            content["sources"][key] = _OVERRIDDEN
    return accelerator_from_json(content, where=f"{accelerator.name}, overridden")


def _count_cores(accelerator: Accelerator, crossbars: int) -> int:
    """Return how many cores so many crossbars fill; 1 where there is one core, or one crossbar."""
    if accelerator.chip.cores == 1 or crossbars == 1:
        return 1
    size = accelerator.chip.crossbars_per_core
    if crossbars < 1 or crossbars % size:
        below = crossbars // size * size
        near = f"{below:,} or {below + size:,}" if below > 0 else f"{size:,}"
        raise ConfigError(
            f"{crossbars:,} crossbars do not fill whole cores of {size:,}",
            where=f"{accelerator.name}: chip.crossbars",
            expected=f"a multiple of {size:,}, such as {near}",
        )
    return crossbars // size


def to_toml(accelerator: Accelerator) -> str:
    """Return the text of a TOML file that loads as an equal accelerator."""
    return "\n".join(toml_lines(accelerator.model_dump(), "")) + "\n"


@cache
def _preset_paths() -> Mapping[str, Path]:
    folder = Path(str(files("mho.hardware") / "presets"))
    return {path.stem: path for path in folder.glob(f"*{_SUFFIX}")}
