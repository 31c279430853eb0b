"""Tensors in a safetensors file, written so that a reader sees the old file or the new one, never a torn one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mho.cache_folder import write_atomically
from mho.errors import InputFileError
from mho.input_files import check_memory, check_regular_file, parse_json

_KEY = "mho"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write `tensors` and, in the header as JSON, `description`; atomically."""
    header = {_KEY: json.dumps(description, sort_keys=True)}
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata=header)
    write_atomically(path, content)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the description of a file that `write_tensors` wrote.

    Raises:
        InputFileError: missing, torn, or not such a file.
        MemoryBudgetError: it is larger than the budget.
    """
    expected = "tensors written by mho"
    check_memory(check_regular_file(path, expected=expected), "the file", where=str(path))
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})[_KEY]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputFileError(f"cannot be read: {error}", where=str(path), expected=expected) from error
    description = parse_json(text, where=str(path))
    if not isinstance(description, dict):
        raise InputFileError("the description is no JSON object", where=str(path), expected=expected)
    return tensors, description
