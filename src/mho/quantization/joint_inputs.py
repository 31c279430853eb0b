"""Samples of all inputs of a network, cut and counted together: a tensor, or several beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mho.errors import DataError
from mho.network.graph import Network
from mho.network.reference import samples_by_name


@dataclass(frozen=True, eq=False)
class JointInputs:
    """One tensor [N, ...] for each input of a network, in order; like a tensor, it has a length, parts and batches."""

    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: slice | Tensor) -> JointInputs:
        return JointInputs(tuple(tensor[index] for tensor in self.tensors))

    def split(self, size: int) -> Iterator[JointInputs]:
        """Yield batches of `size` samples, the last one perhaps smaller."""
        yield from map(JointInputs, zip(*(tensor.split(size) for tensor in self.tensors), strict=True))


Inputs = Tensor | JointInputs


def as_inputs(network: Network, values: Any) -> Inputs:
    """Return samples of a network.

    Args:
        network: what they are for.
        values: real numbers [N, ...], or by the names of inputs.

    Raises:
        DataError: they are none, or do not fit.
    """
    names = [tensor.name for tensor in network.inputs]
    if isinstance(values, Mapping):
        arrays = samples_by_name(network, {name: _as_array(one) for name, one in values.items()})
        tensors = tuple(torch.from_numpy(arrays[name]) for name in names)
        return tensors[0] if len(tensors) == 1 else JointInputs(tensors)
    if len(names) > 1:
        raise DataError("one array for several inputs", where="inputs", expected=f"arrays by name: {', '.join(names)}")
    return as_tensor(values)


def _as_array(values: Any) -> Any:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def as_tensor(values: Any) -> torch.Tensor:
    """Return real numbers [N, ...] as a float32 tensor. Raises `DataError`."""
    if not isinstance(values, torch.Tensor):
        try:
            values = np.asarray(values)
        except (TypeError, ValueError) as error:
            raise DataError(f"not an array of numbers: {error}", where="inputs") from error
        if values.dtype.kind not in "fiub":
            raise DataError(f"array of type {values.dtype}", where="inputs", expected="real numbers")
        values = torch.as_tensor(values)
    if values.is_complex() or not values.dim():
        raise DataError(
            f"array of type {values.dtype}, shape {list(values.shape)}",
            where="inputs",
            expected="real numbers, [N, ...]",
        )
    return values.to(torch.float32)
