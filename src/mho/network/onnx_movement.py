"""Operations that move numbers, whether real ones or integers between QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mho.arithmetic.shapes import broadcast
from mho.network.draft import EmptyTensor, Unsupported
from mho.network.graph import Attribute
from mho.network.onnx_digital import align_ranks
from mho.network.onnx_file import integer_type_bounds
from mho.network.onnx_graph import ANY, NUMBERS, Converter, GraphReader
from mho.network.onnx_indexing import gather_computed, pad_by_mode
from mho.network.onnx_logic import cast_to_whole
from mho.network.onnx_steps import Steps
from mho.network.onnx_values import (
    FLOAT_TYPES,
    WHOLE_TYPES,
    Activation,
    Constant,
    OnnxNode,
    QuantizedActivation,
    QuantizedConstant,
    SignTest,
    normalize_axes,
    normalize_axis,
)

Move = Callable[[GraphReader, OnnxNode, str], str]


def _moving(move: Move) -> Converter:
    """Make a converter of `move`, which emits the movement of one tensor and returns the moved one."""

    def convert(reader: GraphReader, node: OnnxNode) -> None:
        value = reader.value(node.inputs[0])
        if isinstance(value, QuantizedActivation):
            reader.bind(node.outputs[0], replace(value, tensor=move(reader, node, value.tensor)))
        else:
            reader.bind_result(node, move(reader, node, reader.activation(node, kinds=ANY)))

    return convert


def _to_shape(reader: GraphReader, node: OnnxNode, tensor: str, shape: tuple[int, ...]) -> str:
    if shape == reader.shape(tensor):
        return tensor
    return reader.emit(node, "reshape", [tensor], {"shape": shape}).output


def _reshape(reader: GraphReader, node: OnnxNode, tensor: str) -> str:
    old = reader.shape(tensor)
    wanted = reader.whole_numbers(node, 1, "shape")
    assert wanted is not None, "the shape of Reshape is a required operand"
    if not node.flag("allowzero", 0):
        if any(size == 0 and axis >= len(old) for axis, size in enumerate(wanted)):
            raise Unsupported(f"reshapes {list(old)} to {list(wanted)}")
        wanted = tuple(old[axis] if size == 0 else size for axis, size in enumerate(wanted))
    if wanted.count(-1) == 1:
        known = -math.prod(wanted)
        if known <= 0 or math.prod(old) % known:
            raise Unsupported(f"reshapes {list(old)} to {list(wanted)}")
        wanted = tuple(math.prod(old) // known if size == -1 else size for size in wanted)
    return _to_shape(reader, node, tensor, wanted)


def _flatten(reader: GraphReader, node: OnnxNode, tensor: str) -> str:
    shape = reader.shape(tensor)
    axis = node.integer("axis", 1)
    if axis != len(shape):
        axis = normalize_axis(axis, len(shape))
    return _to_shape(reader, node, tensor, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _squeeze(reader: GraphReader, node: OnnxNode, tensor: str) -> str:
    shape = reader.shape(tensor)
    axes = node.integers("axes") or reader.whole_numbers(node, 1, "axes")
    dropped = normalize_axes(axes, len(shape)) if axes is not None else None
    if dropped is None:
        return _to_shape(reader, node, tensor, tuple(size for size in shape if size != 1))
    if any(shape[axis] != 1 for axis in dropped):
        raise Unsupported(f"squeezes axes {sorted(dropped)} of {list(shape)}")
    return _to_shape(reader, node, tensor, tuple(size for axis, size in enumerate(shape) if axis not in dropped))


def _unsqueeze(reader: GraphReader, node: OnnxNode, tensor: str) -> str:
    shape = list(reader.shape(tensor))
    axes = node.integers("axes") or reader.whole_numbers(node, 1, "axes") or ()
    rank = len(shape) + len(axes)
    for axis in sorted(normalize_axes(axes, rank)):
        shape.insert(axis, 1)
    return _to_shape(reader, node, tensor, tuple(shape))


def _transpose(reader: GraphReader, node: OnnxNode, tensor: str) -> str:
    rank = len(reader.shape(tensor))
    perm = node.integers("perm") or tuple(reversed(range(rank)))
    if perm == tuple(range(rank)):
        return tensor
    return reader.emit(node, "transpose", [tensor], {"perm": perm}).output


def _expand(reader: GraphReader, node: OnnxNode, tensor: str) -> str:
    wanted = reader.whole_numbers(node, 1, "shape") or ()
    shape = broadcast(reader.shape(tensor), wanted)
    if shape == reader.shape(tensor):
        return tensor
    return reader.emit(node, "expand", [tensor], {"shape": shape}).output


def _tile(reader: GraphReader, node: OnnxNode, tensor: str) -> str:
    shape = reader.shape(tensor)
    repeats = reader.whole_numbers(node, 1, "repeats") or ()
    if len(repeats) != len(shape):
        raise Unsupported(f"repeats {list(shape)} {list(repeats)} times")
    if set(repeats) <= {1}:
        return tensor
    apart = tuple(size for pair in zip((1,) * len(shape), shape, strict=True) for size in pair)
    full = tuple(size for pair in zip(repeats, shape, strict=True) for size in pair)
    split = reader.emit(node, "reshape", [tensor], {"shape": apart}, step="apart")
    grown = reader.emit(node, "expand", [split.output], {"shape": full}, step="repeated")
    tiled = tuple(size * repeat for size, repeat in zip(shape, repeats, strict=True))
    return reader.emit(node, "reshape", [grown.output], {"shape": tiled}).output


def _slice(reader: GraphReader, node: OnnxNode, tensor: str) -> str:
    shape = reader.shape(tensor)
    starts, ends = (reader.whole_numbers(node, index, what) or () for index, what in ((1, "starts"), (2, "ends")))
    axes = reader.whole_numbers(node, 3, "axes") or tuple(range(len(starts)))
    steps = reader.whole_numbers(node, 4, "steps") or (1,) * len(starts)
    axes = normalize_axes(axes, len(shape))
    if 0 in steps or not len(starts) == len(ends) == len(axes) == len(steps):
        raise Unsupported(f"slices from {list(starts)} to {list(ends)} by {list(steps)} along {list(axes)}")
    spans = [
        slice(start, end, step).indices(shape[axis])
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
    ]
    # slice.indices reads a negative end as counted from the back; ONNX clamps what lies before the front.
    spans = [
        (first, -1 if step < 0 and end <= -shape[axis] - 1 else last, step)
        for (first, last, step), end, axis in zip(spans, ends, axes, strict=True)
    ]
    return emit_slice(reader, node, tensor, axes, spans, "")


def _slice_or_nothing(reader: GraphReader, node: OnnxNode) -> None:
    """A slice; one without elements is a constant, which Concat leaves out."""
    try:
        _moving(_slice)(reader, node)
    except EmptyTensor as empty:
        dtype = np.dtype(reader.type_of(node.inputs[0]) or "float32")
        reader.bind(node.outputs[0], Constant(np.zeros(empty.shape, dtype), node.outputs[0]))


def emit_slice(
    reader: GraphReader,
    node: OnnxNode,
    tensor: str,
    axes: tuple[int, ...],
    spans: list[tuple[int, int, int]],
    step: str,
) -> str:
    """Emit a slice, (start, end, step) along each of `axes`; returns the tensor itself where all of it is kept."""
    shape = reader.shape(tensor)
    if all(span == (0, shape[axis], 1) for axis, span in zip(axes, spans, strict=True)):
        return tensor
    attributes: dict[str, Attribute] = {
        "axes": axes,
        "starts": tuple(span[0] for span in spans),
        "ends": tuple(span[1] for span in spans),
        "steps": tuple(span[2] for span in spans),
    }
    return reader.emit(node, "slice", [tensor], attributes, step=step).output


def _gather(reader: GraphReader, node: OnnxNode, tensor: str) -> str:
    shape = reader.shape(tensor)
    axis = normalize_axis(node.integer("axis", 0), len(shape))
    indices = reader.constant(node, 1, "indices")
    if indices.dtype.kind not in "iu":
        raise Unsupported(f"indices of {indices.dtype}")
    indices = indices.astype(np.int64)
    if indices.size == 0 or indices.min() < -shape[axis] or indices.max() >= shape[axis]:
        raise Unsupported(f"indices beyond {shape[axis]}")
    held = reader.draft.add_constant(f"{node.outputs[0]}.indices", indices % shape[axis])
    return reader.emit(node, "gather", [tensor, held], {"axis": axis}).output


def _gather_or_embed(reader: GraphReader, node: OnnxNode) -> None:
    """Constant indices pick from an activation; indices that are an activation look rows of a constant table up."""
    indices = reader.value(node.inputs[1])
    if not isinstance(indices, Activation):
        _moving(_gather)(reader, node)
        return
    if not reader.is_fixed(node.inputs[0]):
        steps = Steps(reader, node)
        steps.finish(gather_computed(steps))
        return
    table = np.asarray(reader.constant(node, 0, "tables (where indices depend on the input)"))
    axis = normalize_axis(node.integer("axis", 0), table.ndim)
    if axis or table.dtype.kind in "iub":
        table = np.ascontiguousarray(np.moveaxis(table, axis, 0)).astype(np.float32)
    value = reader.value(node.inputs[0])
    origin = value.origin if isinstance(value, Constant | QuantizedConstant) else node.inputs[0]
    rank = len(reader.shape(indices.tensor))
    held = reader.draft.add_constant(origin, table)
    found = reader.emit(node, "embed", [reader.activation(node, 1, NUMBERS), held], step="rows" if axis else "").output
    if axis:
        perm = (*range(rank, rank + axis), *range(rank), *range(rank + axis, rank + table.ndim - 1))
        found = reader.emit(node, "transpose", [found], {"perm": perm}).output
    reader.bind_result(node, found)


def _concat(reader: GraphReader, node: OnnxNode) -> None:
    values = [reader.value(name) for name in node.inputs]
    values = [value for value in values if not (isinstance(value, Constant) and not value.array.size)]
    grids = {(v.scale, v.zero_point, v.bounds) for v in values if isinstance(v, QuantizedActivation)}
    if grids and (len(grids) > 1 or not all(isinstance(v, QuantizedActivation) for v in values)):
        raise Unsupported("joins integers on different grids")
    tensors = [v.tensor if isinstance(v, QuantizedActivation) else reader.tensor_of(v, ANY) for v in values]
    axis = normalize_axis(node.integer("axis", 0), len(reader.shape(tensors[0])))
    joined = tensors[0]
    if len(tensors) > 1:
        joined = reader.emit(node, "concat", tensors, {"axis": axis}).output
    if grids:
        reader.bind(node.outputs[0], QuantizedActivation(joined, *grids.pop()))
    else:
        reader.bind_result(node, joined)


def _pad(reader: GraphReader, node: OnnxNode) -> None:
    mode, value = node.text("mode", "constant"), reader.value(node.inputs[0])
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Unsupported(f"pads by {mode}")
    on_grid = isinstance(value, QuantizedActivation) and mode != "constant"
    tensor = (
        value.tensor if isinstance(value, QuantizedActivation) and on_grid else reader.activation(node, kinds=NUMBERS)
    )
    rank = len(reader.shape(tensor))
    given = reader.whole_numbers(node, 1, "pads") or ()
    axes = reader.whole_numbers(node, 3, "axes")
    filled = reader.number(node, 2, "value") if node.has_input(2) else 0.0
    pads = [0] * (2 * rank)
    chosen = tuple(range(rank)) if axes is None else normalize_axes(axes, rank)
    if len(given) != 2 * len(chosen):
        raise Unsupported(f"pads {len(chosen)} axes by {list(given)}")
    for index, axis in enumerate(chosen):
        pads[axis], pads[axis + rank] = given[index], given[index + len(chosen)]
    if not math.isfinite(filled):
        raise Unsupported(f"pads with {filled}")
    if mode != "constant":
        steps = Steps(reader, node)
        steps.finish(pad_by_mode(steps, node.inputs[0], tuple(pads), mode))
        return
    if min(pads, default=0) < 0:
        ends = [size + min(0, after) for size, after in zip(reader.shape(tensor), pads[rank:], strict=True)]
        spans = [(max(0, -before), end, 1) for before, end in zip(pads[:rank], ends, strict=True)]
        tensor = emit_slice(reader, node, tensor, tuple(range(rank)), spans, "cut")
        pads = [max(0, pad) for pad in pads]
    if any(pads):
        tensor = reader.emit(node, "pad", [tensor], {"pads": tuple(pads), "value": filled}).output
    reader.bind_result(node, tensor)


def _identity(reader: GraphReader, node: OnnxNode) -> None:
    if len(node.inputs) > 2 and node.has_input(2) and reader.constant(node, 2, "training mode").any():
        raise Unsupported("is in training mode")
    reader.bind(node.outputs[0], reader.value(node.inputs[0]))


def _cast_target(reader: GraphReader, node: OnnxNode) -> str:
    """Return ONNX's name of the type that a node casts to."""
    import onnx_ir
    from onnx import TensorProto

    if node.op_type == "Cast":
        to = node.integer("to", TensorProto.FLOAT)
        return str(TensorProto.DataType.Name(to)) if to in TensorProto.DataType.values() else f"type {to}"
    like = reader.value(node.inputs[1])
    if isinstance(like, Activation):
        return {"float32": "FLOAT", "float64": "DOUBLE"}.get(like.dtype, like.dtype.upper())
    return onnx_ir.DataType.from_numpy(like.array.dtype).name if isinstance(like, Constant) else "FLOAT"


def _cast(reader: GraphReader, node: OnnxNode) -> None:
    value, target = reader.value(node.inputs[0]), _cast_target(reader, node)
    if isinstance(value, QuantizedActivation) and node.op_type == "Cast":
        bounds = integer_type_bounds(target)
        if bounds is None or bounds[0] > value.bounds[0] or bounds[1] < value.bounds[1]:
            raise Unsupported("casts integers to a type that does not hold them")
        reader.bind(node.outputs[0], value)
        return
    if isinstance(value, Constant) and node.op_type == "CastLike" and target in WHOLE_TYPES:
        array = value.array.astype(WHOLE_TYPES[target])
        reader.bind(node.outputs[0], Constant(array, value.origin))
        return
    if target in WHOLE_TYPES:
        tensor = cast_to_whole(reader, node, WHOLE_TYPES[target])
        reader.bind(node.outputs[0], Activation(tensor, WHOLE_TYPES[target]))
        return
    if target not in FLOAT_TYPES:
        raise Unsupported(f"casts activations to {target}")
    if isinstance(value, Constant | QuantizedConstant):  # CastLike an activation
        array = reader.constant(node, 0, "numbers").astype(np.float32)
        reader.bind(node.outputs[0], Constant(array, value.origin))
        return
    tensor = reader.activation(node, kinds=ANY)
    if target in ("FLOAT16", "BFLOAT16"):
        tensor = reader.emit(node, "cast", [tensor], {"to": FLOAT_TYPES[target]}).output
    reader.bind(node.outputs[0], Activation(tensor, "float64" if target == "DOUBLE" else "float32"))


def _where(reader: GraphReader, node: OnnxNode) -> None:
    """A choice by a constant mask, or by a sign test between +1 and -1, which is a binary grid."""
    condition = reader.value(node.inputs[0])
    if isinstance(condition, SignTest):
        high, low = (reader.constant(node, index, "branches") for index in (1, 2))
        if high.size != 1 or low.size != 1 or (int(high.reshape(())), int(low.reshape(()))) != (1, -1):
            raise Unsupported("chooses by sign between other numbers than +1 and -1")
        reader.bind(node.outputs[0], QuantizedActivation(condition.tensor, None, 0, (-1, 1)))
        return
    if isinstance(condition, Activation):
        mask = reader.activation(node, 0, ANY)
    else:
        held = reader.constant(node, 0, "conditions").astype(np.bool_)
        mask = reader.draft.add_constant(f"{node.outputs[0]}.mask", held)
    operands = align_ranks(reader, node, [reader.tensor(node, 1, ANY), reader.tensor(node, 2, ANY), mask])
    reader.bind_result(node, reader.emit(node, "where", operands))


CONVERTERS: dict[str, Converter] = {
    "Reshape": _moving(_reshape),
    "Flatten": _moving(_flatten),
    "Squeeze": _moving(_squeeze),
    "Unsqueeze": _moving(_unsqueeze),
    "Transpose": _moving(_transpose),
    "Expand": _moving(_expand),
    "Tile": _moving(_tile),
    "Slice": _slice_or_nothing,
    "Gather": _gather_or_embed,
    "Concat": _concat,
    "Pad": _pad,
    "Identity": _identity,
    "Dropout": _identity,
    "Cast": _cast,
    "CastLike": _cast,
    "Where": _where,
}
