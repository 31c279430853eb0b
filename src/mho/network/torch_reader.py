"""From a torch module to a Network, through torch's ONNX exporter: the only importer of torch in this package."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from mho.errors import UnsupportedOperationError
from mho.input_files import check_memory
from mho.network.graph import Network
from mho.network.onnx_file import prepare_model
from mho.network.onnx_reader import read_model


def read_torch(module: nn.Module, example_input: Tensor | Sequence[int]) -> Network:
    """Read a torch module in evaluation mode; its module paths become layer names. The module is left as it was.

    Args:
        module: takes one tensor.
        example_input: a tensor [1, ...] of the shape that the network is for, or that shape.

    Raises:
        UnsupportedOperationError: torch cannot export the module, or it holds operations that mho does not have.
        InputFileError: parameters that are not finite.
    """
    where = type(module).__name__
    if not isinstance(module, nn.Module):
        raise UnsupportedOperationError(f"a {where} is no network", expected="a file, a name or a torch.nn.Module")
    is_shape = isinstance(example_input, tuple | list) and bool(example_input)
    is_shape = is_shape and all(type(size) is int and size > 0 for size in example_input)
    if not isinstance(example_input, Tensor) and not is_shape:
        raise UnsupportedOperationError(
            f"an example input of type {type(example_input).__name__}", where=where,
            expected="one tensor, or its shape",
            hint="a module of several inputs is read from its ONNX file (torch.onnx.export)",
        )  # fmt: skip
    if not isinstance(example_input, Tensor):
        check_memory(4 * math.prod(example_input), f"an input of shape {list(example_input)}", where=where)
    example = example_input if isinstance(example_input, Tensor) else torch.zeros(*example_input)
    with _evaluation_mode(module), _quiet():
        try:
            # Unoptimized: the exporter's optimizer would fold BatchNormalization into the weights.
            program = torch.onnx.export(module, (example,), dynamo=True, optimize=False, verbose=False)
        except Exception as error:  # the exporter passes on whatever the module raises
            reason = str(error.__cause__ or error).strip().splitlines()
            raise UnsupportedOperationError(
                f"torch cannot export it: {reason[0] if reason else type(error).__name__}",
                where=where,
                expected=f"a module that takes one tensor of shape {list(example.shape)}",
            ) from error
    assert program is not None, "the dynamo exporter returns a program"
    model = program.model
    model.graph.name = where
    return read_model(prepare_model(model, where), where)


@contextlib.contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for child, training in modes.items():
            child.training = training


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about itself from the user; its errors come as exceptions."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
