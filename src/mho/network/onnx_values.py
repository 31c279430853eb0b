"""What a name of an ONNX graph stands for while it is read: a constant or a tensor, perhaps on an integer grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.network.draft import Unsupported
from mho.network.graph import Grid

Array = NDArray[Any]

FLOAT_TYPES = {"FLOAT": "float32", "FLOAT16": "float16", "BFLOAT16": "bfloat16", "DOUBLE": "float64"}
"""ONNX's types of real numbers that activations may have, and NumPy's names of them. All are computed in float32."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A fixed array; `origin` names the initializer that it came from; `bounds` is the range of an integer one."""

    array: Array
    origin: str
    bounds: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class QuantizedConstant:
    """Integers with scales: a constant behind DequantizeLinear. `axis` has one scale an index; None: one in all."""

    integers: Array
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int | None
    bounds: tuple[int, int]
    origin: str

    def dequantized(self) -> NDArray[np.float32]:
        """Return the float32 values."""
        shape = [1] * self.integers.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        centred = (self.integers.astype(np.int64) - self.zero_points.reshape(shape)).astype(np.float32)
        return np.asarray(centred * self.scales.reshape(shape), dtype=np.float32)

    def transposed(self, perm: Sequence[int]) -> QuantizedConstant:
        """Axis i of the result is axis perm[i]."""
        axis = None if self.axis is None else list(perm).index(self.axis)
        return replace(self, integers=self.integers.transpose(perm), axis=axis)

    def scaled(self, factor: float) -> QuantizedConstant:
        """Return the same integers, worth `factor` as much."""
        return replace(self, scales=np.asarray(self.scales * np.float32(factor), dtype=np.float32))

    def grid(self, bits: int | None = None) -> Grid | None:
        """Return the grid of a weight [outputs, ...], or None where scales do not run along the outputs.

        Args:
            bits: width that the file gives; otherwise it follows from the bounds, and weights that are all -1 or +1
                within bounds of 1 have 1 bit.
        """
        if self.axis not in (None, 0):
            return None
        low, high = self.bounds
        if bits is None:
            binary = self.bounds == (-1, 1) and bool(np.all(np.abs(self.integers) == 1))
            bits = 1 if binary else bits_of_range(low, high)
        return Grid(self.scales, self.zero_points, low, high, bits)


@dataclass(frozen=True)
class Activation:
    """A tensor of the network under construction; `is_double` where the file holds it in float64."""

    tensor: str
    is_double: bool = False


@dataclass(frozen=True)
class QuantizedActivation:
    """A tensor on an integer grid, between QuantizeLinear and DequantizeLinear: the grid is told, nothing computed yet.

    `scale` is None for a sign (-1 or +1), whose scale DequantizeLinear brings.
    """

    tensor: str
    scale: float | None
    zero_point: int
    bounds: tuple[int, int]


@dataclass(frozen=True)
class SignTest:
    """True where a tensor is >= 0."""

    tensor: str


@dataclass(frozen=True)
class Parts:
    """A sequence of tensors: what SplitToSequence makes and SequenceAt picks from."""

    tensors: tuple[str, ...]


@dataclass(frozen=True)
class Unknown:
    """The output of a node that could not be read: its readers are not blamed."""


Value = Constant | QuantizedConstant | Activation | QuantizedActivation | SignTest | Parts | Unknown


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """A node of an ONNX graph as plain Python: `inputs` and `outputs` are names, "" where left out."""

    op_type: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int
    hints: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The node in an error: its operation and name."""
        return f"{self.domain + '.' if self.domain else ''}{self.op_type} ({self.name or self.outputs[0]})"

    def has_input(self, index: int) -> bool:
        """True where the optional input is given."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def integer(self, key: str, default: int) -> int:
        """Return a whole-number attribute."""
        return int(self.attributes.get(key, default))

    def number(self, key: str, default: float) -> float:
        """Return a number attribute, the float32 that the file holds."""
        return float(np.float32(self.attributes.get(key, default)))

    def text(self, key: str, default: str) -> str:
        """Return a text attribute."""
        return str(self.attributes.get(key, default))

    def integers(self, key: str) -> tuple[int, ...] | None:
        """Return an attribute of whole numbers, None where left out."""
        value = self.attributes.get(key)
        return None if value is None else tuple(int(item) for item in value)


def bits_of_range(low: int, high: int) -> int:
    """Return how many bits hold low..high: as a code from low (or 0) up, and as a magnitude."""
    return max((high + max(0, -low)).bit_length(), abs(low).bit_length(), 1)


def normalize_axis(axis: int, rank: int) -> int:
    """Return `axis` counted from 0. Raises `Unsupported`."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of a tensor with {rank}")
    return axis % rank
