"""Split, and sequences of a fixed number of tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mho.network.draft import Unsupported
from mho.network.onnx_graph import ANY, Converter, GraphReader
from mho.network.onnx_movement import emit_slice
from mho.network.onnx_steps import Steps
from mho.network.onnx_values import Activation, Constant, OnnxNode, Parts, QuantizedActivation, normalize_axis

_MAX_PARTS = 1 << 12


def _split(reader: GraphReader, node: OnnxNode) -> None:
    value = reader.value(node.inputs[0])
    tensor = value.tensor if isinstance(value, QuantizedActivation) else reader.activation(node, kinds=ANY)
    shape = reader.shape(tensor)
    axis = normalize_axis(node.integer("axis", 0), len(shape))
    sizes = node.integers("split") or reader.whole_numbers(node, 1, "sizes")
    if sizes is None:
        count = len(node.outputs)
        each = -(-shape[axis] // count)
        sizes = tuple(min(each, shape[axis] - each * index) for index in range(count))
    if sum(sizes) != shape[axis] or min(sizes) < 1 or len(sizes) != len(node.outputs):
        raise Unsupported(f"splits {shape[axis]} into {list(sizes)}, {len(node.outputs)} outputs")
    for name, part in zip(node.outputs, _emit_parts(reader, node, tensor, axis, sizes), strict=True):
        if name:
            held = replace(value, tensor=part) if isinstance(value, QuantizedActivation | Activation) else None
            reader.bind(name, held or Activation(part))


def _emit_parts(reader: GraphReader, node: OnnxNode, tensor: str, axis: int, sizes: tuple[int, ...]) -> list[str]:
    parts, start = [], 0
    for index, size in enumerate(sizes):
        parts.append(emit_slice(reader, node, tensor, (axis,), [(start, start + size, 1)], f"part_{index}"))
        start += size
    return parts


def _split_to_sequence(reader: GraphReader, node: OnnxNode) -> None:
    value = reader.value(node.inputs[0])
    is_fixed = isinstance(value, Constant)
    tensor = "" if is_fixed else reader.activation(node, kinds=ANY)
    shape = value.array.shape if isinstance(value, Constant) else reader.shape(tensor)
    axis = normalize_axis(node.integer("axis", 0), len(shape))
    sizes = reader.whole_numbers(node, 1, "sizes") if node.has_input(1) else (1,)
    if not node.has_input(1) and not node.flag("keepdims", 1):
        raise Unsupported("splits into single indices without their axis")
    sizes = sizes or ()
    if not node.has_input(1) or reader.constant(node, 1, "sizes").ndim == 0:
        parts = -(-shape[axis] // max(1, sizes[0]))
        if parts > _MAX_PARTS:
            raise Unsupported(f"splits into {parts} parts")
        sizes = tuple(min(sizes[0], shape[axis] - start) for start in range(0, shape[axis], max(1, sizes[0])))
    if sum(sizes) != shape[axis] or min(sizes) < 1:
        raise Unsupported(f"splits {shape[axis]} into {list(sizes)}")
    if isinstance(value, Constant):
        arrays = np.split(value.array, np.cumsum(sizes)[:-1], axis)
        held = (Constant(array, f"{value.origin}.{index}", value.bounds) for index, array in enumerate(arrays))
        reader.bind(node.outputs[0], Parts(tuple(held)))
        return
    dtype = reader.type_of(node.inputs[0]) or "float32"
    tensors = _emit_parts(reader, node, tensor, axis, sizes)
    reader.bind(node.outputs[0], Parts(tuple(Activation(part, dtype) for part in tensors)))


def _sequence_at(reader: GraphReader, node: OnnxNode) -> None:
    value = reader.value(node.inputs[0])
    if not isinstance(value, Parts):
        raise Unsupported("picks from something that SplitToSequence did not make")
    index = int(reader.number(node, 1, "positions"))
    reader.bind(node.outputs[0], value.values[normalize_axis(index, len(value.values))])


def _construct(reader: GraphReader, node: OnnxNode) -> None:
    values = [reader.value(name) for name in node.inputs]
    parts = tuple(value for value in values if isinstance(value, Activation | Constant))
    if len(parts) < len(values):
        raise Unsupported("gathers something else than tensors")
    reader.bind(node.outputs[0], Parts(parts))


def _join(reader: GraphReader, node: OnnxNode) -> None:
    """Concatenate a sequence, or stack it along a new axis."""
    value, steps = reader.value(node.inputs[0]), Steps(reader, node)
    if not isinstance(value, Parts):
        raise Unsupported("joins something that is no sequence")
    names = [steps.number(0.0) for _ in value.values]
    for name, part in zip(names, value.values, strict=True):
        reader.bind(name, part)
    is_new = node.flag("new_axis", 0)
    axis = normalize_axis(node.integer("axis", 0), len(steps.shape(names[0])) + is_new)
    if is_new:
        names = [steps("Unsqueeze", name, steps.whole(axis)) for name in names]
    steps.finish(steps("Concat", *names, axis=axis))


CONVERTERS: dict[str, Converter] = {
    "Split": _split,
    "SplitToSequence": _split_to_sequence,
    "SequenceAt": _sequence_at,
    "SequenceConstruct": _construct,
    "ConcatFromSequence": _join,
}
