"""ONNX models of a few nodes, and ONNX Runtime running them as they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def node(op: str, inputs: str, output: str = "y", name: str = "", **attributes: Any) -> onnx.NodeProto:
    """A node whose operands are separated by single blanks; two blanks leave an operand out."""
    return helper.make_node(op, inputs.split(" ") if inputs else [], output.split(" "), name=name, **attributes)


def model(
    nodes: onnx.NodeProto | Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    constants: Mapping[str, np.ndarray | onnx.TensorProto] | None = None,
    *,
    outputs: Sequence[str] = ("y",),
    opset: int = 21,
    input_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model of these nodes; constants become initializers."""
    initializers = [
        value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value), name)
        for name, value in (constants or {}).items()
    ]
    graph = helper.make_graph(
        [nodes] if isinstance(nodes, onnx.NodeProto) else list(nodes),
        "test",
        [helper.make_tensor_value_info(name, input_type, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def dense_model(width: int) -> onnx.ModelProto:
    """Three dense layers for digits; a short run would spend most of its time on the export of a torch module."""
    draw = np.random.default_rng(7).normal
    sizes = {"first": (width, 64), "second": (width, width), "last": (10, width)}
    weights = {name: draw(0, size[1] ** -0.5, size).astype(np.float32) for name, size in sizes.items()}
    nodes = [
        node("Flatten", "x", "a"),
        node("Gemm", "a first", "b", "first", transB=1),
        node("Relu", "b", "c"),
        node("Gemm", "c second", "d", "second", transB=1),
        node("Relu", "d", "e"),
        node("Gemm", "e last", "y", "last", transB=1),
    ]
    return model(nodes, {"x": ["n", 1, 8, 8]}, weights)


def packed(name: str, values: np.ndarray, data_type: int) -> onnx.TensorProto:
    """A tensor of a type that NumPy does not have, such as INT4."""
    return helper.make_tensor(name, data_type, list(values.shape), values.reshape(-1).tolist())


def run_onnxruntime(proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """The first output, without optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, dict(feeds))[0]
