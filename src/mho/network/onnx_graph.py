"""The walk over an ONNX graph: folds what is constant, lets converters emit the rest, gathers all problems.

Converters (onnx_mvm.py, onnx_digital.py, ...) look operands up in a `GraphReader` and emit operations into its draft.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.shapes import ShapeError
from mho.errors import InputFileError, UnsupportedOperationError
from mho.network.draft import Draft, DraftNode, Unsupported
from mho.network.graph import Attribute
from mho.network.onnx_file import integer_bounds, tensor_to_array
from mho.network.onnx_folding import SIZED, clip_integers, fold, is_foldable
from mho.network.onnx_inputs import InputShapes, input_shape, shapes_by_name
from mho.network.onnx_nodes import is_known_domain, read_node, read_text
from mho.network.onnx_values import (
    FLOAT_TYPES,
    LARGEST_WHOLE,
    WHOLE_TYPES,
    Activation,
    Constant,
    OnnxNode,
    QuantizedActivation,
    QuantizedConstant,
    SignTest,
    Unknown,
    Value,
)
from mho.network.tensor_budget import float_bytes

if TYPE_CHECKING:
    import onnx_ir

_RESHAPING = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")
_MOVING = (*_RESHAPING, "Transpose", "Identity", "Cast")
"""What moves integers without changing them."""
_KEEPS_BOUNDS = (*_MOVING, "Slice", "Gather", "Expand")
_NAME_KEEPING = (*_MOVING, "CastLike", "Mul", "Div")
"""What leaves a weight the weight that it was, for its name."""

Converter = Callable[["GraphReader", OnnxNode], None]

REAL, NUMBERS, ANY = "real", "numbers", "any"
"""What a converter takes: real numbers in float32; these and whole ones; float64 too, where nothing is computed."""

_MAX_NUMBERS = 1 << 12
"""Of a list of axes, sizes or positions that a node is given as an operand."""

_MAX_PROBLEMS = 100
"""A file with more is none for mho; listing them takes time."""

_NO_OPERATION = "no such operation here"
_PAGE = "docs/networks.md lists the operations that there are"


class GraphReader:
    """Walks one graph. Converters look operands up in it and emit into its draft."""

    def __init__(self, model: onnx_ir.Model, where: str, input_shapes: InputShapes | None) -> None:
        self.model, self.where = model, where
        self.opset = int(model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0)))
        self.draft = Draft(model.graph.name or "network", where)
        self._values: dict[str, Value] = {"": Unknown()}
        self._initializers = model.graph.initializers
        self._problems: list[str] = []
        self._converters: Mapping[str, Converter] = {}
        self._whole: dict[int, str] = {}
        self.whole_tensors: dict[str, str] = {}
        """Tensors of the draft that hold whole numbers: "bool" where these are 0 and 1."""
        self._read_inputs(input_shapes)

    def read(self, converters: Mapping[str, Converter]) -> Draft:
        """Walk the graph and return the draft. Raises `UnsupportedOperationError`."""
        self._converters = converters
        used = {value.name for node in self.model.graph for value in node.inputs if value is not None}
        used |= {value.name for value in self.model.graph.outputs}
        for ir_node in self.model.graph:
            node = read_node(ir_node, self.opset, self.where, self._constant)
            try:
                if not is_known_domain(node):
                    raise Unsupported("not an operation of ONNX itself")
                node.check_form()
                self.convert(node)
                if any(output in used and output not in self._values for output in node.outputs[1:]):
                    raise Unsupported("its second output is used")
            except (Unsupported, ShapeError) as reason:
                self._problems.append(f"{node.label}: {reason}")
                self._forget(node)
                if len(self._problems) == _MAX_PROBLEMS:
                    break
        if self._problems:
            is_missing = any(problem.endswith(_NO_OPERATION) for problem in self._problems)
            more = ", and perhaps more" if len(self._problems) == _MAX_PROBLEMS else ""
            raise UnsupportedOperationError(
                "mho cannot run: " + "; ".join(self._problems) + more,
                where=self.where,
                hint="simplify or re-export the model without them" + (f"; {_PAGE}" if is_missing else ""),
            )
        self._finish_outputs()
        return self.draft

    def read_branch(self, graph: Any) -> None:
        """Convert the nodes of a graph within this one. Raises `Unsupported` at the first that cannot be."""
        for name, value in graph.initializers.items():
            self.bind(name, self._constant(value.const_value, name))
        for ir_node in graph:
            node = read_node(ir_node, self.opset, self.where, self._constant)
            node.check_form()
            try:
                self.convert(node)
            except Unsupported as reason:
                raise Unsupported(f"in its branch {node.label}: {reason}") from reason

    # -- operands -----------------------------------------------------------------------------------------------------

    def value(self, name: str) -> Value:
        """Return what `name` stands for; initializers are read when first used."""
        if name not in self._values:
            if name not in self._initializers:
                raise InputFileError(f"nothing makes tensor {name!r}, which is read", where=self.where)
            self.bind(name, self._constant(self._initializers[name].const_value, name))
        return self._values[name]

    def is_initializer(self, name: str) -> bool:
        """True where the file itself holds the constant `name`: a parameter, not something computed."""
        return name in self._initializers

    def type_of(self, name: str) -> str:
        """Return NumPy's name of the type that the file gives `name`, "" where it is left out or on a grid."""
        value = self.value(name)
        if isinstance(value, Constant):
            return value.array.dtype.name
        if isinstance(value, Activation):
            return value.dtype
        return {SignTest: "bool", QuantizedConstant: "float32"}.get(type(value), "")

    def is_fixed(self, name: str) -> bool:
        """True for constants."""
        return isinstance(self.value(name), Constant | QuantizedConstant)

    def constant(self, node: OnnxNode, index: int, what: str) -> NDArray[Any]:
        """Return operand `index`, which must be fixed. Raises `Unsupported` naming `what` it is."""
        value = self.value(node.inputs[index])
        if isinstance(value, Constant):
            return value.array
        if isinstance(value, QuantizedConstant):
            return self.dequantized(value)
        raise Unsupported(f"its {what} are computed, not constant")

    def whole_numbers(self, node: OnnxNode, index: int, what: str) -> tuple[int, ...] | None:
        """Return operand `index` as whole numbers, None where left out. Raises `Unsupported` for others."""
        if not node.has_input(index):
            return None
        array = self.constant(node, index, what)
        if array.dtype.kind not in "iu" or array.size > _MAX_NUMBERS:
            raise Unsupported(f"its {what} are {array.size} numbers of {array.dtype}")
        return tuple(int(item) for item in array.reshape(-1))

    def number(self, node: OnnxNode, index: int, what: str) -> float:
        """Return operand `index`, which must be one fixed number, not NaN. Raises `Unsupported`."""
        array = self.constant(node, index, what)
        if array.size != 1 or np.isnan(value := float(array.reshape(()))):
            raise Unsupported(f"its {what} are no single number")
        return value

    def dequantized(self, value: QuantizedConstant) -> NDArray[np.float32]:
        """Return the float32 values of a quantized constant. Raises `MemoryBudgetError`."""
        self.draft.budget.check(float_bytes(value.integers.shape), f"constant {value.origin!r}")
        values = value.dequantized()
        self.draft.budget.hold(values, f"constant {value.origin!r}")
        return values

    def tensor(self, node: OnnxNode, index: int, kinds: str = REAL) -> str:
        """Return the tensor or constant of operand `index` as a name in the draft: see `tensor_of`."""
        return self.tensor_of(self.value(node.inputs[index]), kinds)

    def tensor_of(self, value: Value, kinds: str = REAL) -> str:
        """Return the name in the draft of a value, constants held as float32.

        Args:
            value: what is wanted.
            kinds: which numbers may be there: `REAL`, `NUMBERS` or `ANY`.

        Raises:
            Unsupported: for others.
        """
        if isinstance(value, SignTest):
            value = self._compare(value)
        if isinstance(value, Activation):
            return _computable(value, kinds)
        if isinstance(value, Constant):
            if value.array.dtype.kind in "iub":
                return self._whole_constant(value, kinds)
            return self.draft.add_constant(value.origin, value.array)
        if isinstance(value, QuantizedConstant):
            return self.draft.add_constant(value.origin, self.dequantized(value))
        raise Unsupported("computes with integers")

    def activation(self, node: OnnxNode, index: int = 0, kinds: str = REAL) -> str:
        """Return the tensor of operand `index`, which must be an activation, of numbers as for `tensor_of`."""
        value = self.value(node.inputs[index])
        if isinstance(value, Activation | SignTest):
            return self.tensor_of(value, kinds)
        if isinstance(value, QuantizedActivation):
            raise Unsupported("computes with integers; mho reads QuantizeLinear and DequantizeLinear pairs")
        raise Unsupported(f"operand {node.inputs[index]!r} is constant")

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the per-sample shape of a tensor or constant of the draft."""
        return self.draft.shape_of(tensor)

    # -- results ------------------------------------------------------------------------------------------------------

    def emit(
        self,
        node: OnnxNode,
        op: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Attribute] | None = None,
        *,
        step: str = "",
    ) -> DraftNode:
        """Append an operation that `node` stands for.

        Args:
            node: where it comes from: gives its name and the name of its output.
            op: operation.
            inputs: tensors and constants of the draft.
            attributes: of the operation.
            step: what this operation does on the way to the node's result, "" where it makes the result.
        """
        name = (node.name or f"{node.op_type.lower()}_{len(self.draft.nodes)}") + (f".{step}" if step else "")
        output = node.outputs[0] + (f".{step}" if step else "")
        return self.draft.emit(op, inputs, output, attributes, name=name, hints=node.hints)

    def _whole_constant(self, value: Constant, kinds: str) -> str:
        """Hold integers or booleans as float32."""
        if kinds == REAL:
            raise Unsupported(f"integer operand {value.origin!r}")
        if id(value.array) not in self._whole:
            if value.array.size and max(-int(value.array.min()), int(value.array.max())) > LARGEST_WHOLE:
                raise Unsupported(f"has integers beyond 2^24 in {value.origin!r}, which float32 does not hold")
            real = value.array.astype(np.float32)
            self._whole[id(value.array)] = self.draft.add_constant(f"{value.origin}.real", real)
        return self._whole[id(value.array)]

    def _compare(self, test: SignTest) -> Activation:
        """Emit what a sign test stands for: 0 or 1."""
        zero = self.draft.add_constant(f"{test.tensor}.zero", np.zeros((), np.float32))
        made = self.draft.emit(
            "less_or_equal", [zero, test.tensor], f"{test.tensor}.is_positive", name=f"{test.tensor}.is_positive"
        )
        return Activation(made.output, "bool")

    def bind(self, name: str, value: Value) -> None:
        """Say what the output `name` of a node stands for. Raises `MemoryBudgetError` for constants."""
        if isinstance(value, Constant):
            self.draft.budget.hold(value.array, f"constant {name!r}")
        elif isinstance(value, QuantizedConstant):
            self.draft.budget.hold(value.integers, f"constant {name!r}")
        elif isinstance(value, Activation) and value.is_whole:
            self.whole_tensors.setdefault(value.tensor, value.dtype)
        self._values[name] = value

    def bind_result(self, node: OnnxNode, made: DraftNode | str) -> None:
        """Say that the node's output is what `made` makes, or is that tensor."""
        dtype = node.result_type([self.type_of(name) for name in node.inputs])
        self.bind(node.outputs[0], Activation(made if isinstance(made, str) else made.output, dtype))

    # -- walking ------------------------------------------------------------------------------------------------------

    def convert(self, node: OnnxNode) -> None:
        """Bind the outputs of a node whose form was checked. Raises `Unsupported`, `ShapeError`."""
        operands = [self.value(name) for name in node.inputs if name]
        converter = self._converters.get(node.op_type)
        fixed = all(isinstance(operand, Constant | QuantizedConstant) for operand in operands)
        if node.op_type in ("Shape", "Size") and isinstance(operands[0], Activation | QuantizedActivation):
            self._bind_shape(node, self.shape(operands[0].tensor))
        elif fixed and is_foldable(node):
            self._bind_folded(node, operands)
        elif any(isinstance(operand, Unknown) for operand in operands) and (converter or node.op_type in SIZED):
            self._forget(node)
        elif converter is None:
            raise Unsupported(_NO_OPERATION)
        else:
            node.check_types([self.type_of(name) for name in node.inputs])
            converter(self, node)

    def _bind_folded(self, node: OnnxNode, operands: Sequence[Value]) -> None:
        first = operands[0] if operands else None
        if isinstance(held := node.attributes.get("value"), Constant) and node.op_type == "Constant":
            self.bind(node.outputs[0], held)
            return
        if isinstance(first, QuantizedConstant) and node.op_type == "Transpose":
            perm = node.integers("perm") or tuple(reversed(range(first.integers.ndim)))
            self.bind(node.outputs[0], first.transposed(perm))
            return
        if isinstance(first, QuantizedConstant) and node.op_type == "Identity":
            self.bind(node.outputs[0], first)
            return
        if isinstance(first, QuantizedConstant) and first.axis is None and node.op_type in _RESHAPING:
            shape = [self.constant(node, i, "operands") for i in range(1, len(node.inputs))]
            (reshaped,) = fold(node, [first.integers, *shape], self.where, self.draft.budget)
            self.bind(node.outputs[0], replace(first, integers=reshaped))
            return
        arrays = [self.constant(node, i, "operands") if name else None for i, name in enumerate(node.inputs)]
        if node.op_type == "Clip" and isinstance(first, Constant) and first.bounds is not None:
            low, high, *_ = [*arrays[1:], None, None]
            self.bind(node.outputs[0], clip_integers(first, low, high))
            return
        keeps_name = isinstance(first, Constant) and node.op_type in _NAME_KEEPING
        origin = first.origin if isinstance(first, Constant) and keeps_name else node.outputs[0]
        for name, array in zip(node.outputs, fold(node, arrays, self.where, self.draft.budget), strict=False):
            integers = isinstance(first, Constant) and array.dtype.kind in "iu"
            bounds = (
                first.bounds if isinstance(first, Constant) and integers and node.op_type in _KEEPS_BOUNDS else None
            )
            self.bind(name, Constant(array, origin if len(node.outputs) == 1 else name, bounds))

    def _bind_shape(self, node: OnnxNode, shape: tuple[int, ...]) -> None:
        if node.op_type == "Size":
            self.bind(node.outputs[0], Constant(np.array(math.prod(shape), np.int64), node.outputs[0]))
            return
        part = shape[node.integer("start", 0) : node.integer("end", len(shape))]
        self.bind(node.outputs[0], Constant(np.array(part, np.int64), node.outputs[0]))

    def _constant(self, tensor: Any, origin: str) -> Constant:
        """Return a tensor of the file as a constant."""
        array = tensor_to_array(tensor, self.where)
        self.draft.budget.hold(array, f"constant {origin!r}")
        return Constant(array, origin, integer_bounds(tensor))

    def _forget(self, node: OnnxNode) -> None:
        for output in node.outputs:
            if output:
                self.bind(output, Unknown())

    # -- inputs and outputs -------------------------------------------------------------------------------------------

    def _read_inputs(self, input_shapes: InputShapes | None) -> None:
        inputs = [value for value in self.model.graph.inputs if value.name not in self._initializers]
        if not inputs:
            raise InputFileError("the network has no input", where=self.where)
        names = [read_text(value.name, self.where) for value in inputs]
        if len(set(names)) < len(names):
            raise InputFileError("two inputs have one name", where=self.where)
        given = shapes_by_name(input_shapes, names, self.where)
        for name, value in zip(names, inputs, strict=True):
            dtype = "FLOAT" if value.dtype is None else value.dtype.name
            shape = input_shape(value, given.get(name), self.where)
            if dtype not in FLOAT_TYPES | WHOLE_TYPES:
                self._problems.append(f"input {name!r}: holds {dtype}")
                self._values[name] = Unknown()
                continue
            self.draft.add_input(name, shape, WHOLE_TYPES.get(dtype, "float32"))
            kind = "float64" if dtype == "DOUBLE" else WHOLE_TYPES.get(dtype, "float32")
            self.bind(name, Activation(name, kind))

    def _finish_outputs(self) -> None:
        """Let the outputs have the names that the file gives them, whatever was removed before them."""
        producers = self.draft.producers()
        renamed: dict[str, str] = {}
        for value in self.model.graph.outputs:
            name = read_text(value.name, self.where)
            result = self.value(name)
            if not isinstance(result, Activation):
                raise UnsupportedOperationError(
                    f"output {name!r} does not hold real numbers that depend on the input", where=self.where
                )
            tensor = result.tensor
            if tensor != name and (tensor not in producers or tensor in renamed or tensor in self.draft.outputs):
                # An input, or an output already.
                shape = {"shape": self.shape(tensor)}
                tensor = self.draft.emit("reshape", [tensor], name, shape, name=f"{name}.copy").output
            elif tensor != name:
                renamed[tensor] = self.draft.unique_tensor(name)
            self.draft.outputs.append(tensor)
        self.draft.rename_tensors(renamed)


def _computable(value: Activation, kinds: str) -> str:
    """Return the tensor of an activation. Raises `Unsupported` where float32 does not hold its numbers."""
    if value.dtype == "float64" and kinds != ANY:
        raise Unsupported("computes in float64; mho computes in float32")
    if value.is_whole and kinds == REAL:
        raise Unsupported(f"computes with {value.dtype} numbers; mho has real ones here")
    return value.tensor
