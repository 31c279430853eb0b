"""ONNX nodes and initializers under construction, and the nodes that put activations or weights on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import MhoError
from mho.network.graph import Grid, Network
from mho.network.naming import WHOLE_KEY
from mho.network.properties import keeps_samples_apart

if TYPE_CHECKING:
    import onnx

_TYPES = (np.uint8, np.int8, np.uint16, np.int16)


class ModelWriter:
    """Gathers ONNX nodes and initializers; export_operations.py writes into it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.is_batched = keeps_samples_apart(network)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._reserved = set(network.constants) | set(network.shapes)
        self._whole = {tensor.name: "" for tensor in network.inputs if tensor.dtype != "float32"}
        self._indices = {tensor.name for tensor in network.inputs if tensor.dtype in ("int32", "int64")}

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor or constant of the network."""
        return self.network.shapes[name] if name in self.network.shapes else self.network.constants[name].shape

    def hold(self, name: str) -> str:
        """Return what holds an operand in float32: constants are written as they are, whole inputs are cast once."""
        if name in self._whole:
            self._whole[name] = self._whole[name] or self.cast(name, np.float32, name=f"{name}/real")
            return self._whole[name]
        if name in self.network.constants and name not in self.initializers:
            self._store(name, self.network.constants[name])
        return name

    def hold_whole(self, name: str, reader: str) -> str:
        """Return what holds the whole numbers of a tensor as integers, for the node `reader`."""
        return name if name in self._indices else self.cast_whole(name, np.int64, name=f"{reader}/indices")

    def declare_whole(self, name: str, *, is_index: bool) -> None:
        """Say that a tensor holds booleans, or (`is_index`) integers, in the file: readers take it cast to float32."""
        self._whole[name] = ""
        if is_index:
            self._indices.add(name)

    def cast_whole(self, tensor: str, dtype: Any, *, name: str) -> str:
        """Cast whole numbers, or 0 and 1, to integers or booleans; returns the name of the result."""
        return self.cast(tensor, dtype, name=name, metadata={WHOLE_KEY: "1"})

    def cast(self, tensor: str, dtype: Any, *, name: str, metadata: dict[str, str] | None = None) -> str:
        """Cast a tensor to a type of NumPy; returns the name of the result."""
        from onnx import helper

        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.emit("Cast", [tensor], f"{name}/cast", name=name, metadata=metadata, to=to)

    def constant(self, name: str, value: Any, dtype: Any) -> str:
        """Write a constant that the network does not have; returns its name, made unique."""
        unique, number = name, 1
        while unique in self._reserved:
            number += 1
            unique = f"{name}_{number}"
        self._reserved.add(unique)
        self._store(unique, np.asarray(value, dtype=dtype))
        return unique

    def emit(
        self,
        op_type: str,
        inputs: Sequence[str],
        *outputs: str,
        name: str,
        metadata: dict[str, str] | None = None,
        **attributes: Any,
    ) -> str:
        """Append an ONNX node; returns its first output."""
        from onnx import helper

        node = helper.make_node(op_type, list(inputs), list(outputs), name=name, **attributes)
        if metadata:
            helper.set_model_props(node, metadata)
        self.nodes.append(node)
        return outputs[0]

    def _store(self, name: str, value: NDArray[Any]) -> None:
        from onnx import numpy_helper

        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)


def type_of_grid(grid: Grid) -> Any:
    """Return the narrowest of uint8, int8, uint16, int16 that holds the grid and its zero points.

    Raises:
        MhoError: none does.
    """
    zeros = np.atleast_1d(grid.zero_points)
    low, high = min(grid.qmin, int(zeros.min())), max(grid.qmax, int(zeros.max()))
    for dtype in _TYPES:
        limits = np.iinfo(dtype)
        if limits.min <= low and high <= limits.max:
            return dtype
    raise MhoError(f"integers {low}..{high} fit no type of QuantizeLinear", expected="at most 16 bits")


def write_quantizer(writer: ModelWriter, tensor: str, grid: Grid, output: str, *, name: str) -> None:
    """Write QuantizeLinear, Clip where needed and DequantizeLinear; the latter is called `name` and makes `output`."""
    if grid.is_binary:
        _write_sign(writer, tensor, grid, output, name=name)
        return
    dtype = type_of_grid(grid)
    scale = writer.constant(f"{name}/scale", grid.scales, np.float32)
    zero_point = writer.constant(f"{name}/zero_point", grid.zero_points, dtype)
    integers = writer.emit(
        "QuantizeLinear", [tensor, scale, zero_point], f"{output}/quantized", name=f"{name}/quantize"
    )
    integers = _write_clip(writer, integers, grid, dtype, name=name)
    writer.emit("DequantizeLinear", [integers, scale, zero_point], output, name=name)


def write_weights(
    writer: ModelWriter, name: str, integers: NDArray[Any], grid: Grid, output: str, *, axis: int, layer: str
) -> None:
    """Write integer weights, Clip where needed and DequantizeLinear with scales along `axis`, which makes `output`."""
    dtype = type_of_grid(grid)
    held = writer.constant(name, integers, dtype)
    held = _write_clip(writer, held, grid, dtype, name=f"{layer}/weight")
    scale = writer.constant(f"{layer}/weight/scale", grid.scales, np.float32)
    zero_point = writer.constant(f"{layer}/weight/zero_point", grid.zero_points, dtype)
    attributes: dict[str, Any] = {"axis": axis} if grid.scales.ndim else {}
    writer.emit("DequantizeLinear", [held, scale, zero_point], output, name=f"{layer}/weight", **attributes)


def _write_clip(writer: ModelWriter, tensor: str, grid: Grid, dtype: Any, *, name: str) -> str:
    limits = np.iinfo(dtype)
    if (grid.qmin, grid.qmax) == (limits.min, limits.max):
        return tensor
    wide = limits.bits > 8  # ONNX Runtime clips 8 and 32 bits, not 16
    if wide:
        tensor = writer.cast(tensor, np.int32, name=f"{name}/widen")
    bounds = [
        writer.constant(f"{name}/{key}", value, np.int32 if wide else dtype)
        for key, value in (("qmin", grid.qmin), ("qmax", grid.qmax))
    ]
    tensor = writer.emit("Clip", [tensor, *bounds], f"{name}/clipped", name=f"{name}/clip")
    return writer.cast(tensor, dtype, name=f"{name}/narrow") if wide else tensor


def _write_sign(writer: ModelWriter, tensor: str, grid: Grid, output: str, *, name: str) -> None:
    zero = writer.constant(f"{name}/threshold", 0.0, np.float32)
    plus, minus = (writer.constant(f"{name}/{key}", value, np.int32) for key, value in (("plus", 1), ("minus", -1)))
    scale = writer.constant(f"{name}/scale", grid.scales, np.float32)
    test = writer.emit("GreaterOrEqual", [tensor, zero], f"{name}/test", name=f"{name}/compare")
    sign = writer.emit("Where", [test, plus, minus], f"{name}/sign", name=f"{name}/choose")
    writer.emit("DequantizeLinear", [sign, scale], output, name=name)
