"""Trained weights from a .safetensors file into a module, all of them or none."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from mho.errors import InputFileError
from mho.input_files import check_memory, check_regular_file

_COUNTER = "num_batches_tracked"


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Copy the tensors of a .safetensors file (names as in the module's state_dict) into `model`.

    Batch-normalization counters may be missing: they change nothing in a trained network.

    Raises:
        InputFileError: the file is missing or damaged, names are missing or unknown, a shape differs, or a number is
            not finite; names the tensors.
    """
    where = str(path)
    size = check_regular_file(path, expected="trained weights (--weights, network.weights), a .safetensors file")
    check_memory(size, "the file", where=where)
    try:
        found = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise InputFileError(f"not readable as safetensors: {error}", where=where) from error
    own = model.state_dict()
    missing = [name for name in own if name not in found and not name.endswith(_COUNTER)]
    unknown = [name for name in found if name not in own]
    if missing or unknown:
        text = "; ".join(
            f"{kind} {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
            for kind, names in (("lacks", missing), ("has unknown", unknown))
            if names
        )
        raise InputFileError(f"weights of another network: {text}", where=where)
    for name, tensor in found.items():
        if tensor.shape != own[name].shape:
            raise InputFileError(
                f"shape {list(tensor.shape)}", where=f"{where}: {name}", expected=str(list(own[name].shape))
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputFileError("holds NaN or infinity", where=f"{where}: {name}", expected="finite numbers")
    model.load_state_dict(found, strict=False)
