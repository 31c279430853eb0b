"""What is written as ONNX reads back as the same network, and ONNX Runtime computes the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from network_checks import verify_network
from onnx_models import run_onnxruntime
from operation_cases import CASES
from random_networks import NetworkBuilder, SeededChooser, choosers, networks, random_inputs

from mho.arithmetic.operations import OPERATIONS
from mho.network.graph import Grid, LayerQuantization, Network, TensorInfo
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float, run_quantized
from mho.quantization.export import build_float_model, build_qcdq_model
from mho.quantization.export_check import Cause, compare_with_onnxruntime


def _same_grid(a: Grid, b: Grid) -> bool:
    return (
        (a.qmin, a.qmax, a.bits, a.is_binary) == (b.qmin, b.qmax, b.bits, b.is_binary)
        and np.array_equal(a.scales, b.scales)
        and np.array_equal(a.zero_points, b.zero_points)
    )


def _same_quantization(a: LayerQuantization | None, b: LayerQuantization | None) -> bool:
    if a is None or b is None:
        return a is b
    return _same_grid(a.input, b.input) and _same_grid(a.weight, b.weight)


def assert_same_network(written: Network, read: Network) -> None:
    verify_network(read)
    assert read.inputs == written.inputs
    assert read.outputs == written.outputs
    assert read.layer_names == written.layer_names
    assert [node.name for node in read.nodes] == [node.name for node in written.nodes]
    for before, after in zip(written.nodes, read.nodes, strict=True):
        assert (after.op, after.output, dict(after.attributes)) == (before.op, before.output, dict(before.attributes))
        assert _same_quantization(before.quantization, after.quantization)
        for old, new in zip(before.inputs, after.inputs, strict=True):
            if old in written.constants:
                assert np.array_equal(written.constants[old], read.constants[new])
            else:
                assert old == new
    assert dict(read.shapes) == {name: written.shapes[name] for name in read.shapes}


@settings(max_examples=60, deadline=None)
@given(network=networks(), seed=st.integers(0, 1000))
def test_a_quantized_network_reads_back_as_it_was_and_onnx_runtime_agrees_or_differs_by_its_rounding(
    tmp_path_factory, network: Network, seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.onnx"
    path.write_bytes(build_qcdq_model(network).SerializeToString())
    read = read_onnx(path)
    assert_same_network(network, read)
    inputs = random_inputs(network, 4, seed)
    for name, array in run_quantized(network, inputs).items():
        assert np.array_equal(run_quantized(read, inputs)[name], array)
    report = compare_with_onnxruntime(network, path, inputs)
    assert report.is_explained, [d for d in report.differences if d.cause is Cause.UNEXPLAINED]


def _unary(op: str, **attributes: object) -> Callable[[NetworkBuilder, str], str]:
    return lambda builder, tensor: builder.node(op, [tensor], **attributes)


def _by_constant(op: str) -> Callable[[NetworkBuilder, str], str]:
    def add(builder: NetworkBuilder, tensor: str) -> str:
        shape = builder.shapes[tensor]
        chosen = builder.chooser.choice([(), shape[-1:], (1,) * (len(shape) - 1) + shape[-1:]])
        constant = builder.constant(builder.generator.uniform(0.5, 2, chosen).astype(np.float32))
        return builder.node(op, [tensor, constant] if builder.chooser.integer(0, 1) else [constant, tensor])

    return add


def _layer_norm(builder: NetworkBuilder, tensor: str) -> str:
    shape = builder.shapes[tensor][-1:]
    constants = [builder.constant(builder.generator.uniform(0.5, 2, shape).astype(np.float32)) for _ in range(2)]
    axis = len(builder.shapes[tensor]) - 1
    return builder.node("layer_norm", [tensor, *constants], axis=axis, epsilon=float(np.float32(1e-3)))


def _batch_norm(builder: NetworkBuilder, tensor: str) -> str:
    shape = builder.shapes[tensor][1:2]
    constants = [builder.constant(builder.generator.uniform(0.5, 2, shape).astype(np.float32)) for _ in range(4)]
    return builder.node("batch_norm", [tensor, *constants], axis=1, epsilon=float(np.float32(1e-5)))


def _transpose(builder: NetworkBuilder, tensor: str) -> str:
    rank = len(builder.shapes[tensor])
    first = builder.chooser.integer(1, rank - 1)
    return builder.node("transpose", [tensor], perm=(0, *range(first, rank), *range(1, first)))


def _slice(builder: NetworkBuilder, tensor: str) -> str:
    size = builder.shapes[tensor][-1]
    axis = len(builder.shapes[tensor]) - 1
    if builder.chooser.integer(0, 1):
        return builder.node("slice", [tensor], axes=(axis,), starts=(size - 1,), ends=(-1,), steps=(-1,))
    return builder.node("slice", [tensor], axes=(axis,), starts=(0,), ends=(max(1, size - 1),), steps=(1,))


def _where(builder: NetworkBuilder, tensor: str) -> str:
    mask = builder.constant(builder.generator.integers(0, 2, builder.shapes[tensor][-2:]).astype(bool))
    return builder.node("where", [tensor, builder.constant(np.float32(2.5)), mask])


def _gather(builder: NetworkBuilder, tensor: str) -> str:
    indices = builder.generator.integers(0, builder.shapes[tensor][-1], (3,))
    return builder.node("gather", [tensor, builder.constant(indices)], axis=len(builder.shapes[tensor]) - 1)


def _merge(builder: NetworkBuilder, tensor: str) -> str:
    batch, first, second, *rest = builder.shapes[tensor]
    return builder.node("reshape", [tensor], shape=(batch, second, first, *rest))


def _pool(op: str, **more: object) -> Callable[[NetworkBuilder, str], str]:
    def add(builder: NetworkBuilder, tensor: str) -> str:
        padding = builder.chooser.integer(0, 1)
        attributes = {
            "kernel": (2, 2),
            "strides": (builder.chooser.integer(1, 2), 2),
            "pads": (1, 0, padding, 1),
            "dilations": (1, 1),
            "ceil_mode": builder.chooser.integer(0, 1),
            **more,
        }
        return builder.node(op, [tensor], **attributes)

    return add


def _dense(builder: NetworkBuilder, tensor: str) -> str:
    outputs = builder.chooser.integer(1, 4)
    weight = builder.generator.normal(0, 1, (outputs, builder.shapes[tensor][-1])).astype(np.float32)
    bias = [builder.constant(np.zeros(outputs, np.float32))] if builder.chooser.integer(0, 1) else []
    return builder.node("linear", [tensor, builder.constant(weight), *bias])


def _product(builder: NetworkBuilder, tensor: str) -> str:
    return builder.node("matmul", [builder.node("transpose", [tensor], perm=(0, 1, 3, 2)), tensor])


STEPS: list[Callable[[NetworkBuilder, str], str]] = [
    *(
        _unary(case.op, **case.attributes)
        for case in CASES
        if OPERATIONS[case.op].is_elementwise and OPERATIONS[case.op].onnx and OPERATIONS[case.op].operands == (1, 1)
        # Beyond what is finite behind others, or apart by one where others are by a rounding.
        if case.op not in ("exp", "log", "sqrt", "reciprocal", "floor", "ceil", "round", "sign")
    ),
    _unary("softmax", axis=3), _unary("log_softmax", axis=1), _unary("pad", pads=(0, 0, 1, 0, 0, 2, 0, 1), value=0.5),
    _unary("reduce_mean", axes=(2,), keepdims=1), _unary("reduce_sum", axes=(1, 3), keepdims=1),
    _unary("reduce_max", axes=(3,), keepdims=1), _unary("resize_nearest", scales=(1.0, 1.0, 2.0, 1.0)),
    _unary("fake_quantize", scale=0.125, zero_point=3, qmin=-8, qmax=100),
    _by_constant("add"), _by_constant("sub"), _by_constant("mul"), _by_constant("div"), _by_constant("minimum"),
    _by_constant("maximum"), _where, _layer_norm, _batch_norm, _transpose, _slice, _gather, _merge, _dense, _product,
    _pool("max_pool"), _pool("average_pool", count_include_pad=0), _pool("average_pool", count_include_pad=1),
]  # fmt: skip


@st.composite
def float_networks(draw) -> Network:
    chooser = draw(choosers())
    builder = NetworkBuilder(chooser)
    tensor = builder.input((chooser.choice((1, 1, 2)), *(chooser.integer(2, 4) for _ in range(3))))
    for _ in range(chooser.integer(1, 6)):
        source, tensor = tensor, chooser.choice(STEPS)(builder, tensor)
        if builder.shapes[source] == builder.shapes[tensor] and chooser.integer(0, 1):
            tensor = builder.node(chooser.choice(("add", "mul", "maximum")), [source, tensor])
    return builder.finish()


def _is_simplified(network: Network) -> bool:
    """True where reading makes the network simpler: movements that move nothing, constants that become biases, products
    of quantized operands that become quantized layers."""
    quantized = {node.output for node in network.nodes if node.op == "fake_quantize"}
    for node in network.nodes:
        unchanged = network.shapes.get(node.inputs[0]) == network.shapes[node.output]
        if unchanged and node.op in ("reshape", "slice") and node.attributes.get("steps") != (-1,):
            return True
        if node.op == "transpose" and list(node.attributes["perm"]) == sorted(node.attributes["perm"]):
            return True
        if OPERATIONS[node.op].moves and quantized.issuperset(node.inputs):
            quantized.add(node.output)
        if node.op == "matmul" and quantized.issuperset(node.inputs):
            return True
    bare = {node.output for node in network.mvm_nodes if len(node.inputs) == 2 and node.op != "matmul"}
    return any(node.op == "add" and bare & set(node.inputs) for node in network.nodes)


def test_a_product_of_quantized_operands_reads_back_as_a_quantized_layer_of_the_same_answers() -> None:
    builder = NetworkBuilder(SeededChooser(0))
    source = builder.input((1, 2, 2, 3))
    coded = builder.node("fake_quantize", [source], scale=0.125, zero_point=3, qmin=-8, qmax=100)
    builder.node("matmul", [builder.node("transpose", [coded], perm=(0, 1, 3, 2)), coded])
    network = builder.finish()
    read = read_onnx(build_float_model(network))
    assert [node.quantization is not None for node in read.mvm_nodes] == [True]
    inputs, name = random_inputs(network, 1), network.outputs[0].name
    assert np.allclose(run_float(network, inputs)[name], run_quantized(read, inputs)[name], rtol=1e-5, atol=1e-6)


def _is_well_conditioned(network: Network, inputs: dict[str, np.ndarray]) -> bool:
    """False where something is divided by nearly nothing: ONNX Runtime's sigmoid is exact to 1e-7, not to a share."""
    divisors = [node.inputs[1] for node in network.nodes if node.op == "div" and node.inputs[1] in network.shapes]
    infos = tuple(TensorInfo(name, network.shapes[name]) for name in divisors if name not in inputs)
    found = run_float(replace(network, outputs=infos), inputs) if infos else {}
    return all(float(np.abs(array).min()) > 1e-3 for array in found.values())


@settings(max_examples=70, deadline=None)
@given(float_networks())
def test_a_float_network_reads_back_as_it_was_and_onnx_runtime_computes_it(network: Network) -> None:
    verify_network(network)
    proto = build_float_model(network)
    read = read_onnx(proto)
    if not _is_simplified(network):
        assert_same_network(network, read)
    inputs = random_inputs(network, 1)
    ours = run_float(network, inputs)[network.outputs[0].name]
    kinds = {node.quantization is not None for node in read.mvm_nodes}
    if (
        len(kinds) < 2
    ):  # products of quantized operands read as quantized layers; beside float ones no engine takes them
        run = run_quantized if True in kinds else run_float
        assert np.allclose(ours, run(read, inputs)[network.outputs[0].name], rtol=1e-5, atol=1e-6, equal_nan=True)
    assume(_is_well_conditioned(network, inputs))
    theirs = run_onnxruntime(proto, {name: array[0] for name, array in inputs.items()}).reshape(ours.shape)
    if any(node.op == "fake_quantize" for node in network.nodes):
        return  # a tie may fall to either side
    largest = float(np.abs(theirs).max(where=np.isfinite(theirs), initial=1.0))
    assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * largest, equal_nan=True)
