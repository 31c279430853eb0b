"""Tensors in a safetensors file, written so that a reader sees the old file or the new one, never a torn one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mho.cache_folder import write_atomically
from mho.errors import InputFileError
from mho.input_files import check_memory, check_regular_file, parse_json

_KEY, _CHECKSUM = "mho", "sha256"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write `tensors` and, in the header as JSON, `description`; atomically."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = json.dumps({**description, _CHECKSUM: _hash(kept, description)}, sort_keys=True)
    write_atomically(path, save(kept, metadata={_KEY: header}))  # one entry: safetensors writes several in any order


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
            header = (file.metadata() or {})[_KEY]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputFileError(f"cannot be read: {error}", where=str(path), expected=expected) from error
    description = parse_json(header, where=str(path))
    if not isinstance(description, dict):
        raise InputFileError("the description is no JSON object", where=str(path), expected=expected)
    checksum = description.pop(_CHECKSUM, None)
    if checksum not in (None, _hash(tensors, description)):  # files that predate the checksum have none
        raise InputFileError("the checksum does not match", where=str(path), hint="the file is damaged")
    return tensors, description


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and persistent buffers by name, each shared tensor once; they alias the module's."""
    kept = module.state_dict().keys()
    found = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor for name, tensor in found.items() if name in kept}


@torch.no_grad()
def copy_tensors(tensors: Mapping[str, Tensor], module: nn.Module, *, where: str) -> None:
    """Copy `tensors` (as `tensors_of` returns them) into a module. Raises `InputFileError`: they are of another one."""
    own = tensors_of(module)
    if wrong := sorted(set(own) ^ set(tensors)):
        raise InputFileError(f"tensors of another network: {', '.join(wrong[:5])}", where=where)
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise InputFileError(
                f"shape {list(tensors[name].shape)}", where=f"{where}: {name}", expected=str(list(tensor.shape))
            )
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def _hash(tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of tensors of the processor and of JSON, hexadecimal."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
