"""Writers: a Network as float ONNX, or a quantized one as QCDQ ONNX that ONNX Runtime runs.

QCDQ: what a layer multiplies passes QuantizeLinear, Clip (where the grid is narrower than its type) and
DequantizeLinear; weights are integers, Clip, DequantizeLinear. What is written reads back as the same network: layer
names and widths that the integers do not tell are kept in the nodes' metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.cache_folder import write_atomically
from mho.errors import MhoError
from mho.network.graph import Network, Node, TensorInfo
from mho.network.naming import LAYER_KEY
from mho.network.properties import keeps_samples_apart

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


class ModelWriter:
    """Gathers ONNX nodes and initializers; export_operations.py and export_layers.py write into it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.is_batched = keeps_samples_apart(network)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._reserved = set(network.constants) | set(network.shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor or constant of the network."""
        return self.network.shapes[name] if name in self.network.shapes else self.network.constants[name].shape

    def hold(self, name: str) -> str:
        """Write a constant of the network as it is; returns its name."""
        if name in self.network.constants and name not in self.initializers:
            self._store(name, self.network.constants[name])
        return name

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
        output: str,
        *,
        name: str,
        metadata: dict[str, str] | None = None,
        **attributes: Any,
    ) -> str:
        """Append an ONNX node; returns `output`."""
        from onnx import helper

        node = helper.make_node(op_type, list(inputs), [output], name=name, **attributes)
        if metadata:
            helper.set_model_props(node, metadata)
        self.nodes.append(node)
        return output

    def _store(self, name: str, value: NDArray[Any]) -> None:
        from onnx import numpy_helper

        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)


def layer_metadata(node: Node) -> dict[str, str]:
    """Return the metadata that lets a reader find the layer again."""
    return {LAYER_KEY: node.name}


def _build(network: Network) -> onnx.ModelProto:
    from onnx import helper

    from mho.quantization.export_layers import LAYER_WRITERS
    from mho.quantization.export_operations import OPERATION_WRITERS

    writer = ModelWriter(network)
    for node in network.nodes:
        write = LAYER_WRITERS.get(node.op) or OPERATION_WRITERS.get(node.op)
        if write is None:
            raise MhoError(f"operation {node.op!r} has no ONNX form", where=f"{network.name}: {node.name}")
        write(writer, node)
    opset = _CEIL_OPSET if any(node.attributes.get("ceil_mode") for node in network.nodes) else OPSET
    graph = helper.make_graph(
        writer.nodes,
        network.name or "network",
        [_value_info(tensor, writer.is_batched) for tensor in network.inputs],
        [_value_info(tensor, writer.is_batched) for tensor in network.outputs],
        list(writer.initializers.values()),
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=_IR_VERSION, producer_name="mho"
    )


def _value_info(tensor: TensorInfo, is_batched: bool) -> onnx.ValueInfoProto:
    from onnx import TensorProto, helper

    shape: list[int | str] = list(tensor.shape)
    if is_batched:
        shape[0] = "N"
    return helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, shape)


def _write(model: onnx.ModelProto, path: str | Path) -> None:
    from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

    try:
        content = model.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise MhoError(
            f"the model cannot be written: {error}", where=str(path), expected="at most 2 GB, what one ONNX file holds"
        ) from error
    write_atomically(Path(path), content)
