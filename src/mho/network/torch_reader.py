"""From a torch module to a Network, through torch's ONNX exporter: the only importer of torch in this package."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from mho.errors import UnsupportedOperationError
from mho.input_files import check_memory
from mho.network.graph import Network
from mho.network.onnx_file import prepare_model
from mho.network.onnx_reader import read_model

Example = Tensor | Sequence[int] | Sequence[Tensor] | Mapping[str, Tensor]


def read_torch(module: nn.Module, example_input: Example, *, takes_integers: bool = False) -> Network:
    """Read a torch module in evaluation mode; its module paths become layer names. The module is left as it was.

    Args:
        module: takes tensors.
        example_input: a tensor [1, ...] of the shape that the network is for, or that shape; of several inputs their
            tensors in order, or by the names of the module's arguments.
        takes_integers: whether an input that is given by its shape holds whole numbers, such as tokens.

    Raises:
        UnsupportedOperationError: torch cannot export the module, or it holds operations that mho does not have.
        InputFileError: parameters that are not finite.
    """
    where = type(module).__name__
    if not isinstance(module, nn.Module):
        raise UnsupportedOperationError(f"a {where} is no network", expected="a file, a name or a torch.nn.Module")
    positional, named = _read_example(example_input, where, torch.int64 if takes_integers else torch.float32)
    shapes = " and ".join(str(list(one.shape)) for one in (*positional, *named.values()))
    with _evaluation_mode(module), _quiet():
        try:
            # Unoptimized: the exporter's optimizer would fold BatchNormalization into the weights.
            program = torch.onnx.export(
                module, positional, None, kwargs=named, dynamo=True, optimize=False, verbose=False
            )
        except Exception as error:  # the exporter passes on whatever the module raises
            if fault := _find_fault(module, positional, named):
                raise UnsupportedOperationError(
                    f"the example of shape {shapes} does not fit the module: {fault}",
                    where=where,
                    expected="an input that the module takes",
                    hint="images are [N, C, H, W], with a batch axis: torch.zeros(1, 3, 32, 32)",
                ) from error
            reason = str(error.__cause__ or error).strip().splitlines()
            raise UnsupportedOperationError(
                f"torch cannot export it: {reason[0] if reason else type(error).__name__}",
                where=where,
                expected=f"a module that takes tensors of shape {shapes}",
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


def _read_example(example: Example, where: str, dtype: torch.dtype) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return the tensors that the module takes in order and by name. Raises `UnsupportedOperationError`."""
    if isinstance(example, Tensor):
        return (example,), {}
    if isinstance(example, Mapping) and example and all(isinstance(one, Tensor) for one in example.values()):
        return (), {str(name): one for name, one in example.items()}
    if isinstance(example, tuple | list) and example:
        if all(isinstance(one, Tensor) for one in example):
            return tuple(example), {}
        if all(type(size) is int and size > 0 for size in example):
            check_memory(4 * math.prod(example), f"an input of shape {list(example)}", where=where)
            return (torch.zeros(*example, dtype=dtype),), {}
    raise UnsupportedOperationError(
        f"an example input of type {type(example).__name__}", where=where,
        expected="a tensor or its shape; of several inputs a tuple of tensors, or tensors by name",
    )  # fmt: skip


def _find_fault(module: nn.Module, positional: tuple[Tensor, ...], named: dict[str, Tensor]) -> str:
    """Return what the module itself says against an input, in a line; "" where it takes it."""
    try:
        with torch.no_grad():
            module(*positional, **named)
    except Exception as error:  # the user's own code
        lines = str(error).strip().splitlines()
        return lines[0] if lines else type(error).__name__
    return ""
