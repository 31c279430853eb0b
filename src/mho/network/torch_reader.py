"""From a torch module to a Network, through torch's ONNX exporter: the only importer of torch in this package."""

from __future__ import annotations

import contextlib
import io
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
            if fault := _find_fault(module, example):
                raise UnsupportedOperationError(
                    f"the example of shape {list(example.shape)} does not fit the module: {fault}",
                    where=where,
                    expected="an input that the module takes",
                    hint="images are [N, C, H, W], with a batch axis: torch.zeros(1, 3, 32, 32)",
                ) from error
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
    """Keep torch's remarks about itself, and graphs that it prints, from the user; its errors come as exceptions."""
    loggers = {name: logging.getLogger(name) for name in ("torch", "torch.onnx")}
    levels = {name: logger.level for name, logger in loggers.items()}
    for logger in loggers.values():
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(levels[name])


def _find_fault(module: nn.Module, example: Tensor) -> str:
    """Return what the module itself says against an input, in a line; "" where it takes it."""
    try:
        with torch.no_grad():
            module(example)
    except Exception as error:  # the user's own code
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__
    return ""
