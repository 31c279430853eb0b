"""From what a user names to a Network: an ONNX file, or a network by name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mho.errors import InputFileError
from mho.network.graph import Network

_WEIGHT_FILES = (".pt", ".pth", ".safetensors")


def is_onnx_path(spec: str | Path) -> bool:
    """True where `spec` means a file: a `Path`, or a text that ends in .onnx or names an existing file."""
    # os.path: Path.is_file raises for texts that no file can be named by.
    return isinstance(spec, Path) or spec.endswith(".onnx") or os.path.isfile(spec)  # noqa: PTH113


def check_file_is_there(path: Path, wanted: str) -> None:
    """Refuse the name of a network where a file is read.

    Args:
        path: what was given.
        wanted: which file is taken, and where one comes from.

    Raises:
        InputFileError: it is no file, and names a network, with or without the ending of a file.
    """
    if path.exists():
        return
    from mho.models import model_names

    name = str(path).removesuffix(".onnx")
    if name in model_names() or name.startswith("torchvision:"):
        raise InputFileError("names a network, and is no file", where=str(path), expected="an ONNX file", hint=wanted)


GivenShapes = Sequence[int] | Mapping[str, Sequence[int]]
"""The shape of one sample of all inputs, or of each by name, without the batch axis; or all axes of the file."""


def load_file(path: str | Path, *, input_shape: GivenShapes | None = None) -> Network:
    """Read an ONNX file as the network of one sample, whatever batch it is fixed to.

    Args:
        path: the file.
        input_shape: of one sample without the batch axis, where the file's own shapes are symbolic; of several inputs
            one for all, or one by name for each. All axes of the file are taken too: time may come before the batch.

    Raises:
        InputFileError, UnsupportedOperationError: as `read_onnx` and `take_one_sample`.
    """
    from mho.network.one_sample import take_one_sample
    from mho.network.onnx_reader import read_onnx

    if isinstance(input_shape, Mapping):
        return take_one_sample(read_onnx(path, {name: (1, *shape) for name, shape in input_shape.items()}))
    return take_one_sample(read_onnx(path, None if input_shape is None else (1, *input_shape)))


def _refuse_weights(name: str) -> None:
    raise InputFileError(
        "holds weights of PyTorch, and no network", where=name, expected="an ONNX file, or a torch module",
        hint="load the weights into your module, then mho.load(module, torch.zeros(1, 3, 32, 32)), or export it with"
        " torch.onnx.export(dynamo=True)",
    )  # fmt: skip


def load_network(spec: str | Path, *, input_shape: GivenShapes | None = None, seed: int = 0) -> Network:
    """Load a network.

    Args:
        spec: path of an ONNX file; `torchvision:NAME`, a name that `mho.models.build_model` knows, or a function of
            the user's, `package.module:function` or `file.py:function`. All but files get random weights, and the
            outputs that they are made for (a user's function: 10).
        input_shape: shape of one sample without the batch axis, such as (3, 224, 224). For a file only where its own
            shapes are symbolic, as for `load_file`. By name: what the network is made for, if not given (a user's
            function: (3, 32, 32)).
        seed: of the random weights.

    Raises:
        InputFileError, UnsupportedOperationError, ConfigError: as `read_onnx`, `read_torch` and `build_model`.
    """
    if str(spec).endswith(_WEIGHT_FILES):
        _refuse_weights(str(spec))
    if is_onnx_path(spec):
        return load_file(spec, input_shape=input_shape)
    name = str(spec)
    import torch

    from mho.models import build_model
    from mho.models.build import usual_sizes
    from mho.network.torch_reader import read_torch

    if isinstance(input_shape, Mapping):
        raise InputFileError("shapes by the names of inputs are for files", where=name, expected="one shape")
    usual_shape, classes = usual_sizes(name)
    shape = tuple(input_shape) if input_shape is not None else usual_shape
    module = build_model(name, classes, shape, torch.Generator().manual_seed(seed))
    return read_torch(module, (1, *shape))
