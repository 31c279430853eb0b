"""An ONNX graph under construction: nodes are added one by one; what ONNX's shape inference refuses is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from random_networks import Chooser

OPSETS = (11, 13, 17, 20, 21)
SHAPES = ((1, 2, 5, 4), (1, 3, 6, 6), (1, 4, 4, 4), (1, 3, 7), (1, 5, 4), (1, 6), (2, 3), (1, 2, 3, 4))
_MOST_ELEMENTS = 2000


@dataclass(frozen=True)
class Tensor:
    """A tensor that a graph holds or makes."""

    name: str
    type: int
    shape: tuple[int, ...]


class Drawer:
    """Adds nodes one by one.

    Args:
        chooser: makes all decisions.
        is_quantized: whether layers get quantizers.
    """

    def __init__(self, chooser: Chooser, *, is_quantized: bool) -> None:
        self.chooser, self.is_quantized = chooser, is_quantized
        self.generator = np.random.default_rng(chooser.integer(0, 1 << 16))
        self.opset = chooser.choice((13, 21) if is_quantized else OPSETS)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.input = Tensor("x", TensorProto.FLOAT, chooser.choice(SHAPES))
        self.maps = [self.input]
        """Float tensors that nodes may read, the last one first of all."""

    @property
    def last(self) -> Tensor:
        """The tensor that was made last."""
        return self.maps[-1]

    def array(self, *shape: int, low: float | None = None) -> np.ndarray:
        """Return random float32 numbers: normally distributed, or at least `low`."""
        numbers = np.asarray(self.generator.standard_normal(shape))
        return (numbers if low is None else np.abs(numbers) + low).astype(np.float32)

    def hold(self, values: Any, dtype: Any = None) -> Tensor:
        """Return a constant: an initializer, or what a Constant node makes."""
        array = np.asarray(values, dtype)
        name = f"c{len(self.initializers) + len(self.nodes)}"
        tensor = numpy_helper.from_array(array, name)
        if self.chooser.integer(0, 4) == 0:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.initializers.append(tensor)
        return Tensor(name, tensor.data_type, array.shape)

    def axis(self, x: Tensor) -> int:
        """Return an axis of a tensor, not the first of several."""
        return self.chooser.integer(min(1, len(x.shape) - 1), len(x.shape) - 1)

    def integers(self, *values: int) -> Tensor:
        """Return a constant of whole numbers."""
        return self.hold(values, np.int64)

    def emit(self, op: str, inputs: Sequence[Tensor | None], outputs: int = 1, **attributes: Any) -> list[Tensor]:
        """Add a node; return what it makes, or nothing where it cannot be."""
        names = [f"t{len(self.nodes)}_{number}" for number in range(outputs)]
        called = f"{op}.{len(self.nodes)}" if self.chooser.integer(0, 3) else ""
        node = helper.make_node(op, [one.name if one else "" for one in inputs], names, called, **attributes)
        made = self._infer(node, [one for one in inputs if one])
        if any(min(one.shape, default=1) < 1 or np.prod(one.shape) > _MOST_ELEMENTS for one in made):
            return []
        self.nodes += [node] if made else []
        return made

    def one(self, op: str, *inputs: Tensor | None, **attributes: Any) -> Tensor | None:
        """Add a node with one output."""
        return next(iter(self.emit(op, inputs, **attributes)), None)

    def quantize(self, source: Tensor, *, is_weight: bool = False) -> Tensor:
        """Return a float tensor behind quantizers, perhaps with a clip between them."""
        kinds = (np.int8,) if is_weight else (np.int8, np.uint8, np.int16) if self.opset >= 21 else (np.int8, np.uint8)
        kind = self.chooser.choice(kinds)
        zero = self.chooser.choice((0, 0, 3, 128)) if kind is np.uint8 else 0
        scale = self.hold(np.float32(self.chooser.choice((0.5, 0.03, 1.7e-2))))
        point = self.hold(zero, kind)
        codes = self._certain("QuantizeLinear", source, scale, point)
        if kind is np.int8 and self.chooser.integer(0, 2) == 0:
            low, high = self.chooser.choice(((-7, 7), (-8, 7), (-1, 1), (-3, 3)))
            codes = self._certain("Clip", codes, self.hold(low, kind), self.hold(high, kind))
        return self._certain("DequantizeLinear", codes, scale, point)

    def weights(self, *shape: int, axis: int = 0) -> Tensor:
        """Return weights; in a quantized graph behind a dequantizer, with a scale for each index of an axis or one."""
        if not self.is_quantized:
            return self.hold(self.array(*shape))
        if self.chooser.integer(0, 3) == 0:
            return self.quantize(self.hold(self.array(*shape)), is_weight=True)
        values = self.hold(self.generator.integers(-127, 128, shape), np.int8)
        if self.chooser.integer(0, 1):
            return self._certain("DequantizeLinear", values, self.hold(np.float32(0.02)), self.hold(0, np.int8))
        scales, points = self.hold(self.array(shape[axis], low=0.1) / 50), self.hold(np.zeros(shape[axis]), np.int8)
        return self._certain("DequantizeLinear", values, scales, points, axis=axis)

    def layer_input(self, source: Tensor) -> Tensor:
        """Return what a layer reads."""
        return self.quantize(source) if self.is_quantized else source

    def finish(self) -> onnx.ModelProto:
        """Return the model; another tensor than the last one may be an output too."""
        read = {name for node in self.nodes for name in node.input}
        others = [one for one in self.maps[1:-1] if one.name not in read]
        outputs = [self.last, *(others[:1] if self.chooser.integer(0, 1) else [])]
        shape: list[int | str] = list(self.input.shape)
        if shape[0] == 1 and self.chooser.integer(0, 1):
            shape[0] = "N"
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(one.name, TensorProto.FLOAT, None) for one in outputs],
            self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)

    def _certain(self, op: str, *inputs: Tensor, **attributes: Any) -> Tensor:
        made = self.one(op, *inputs, **attributes)
        assert made is not None, f"no {op} of {inputs}"
        return made

    def _infer(self, node: onnx.NodeProto, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return what a node makes, by ONNX's own inference; nothing where it cannot tell."""
        names = {one.name for one in inputs}
        constants = [one for one in self.initializers if one.name in names]
        makers = [one for one in self.nodes if one.op_type == "Constant" and one.output[0] in names]
        fixed = {*(one.name for one in constants), *(one.output[0] for one in makers)}
        given = {one.name: one for one in inputs if one.name not in fixed}
        infos = [helper.make_tensor_value_info(one.name, one.type, one.shape) for one in given.values()]
        results = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([*makers, node], "one", infos, results, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        try:
            inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.output
        except (onnx.shape_inference.InferenceError, RuntimeError):
            return []
        made = []
        for value in inferred:
            kind = value.type.tensor_type
            if not kind.HasField("shape") or not all(dim.HasField("dim_value") for dim in kind.shape.dim):
                return []
            made.append(Tensor(value.name, kind.elem_type, tuple(dim.dim_value for dim in kind.shape.dim)))
        return made
