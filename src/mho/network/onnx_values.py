"""What a name of an ONNX graph stands for while it is read: a constant or a tensor, perhaps on an integer grid."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mho.network.draft import Unsupported
from mho.network.graph import Grid, bits_of_range

Array = NDArray[Any]

FLOAT_TYPES = {"FLOAT": "float32", "FLOAT16": "float16", "BFLOAT16": "bfloat16", "DOUBLE": "float64"}
"""ONNX's types of real numbers that activations may have, and NumPy's names of them. All are computed in float32."""
WHOLE_TYPES = {name: name.lower() for name in (
    "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL"
)}  # fmt: skip
"""The same of whole numbers and of booleans (0 and 1), which float32 holds exactly up to 2^24."""
LARGEST_WHOLE = 1 << 24

_BLOCK = 1 << 22

MAX_BITS = 32
"""Of the width of weights that a file gives."""


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
        """Return the float32 values: one array, however often it is read."""
        return self._values

    @functools.cached_property
    def _values(self) -> NDArray[np.float32]:
        shape = [1] * self.integers.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        return dequantize(self.integers, self.scales.reshape(shape), self.zero_points.reshape(shape))

    def transposed(self, perm: Sequence[int]) -> QuantizedConstant:
        """Axis i of the result is axis perm[i]. Raises `Unsupported` where `perm` is no permutation."""
        if sorted(perm) != list(range(self.integers.ndim)):
            raise Unsupported(f"{list(perm)} is no permutation of {self.integers.ndim} axes")
        axis = None if self.axis is None else list(perm).index(self.axis)
        return replace(self, integers=self.integers.transpose(perm), axis=axis)

    def scaled(self, factor: float) -> QuantizedConstant:
        """Return the same integers, worth `factor` as much."""
        return replace(self, scales=np.asarray(self.scales * np.float32(factor), dtype=np.float32))

    def grid(self, bits: int | None = None) -> Grid | None:
        """Return the grid of a weight [outputs, ...], or None where scales do not run along the outputs.

        Args:
            bits: width that the file gives; otherwise it follows from the bounds, and weights that are all -1 or +1
                within bounds of 1 have 1 bit. Raises `Unsupported` for a width that does not hold the bounds.
        """
        if self.axis not in (None, 0):
            return None
        low, high = self.bounds
        binary = self.bounds == (-1, 1) and bool(np.all(np.abs(self.integers) == 1))
        needed = bits_of_range(low, high)
        if bits is None:
            bits = 1 if binary else needed
        if not (bits == 1 and binary) and not needed <= bits <= MAX_BITS:
            raise Unsupported(f"has weights of {bits} bits within {low}..{high}")
        return Grid(self.scales, self.zero_points, low, high, bits)


@dataclass(frozen=True)
class Activation:
    """A tensor of the network under construction, which is float32.

    `dtype` is what the file holds there: "float32" (of narrower types too), "float64", "int64", "bool", ...
    """

    tensor: str
    dtype: str = "float32"

    @property
    def is_whole(self) -> bool:
        """True for integers and booleans."""
        return not self.dtype.startswith("float")


@dataclass(frozen=True)
class QuantizedActivation:
    """A tensor on an integer grid, between QuantizeLinear and DequantizeLinear: nothing computed yet.

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
    """A sequence: what SplitToSequence makes and SequenceAt picks from."""

    values: tuple[Activation | Constant, ...]


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
        """Return a whole-number attribute. This and its like raise `Unsupported` for an attribute of another kind."""
        return int(self._attribute(key, int, default))

    def flag(self, key: str, default: int) -> int:
        """Return an attribute that is 0 or 1; what runtimes make of other numbers differs."""
        value = self.integer(key, default)
        if value not in (0, 1):
            raise Unsupported(f"attribute {key} is {value}, neither 0 nor 1")
        return value

    def number(self, key: str, default: float) -> float:
        """Return a number attribute, the float32 that the file holds."""
        value = float(np.float32(self._attribute(key, (float, int), default)))
        if not np.isfinite(value):
            raise Unsupported(f"attribute {key} is {value}")
        return value

    def text(self, key: str, default: str) -> str:
        """Return a text attribute."""
        return str(self._attribute(key, str, default))

    def integers(self, key: str) -> tuple[int, ...] | None:
        """Return an attribute of whole numbers, None where left out."""
        value = self.attributes.get(key)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not all(isinstance(item, int) for item in value):
            raise Unsupported(f"attribute {key} is no list of whole numbers")
        return tuple(int(item) for item in value)

    def _attribute(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = self.attributes.get(key, default)
        if not isinstance(value, kind):
            raise Unsupported(f"attribute {key} is of another kind")
        return value

    @functools.cached_property
    def schema(self) -> Any:
        """ONNX's definition of the operation; None where it has none."""
        from onnx import defs

        try:
            return defs.get_schema(self.op_type, self.opset)
        except defs.SchemaError:
            return defs.get_schema(self.op_type) if defs.has(self.op_type) else None

    def result_type(self, operand_types: Sequence[str]) -> str:
        """Return NumPy's name of the type of the first output, from those of the operands ("" where left out)."""
        if self.schema is None:
            return "float32"
        kind = str(self.schema.outputs[0].type_str)
        if kind.startswith("tensor("):
            name = kind.removeprefix("tensor(").removesuffix(")")
            return {"float": "float32", "double": "float64"}.get(name, name)
        formals = self.schema.inputs
        for index, given in enumerate(operand_types if formals else ()):
            if given and formals[min(index, len(formals) - 1)].type_str == kind:
                return "float32" if given in ("float16", "bfloat16") else given
        return "float32"

    def check_types(self, operand_types: Sequence[str]) -> None:
        """Check that operands have one type where ONNX asks for one. Raises `Unsupported`."""
        formals = self.schema.inputs if self.schema is not None else ()
        known: dict[str, str] = {}
        for index, given in enumerate(operand_types if formals else ()):
            kind = formals[min(index, len(formals) - 1)].type_str
            given = "float32" if given in ("float16", "bfloat16") else given
            if given and not kind.startswith("tensor(") and known.setdefault(kind, given) != given:
                raise Unsupported(f"has operands of {known[kind]} and of {given}")

    def check_form(self) -> None:
        """Check operands, outputs and required attributes against ONNX. Raises `Unsupported`."""
        from onnx import defs

        schema = self.schema
        if schema is None:
            return  # the reader has no converter for it either
        if not schema.min_input <= len(self.inputs) <= schema.max_input:
            raise Unsupported(f"has {len(self.inputs)} operands")
        if not schema.min_output <= len(self.outputs) <= schema.max_output:
            raise Unsupported(f"has {len(self.outputs)} outputs")
        for index, name in enumerate(self.inputs):
            formal = schema.inputs[min(index, len(schema.inputs) - 1)]
            if not name and formal.option != defs.OpSchema.FormalParameterOption.Optional:
                raise Unsupported(f"operand {index} is left out")
        for key, attribute in schema.attributes.items():
            if attribute.required and key not in self.attributes:
                raise Unsupported(f"has no attribute {key}")


def in_blocks(compute: Callable[..., Array], dtype: DTypeLike, array: Array, *others: Array) -> Array:
    """Return `compute` of an array and of others that broadcast to it, without more than a block in wider types."""
    result = np.empty(array.shape, dtype)
    wide = [np.broadcast_to(one, array.shape) for one in (array, *others)]
    rows = max(1, _BLOCK // max(1, math.prod(array.shape[1:])))
    for start in range(0, len(array), rows) if array.ndim else (0,):
        part = slice(start, start + rows) if array.ndim else ()
        result[part] = compute(*(one[part] for one in wide))
    return result


def dequantize(integers: Array, scales: NDArray[np.float32], zero_points: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return scales * (integers - zero_points) as float32; scales and zero points broadcast."""
    return in_blocks(
        lambda q, s, z: (q.astype(np.int64) - z).astype(np.float32) * s, np.float32, integers, scales, zero_points
    )


def normalize_axis(axis: int, rank: int) -> int:
    """Return `axis` counted from 0. Raises `Unsupported`."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} of a tensor with {rank}")
    return axis % rank


def normalize_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Return distinct axes counted from 0. Raises `Unsupported`."""
    counted = tuple(normalize_axis(axis, rank) for axis in axes)
    if len(set(counted)) < len(counted):
        raise Unsupported(f"names an axis twice: {list(axes)}")
    return counted
