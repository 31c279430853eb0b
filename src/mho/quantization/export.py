"""Writers: a Network as float ONNX, or a quantized one as QCDQ ONNX that ONNX Runtime runs.

QCDQ: what a layer multiplies passes QuantizeLinear, Clip (where the grid is narrower than its type) and
DequantizeLinear; weights are integers, Clip, DequantizeLinear. What is written reads back as the same network: layer
names and widths that do not follow from the integers are kept in the nodes' metadata.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mho.cache_folder import write_atomically
from mho.errors import MhoError
from mho.network.graph import Network, TensorInfo
from mho.network.state import STATES_KEY
from mho.quantization.export_operations import write_node
from mho.quantization.model_writer import ModelWriter

if TYPE_CHECKING:
    import onnx

OPSET = 21
"""First opset with 16-bit QuantizeLinear."""
_CEIL_OPSET = 22
"""First opset whose pooling leaves out, in ceil mode, a window that starts in the padding behind the input."""
_IR_VERSION = 10


def write_float_onnx(network: Network, path: str | Path) -> None:
    """Write a float network. Raises `MhoError` for a quantized one or one beyond 2 GB, `OSError` as files do."""
    _write(build_float_model(network), path)


def write_qcdq_onnx(network: Network, path: str | Path) -> None:
    """Write a quantized network as QCDQ. Raises `MhoError` for a layer without integers, `OSError` as files do."""
    _write(build_qcdq_model(network), path)


def build_float_model(network: Network) -> onnx.ModelProto:
    """Return a float network as an ONNX model. Raises `MhoError` for a quantized layer."""
    quantized = [node.name for node in network.mvm_nodes if node.quantization is not None]
    if quantized:
        raise MhoError(f"quantized layers in a float export: {', '.join(quantized)}", where=network.name)
    return _build(network)


def build_qcdq_model(network: Network) -> onnx.ModelProto:
    """Return a quantized network as an ONNX model. Raises `MhoError` for a layer without integers."""
    missing = [node.name for node in network.mvm_nodes if node.quantization is None]
    if missing:
        raise MhoError(f"layers without integers: {', '.join(missing)}", where=network.name, hint="quantize first")
    return _build(network)


def _build(network: Network) -> onnx.ModelProto:
    from onnx import helper

    writer = ModelWriter(network)
    for node in network.nodes:
        write_node(writer, node)
    opset = _CEIL_OPSET if any(node.attributes.get("ceil_mode") for node in network.nodes) else OPSET
    graph = helper.make_graph(
        writer.nodes,
        network.name or "network",
        [_value_info(tensor, writer.is_batched) for tensor in network.inputs],
        [_value_info(tensor, writer.is_batched) for tensor in network.outputs],
        list(writer.initializers.values()),
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION, producer_name="mho"
    )
    if network.states:
        helper.set_model_props(model, {STATES_KEY: json.dumps([state.to_json() for state in network.states])})
    return model


def _value_info(tensor: TensorInfo, is_batched: bool) -> onnx.ValueInfoProto:
    from onnx import helper

    shape: list[int | str] = list(tensor.shape)
    if is_batched:
        shape[0] = "N"
    return helper.make_tensor_value_info(tensor.name, helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)), shape)


def _write(model: onnx.ModelProto, path: str | Path) -> None:
    from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

    try:
        content = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise MhoError(
            f"the model cannot be written: {error}", where=str(path), expected="at most 2 GB, what one ONNX file holds"
        ) from error
    write_atomically(Path(path), content)
