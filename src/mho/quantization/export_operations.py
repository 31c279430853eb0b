"""ONNX nodes of every operation: most by their records, the others by functions here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import get_floats, get_int, get_ints, get_text
from mho.arithmetic.operations import OPERATIONS
from mho.errors import MhoError
from mho.network.graph import Node, quantizer_grid
from mho.network.naming import LAYER_KEY
from mho.network.onnx_nodes import WEIGHT_BITS_KEY
from mho.quantization.model_writer import ModelWriter, write_quantizer, write_weights


def write_node(writer: ModelWriter, node: Node) -> None:
    """Write one node of the network. Raises `MhoError` for an operation without ONNX form."""
    if node.op in WRITERS:
        WRITERS[node.op](writer, node)
    elif node.op in OPERATIONS and OPERATIONS[node.op].onnx:
        _write_by_record(writer, node, [writer.hold(name) for name in node.inputs])
    else:
        raise MhoError(f"operation {node.op!r} has no ONNX form", where=f"{writer.network.name}: {node.name}")


def _write_by_record(
    writer: ModelWriter,
    node: Node,
    operands: Sequence[str],
    metadata: dict[str, str] | None = None,
    outputs: Sequence[str] = (),
) -> None:
    """Write one ONNX node: the operands, then attributes that ONNX has as operands; the other attributes by name."""
    record, inputs, attributes = OPERATIONS[node.op], list(operands), {}
    for name, attribute in record.attributes.items():
        value = attribute.get(node.attributes, name)
        if attribute.onnx is None:
            assert value == attribute.default, f"ONNX has no {name} of {record.onnx}, nor has what is read from it"
        elif attribute.is_operand:
            dtype = np.int64 if attribute.kind in ("int", "ints") else np.float32
            value = [value] if attribute.kind == "int" else value  # TopK's k is a list of one
            inputs.append(writer.constant(f"{node.name}/{name}", value, dtype))
        else:
            attributes[attribute.onnx or name] = value
    writer.emit(record.onnx, inputs, *(outputs or (node.output,)), name=node.name, metadata=metadata, **attributes)


def _metadata(node: Node) -> dict[str, str]:
    metadata = {LAYER_KEY: node.name}
    if node.quantization is not None and node.op != "matmul":
        metadata[WEIGHT_BITS_KEY] = str(node.quantization.weight.bits)
    return metadata


def _input(writer: ModelWriter, node: Node) -> str:
    """Return what the layer multiplies: its first input, through its grid where it has one."""
    source = writer.hold(node.inputs[0])
    if node.quantization is None:
        return source
    output = f"{node.name}/input"
    write_quantizer(writer, source, node.quantization.input, output, name=f"{node.name}/input")
    return output


def _weight(writer: ModelWriter, node: Node, *, transposed: bool) -> str:
    """Return the weight [outputs, ...], or [inputs, outputs] where `transposed`, dequantized where it is integers."""
    values: NDArray[Any] = writer.network.constants[node.inputs[1]]
    if transposed:
        values = values.T
    if node.quantization is None:
        return (
            writer.constant(f"{node.inputs[1]}_transposed", values, np.float32)
            if transposed
            else (writer.hold(node.inputs[1]))
        )
    output = f"{node.name}/weight"
    name = f"{node.inputs[1]}_quantized"
    grid = node.quantization.weight
    write_weights(writer, name, values, grid, output, axis=1 if transposed else 0, layer=node.name)
    return output


def _conv(writer: ModelWriter, node: Node) -> None:
    operands = [_input(writer, node), _weight(writer, node, transposed=False), *map(writer.hold, node.inputs[2:])]
    _write_by_record(writer, node, operands, _metadata(node))


def _linear(writer: ModelWriter, node: Node) -> None:
    if len(writer.shape(node.inputs[0])) == 2:
        inputs = [_input(writer, node), _weight(writer, node, transposed=False), *map(writer.hold, node.inputs[2:])]
        writer.emit("Gemm", inputs, node.output, name=node.name, metadata=_metadata(node), transB=1)
        return
    inputs = [_input(writer, node), _weight(writer, node, transposed=True)]
    bias = [writer.hold(name) for name in node.inputs[2:]]
    product = f"{node.output}/product" if bias else node.output
    writer.emit("MatMul", inputs, product, name=node.name, metadata=_metadata(node))
    if bias:
        writer.emit("Add", [product, *bias], node.output, name=f"{node.name}/bias")


def _matmul(writer: ModelWriter, node: Node) -> None:
    stored = node.inputs[1]
    if node.quantization is not None:
        stored = f"{node.name}/stored"
        write_quantizer(writer, node.inputs[1], node.quantization.weight, stored, name=f"{node.name}/stored")
    writer.emit(
        "MatMul", [_input(writer, node), writer.hold(stored)], node.output, name=node.name, metadata=_metadata(node)
    )


def _silu(writer: ModelWriter, node: Node) -> None:
    x = writer.hold(node.inputs[0])
    gate = writer.emit("Sigmoid", [x], f"{node.output}/sigmoid", name=f"{node.name}/sigmoid")
    writer.emit("Mul", [x, gate], node.output, name=node.name)


def _where(writer: ModelWriter, node: Node) -> None:
    chosen, other, mask = (writer.hold(name) for name in node.inputs)
    if node.inputs[2] not in writer.network.constants:
        mask = writer.cast_whole(mask, np.bool_, name=f"{node.name}/mask")
    writer.emit("Where", [mask, chosen, other], node.output, name=node.name)


def _whole(writer: ModelWriter, node: Node) -> None:
    """What gives booleans or integers in ONNX, and whole numbers in the network."""
    from onnx import TensorProto

    is_output = node.output in {tensor.name for tensor in writer.network.outputs}
    operands, whole = [writer.hold(name) for name in node.inputs], f"{node.output}/whole" if is_output else node.output
    outputs = (f"{node.output}/values", whole) if node.op == "top_k_indices" else (whole,)
    _write_by_record(writer, node, operands, outputs=outputs)
    if not is_output:
        writer.declare_whole(whole, is_index=node.op in ("arg_max", "top_k_indices"))
        return
    writer.emit("Cast", [whole], node.output, name=f"{node.name}/number", to=TensorProto.FLOAT)


def _top_k(writer: ModelWriter, node: Node) -> None:
    _write_by_record(writer, node, [writer.hold(node.inputs[0])], outputs=(node.output, f"{node.output}/indices"))


def _embed(writer: ModelWriter, node: Node) -> None:
    indices, table = writer.hold_whole(node.inputs[0], node.name), writer.hold(node.inputs[1])
    writer.emit("Gather", [table, indices], node.output, name=node.name, axis=0)


def _scatter(writer: ModelWriter, node: Node) -> None:
    """Each index stands for a whole slice: repeated all over it, as ScatterElements has them."""
    data, places, updates = node.inputs
    axis, shape = get_int(node.attributes, "axis"), writer.shape(updates)
    sizes = [size if number == axis else 1 for number, size in enumerate(shape)]
    held = {
        key: writer.constant(f"{node.name}/{key}", value, np.int64)
        for key, value in (("sizes", sizes), ("slice", shape))
    }
    whole = writer.hold_whole(places, node.name)
    apart = writer.emit("Reshape", [whole, held["sizes"]], f"{node.output}/apart", name=f"{node.name}/apart")
    spread = writer.emit("Expand", [apart, held["slice"]], f"{node.output}/places", name=f"{node.name}/places")
    operands = [writer.hold(data), spread, writer.hold(updates)]
    writer.emit("ScatterElements", operands, node.output, name=node.name, axis=axis)


def _cast(writer: ModelWriter, node: Node) -> None:
    from onnx import TensorProto

    types = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
    to = types[get_text(node.attributes, "to")]
    narrow = writer.emit("Cast", [writer.hold(node.inputs[0])], f"{node.output}/narrow", name=node.name, to=to)
    writer.emit("Cast", [narrow], node.output, name=f"{node.name}/widen", to=TensorProto.FLOAT)


def _reshape(writer: ModelWriter, node: Node) -> None:
    shape = get_ints(node.attributes, "shape")
    if writer.is_batched:
        shape = (0, *shape[1:])  # 0 keeps what the input has there: any number of samples
    held = writer.constant(f"{node.name}/shape", shape, np.int64)
    writer.emit("Reshape", [writer.hold(node.inputs[0]), held], node.output, name=node.name)


def _slice(writer: ModelWriter, node: Node) -> None:
    starts, ends, axes, steps = (list(get_ints(node.attributes, key)) for key in ("starts", "ends", "axes", "steps"))
    # Before index 0 is -1 here, which ONNX would count from the back.
    ends = [np.iinfo(np.int64).min if end < 0 else end for end in ends]
    operands = zip(("starts", "ends", "axes", "steps"), (starts, ends, axes, steps), strict=True)
    held = [writer.constant(f"{node.name}/{key}", value, np.int64) for key, value in operands]
    writer.emit("Slice", [writer.hold(node.inputs[0]), *held], node.output, name=node.name)


def _resize(writer: ModelWriter, node: Node) -> None:
    scales = writer.constant(f"{node.name}/scales", get_floats(node.attributes, "scales"), np.float32)
    writer.emit(
        "Resize",
        [writer.hold(node.inputs[0]), "", scales],
        node.output,
        name=node.name,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _fake_quantize(writer: ModelWriter, node: Node) -> None:
    write_quantizer(writer, writer.hold(node.inputs[0]), quantizer_grid(node.attributes), node.output, name=node.name)


WRITERS: Mapping[str, Callable[[ModelWriter, Node], None]] = MappingProxyType(
    {
        "conv": _conv,
        "linear": _linear,
        "matmul": _matmul,
        "silu": _silu,
        "where": _where,
        "embed": _embed,
        "scatter": _scatter,
        "top_k": _top_k,
        **dict.fromkeys(("equal", "less", "less_or_equal", "is_nan", "arg_max", "top_k_indices"), _whole),
        "cast": _cast,
        "reshape": _reshape,
        "slice": _slice,
        "resize_nearest": _resize,
        "fake_quantize": _fake_quantize,
    }
)
"""Of the operations that one ONNX node with the same operands does not stand for."""
