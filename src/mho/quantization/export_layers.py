"""ONNX nodes of the MVM layers, float or with their grids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.attributes import get_int, get_ints
from mho.network.graph import Node
from mho.network.onnx_graph import WEIGHT_BITS_KEY
from mho.quantization.export import ModelWriter, layer_metadata
from mho.quantization.export_grids import write_quantizer, write_weights


def _metadata(node: Node) -> dict[str, str]:
    metadata = layer_metadata(node)
    if node.quantization is not None and node.op != "matmul":
        metadata[WEIGHT_BITS_KEY] = str(node.quantization.weight.bits)
    return metadata


def _input(writer: ModelWriter, node: Node) -> str:
    """Return what the layer multiplies: its first input, through its grid where it has one."""
    if node.quantization is None:
        return node.inputs[0]
    output = f"{node.name}/input"
    write_quantizer(writer, node.inputs[0], node.quantization.input, output, name=f"{node.name}/input")
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
    values = node.attributes
    inputs = [_input(writer, node), _weight(writer, node, transposed=False), *map(writer.hold, node.inputs[2:])]
    writer.emit(
        "Conv",
        inputs,
        node.output,
        name=node.name,
        metadata=_metadata(node),
        kernel_shape=get_ints(values, "kernel"),
        strides=get_ints(values, "strides"),
        pads=get_ints(values, "pads"),
        dilations=get_ints(values, "dilations"),
        group=get_int(values, "groups"),
    )


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
    writer.emit("MatMul", [_input(writer, node), stored], node.output, name=node.name, metadata=_metadata(node))


LAYER_WRITERS = {"conv": _conv, "linear": _linear, "matmul": _matmul}
