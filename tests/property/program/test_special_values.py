"""Infinities, NaN, zeros of both signs and numbers at float32's edges: every engine gives the bits of the integer
reference, or refuses where it does, and ONNX Runtime gives the same where IEEE 754 defines the result."""

import numpy as np
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from chip_programs import random_schedule
from examples import RELAXED, examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_models import model, node, run_onnxruntime
from random_networks import NetworkBuilder, choosers

from mho.errors import DataError, MappingError, MhoError
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float, run_quantized
from mho.program.lowering import compile_network, compile_schedule
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret

LARGEST, LEAST = np.finfo(np.float32).max, np.float32(1e-45)
EDGES = np.array([0.0, -0.0, 1.0, -1.0, LARGEST, -LARGEST, 1e30, -1e-30, LEAST, -LEAST, 0.5], np.float32)

UNARY = {
    "relu": {}, "leaky_relu": {"alpha": -0.5}, "sigmoid": {}, "hard_swish": {}, "silu": {}, "tanh": {}, "erf": {},
    "gelu": {"approximate": "none"}, "exp": {}, "log": {}, "sqrt": {}, "reciprocal": {}, "neg": {}, "abs": {},
    "pow": {"exponent": 2.0}, "clip": {"min": -0.0, "max": float(LARGEST)}, "softmax": {"axis": 3},
    "log_softmax": {"axis": 1}, "cast": {"to": "float16"}, "reduce_sum": {"axes": (1,), "keepdims": 1},
    "reduce_mean": {"axes": (2, 3), "keepdims": 1}, "reduce_max": {"axes": (3,), "keepdims": 1},
    "fake_quantize": {"scale": 1e-38, "zero_point": 3, "qmin": 0, "qmax": 255},
    "max_pool": {"kernel": (2, 2), "strides": (1, 1), "pads": (1, 0, 0, 1), "dilations": (1, 1), "ceil_mode": 0},
    "average_pool": {"kernel": (2, 1), "strides": (1, 1), "pads": (1, 0, 0, 0), "dilations": (1, 1), "ceil_mode": 0,
                     "count_include_pad": 1},
}  # fmt: skip
BINARY = ("add", "sub", "mul", "div", "minimum", "maximum")


def draw_network(chooser):
    """Return a layer, digital operations on what it gives and constants at the edges, and perhaps a second layer."""
    builder = NetworkBuilder(chooser)
    tensors = [builder.conv(builder.input((1, 2, 3, chooser.integer(3, 9))), unsigned=False)]
    for _ in range(chooser.integer(1, 6)):
        last, shape = tensors[-1], builder.shapes[tensors[-1]]
        edges = builder.generator.choice(EDGES, shape[chooser.integer(0, 3) :])
        kind = chooser.integer(0, 3)
        if kind == 0:
            tensors.append(builder.node(chooser.choice(BINARY), [last, builder.constant(edges)]))
        elif kind == 1:
            alike = [tensor for tensor in tensors if builder.shapes[tensor] == shape]
            tensors.append(builder.node(chooser.choice(BINARY), [chooser.choice(alike), last]))
        elif kind == 2:
            masked = builder.constant(np.where(edges > 0, np.float32(np.inf), -np.float32(np.inf)))
            mask = builder.constant(builder.generator.integers(0, 2, shape[-1:]).astype(bool))
            tensors.append(builder.node("where", [last, masked, mask]))
        else:
            op = chooser.choice(tuple(UNARY))
            if min(shape[2:]) > 1 or "pool" not in op:
                tensors.append(builder.node(op, [last], **UNARY[op]))
    if chooser.integer(0, 2):
        builder.conv(tensors[-1], unsigned=False)
    return builder.finish()


def draw_inputs(chooser, network, samples=3):
    generator, (tensor,) = np.random.default_rng(chooser.integer(0, 99)), network.inputs
    return {tensor.name: generator.choice(EDGES, (samples, *tensor.shape))}


def outcome(run):
    with np.errstate(all="ignore"):
        try:
            return run()
        except DataError as error:
            if error.what != "NaN is to be quantized":
                raise
            return None


def assert_same_outcome(found, expected):
    assert (found is None) == (expected is None)
    if found is not None:
        assert_same_bits(found, expected)


@settings(max_examples=examples(200), **RELAXED)
@given(choosers())
def test_engines_give_the_bits_of_the_reference_or_refuse_as_it_does(chooser):
    network = draw_network(chooser)
    inputs = draw_inputs(chooser, network)
    expected = outcome(lambda: run_quantized(network, inputs))
    program = compile_network(network, make_accelerator(16, 9, 2, 2))
    assert_same_outcome(outcome(lambda: interpret(program, inputs).outputs), expected)
    for size in (1, 3):
        assert_same_outcome(outcome(lambda size=size: Executor(program).run(inputs, batch_size=size)), expected)


@settings(max_examples=examples(80), **RELAXED)
@given(choosers())
def test_chips_give_the_bits_of_the_reference_or_refuse_as_it_does(chooser):
    network = draw_network(chooser)
    inputs = draw_inputs(chooser, network, 2)
    try:
        program = compile_schedule(network, random_schedule(chooser, network))
    except MappingError:
        assume(False)
    expected = outcome(lambda: run_quantized(network, inputs))
    assert_same_outcome(outcome(lambda: interpret(program, inputs).outputs), expected)
    assert_same_outcome(outcome(lambda: Executor(program).run(inputs)), expected)


def draw_onnx_model(chooser):
    """Return a file of operations whose results IEEE 754 defines to the last bit.

    Absolute values follow a Where, since that of ONNX Runtime drops the signs of zeros.
    """
    generator, constants, nodes, names = np.random.default_rng(chooser.integer(0, 1 << 16)), {}, [], ["x"]
    for number in range(chooser.integer(1, 8)):
        op = chooser.choice(("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Sqrt", "Reciprocal", "Where"))
        operands = [chooser.choice(names[-2:])]
        if op in ("Add", "Sub", "Mul", "Div", "Where"):
            other = chooser.choice(names)
            if chooser.integer(0, 1):
                other = f"c{number}"
                kept = np.append(EDGES, [np.inf, -np.inf] if op in ("Add", "Where") else []).astype(np.float32)
                constants[other] = generator.choice(kept, (1, 7))
            operands.append(other)
        if op == "Where":
            constants[f"m{number}"] = generator.integers(0, 2, (1, 7)).astype(bool)
            operands.insert(0, f"m{number}")
            nodes.append(node(op, " ".join(operands), f"w{number}"))
            op, operands = "Abs", [f"w{number}"]
        names.append(f"t{number}")
        nodes.append(node(op, " ".join(operands), names[-1]))
    return model(nodes, {"x": (1, 7)}, constants, outputs=names[-1:])


@settings(max_examples=examples(200), **RELAXED)
@given(choosers())
def test_onnx_runtime_gives_the_same_where_ieee_754_defines_the_result(chooser):
    proto = draw_onnx_model(chooser)
    x = np.random.default_rng(chooser.integer(0, 99)).choice(EDGES, (1, 7))
    (ours,) = outcome(lambda: run_float(read_onnx(proto), x[None])).values()
    np.testing.assert_array_equal(ours.reshape(1, 7), run_onnxruntime(proto, {"x": x}))


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_infinities_and_overflows_saturate_as_in_onnx_runtime(kind):
    constants = {"s": np.float32(1e-3), "z": kind(7), "big": np.float32(LARGEST)}
    nodes = [node("Mul", "x big", "t"), node("QuantizeLinear", "t s z", "q"), node("DequantizeLinear", "q s z")]
    proto = model(nodes, {"x": (1, 4)}, constants)
    x = np.array([[3.0, -3.0, 0.0, 1e-41]], np.float32)
    (ours,) = run_float(read_onnx(proto), x[None]).values()
    np.testing.assert_array_equal(ours.reshape(1, 4), run_onnxruntime(proto, {"x": x}))


@settings(max_examples=examples(120), **RELAXED)
@given(st.floats(-44.8, 38.5), st.floats(-44.8, 38.5), st.booleans())
def test_a_layer_of_any_scales_is_refused_or_gives_what_onnx_runtime_gives(input_power, weight_power, is_signed):
    generator, zero = np.random.default_rng(0), np.int8(0)
    scales = {"xs": np.float32(10**input_power), "ws": np.float32(10**weight_power)}
    weight = generator.integers(-127, 128, (3, 6)) if is_signed else generator.integers(0, 128, (3, 6))
    with np.errstate(over="ignore"):
        x = generator.integers(-128, 128, (1, 6)).astype(np.float32) * scales["xs"]
    nodes = [
        node("QuantizeLinear", "x xs z", "q"), node("DequantizeLinear", "q xs z", "d"),
        node("DequantizeLinear", "w ws z", "wd"), node("Gemm", "d wd", transB=1),
    ]  # fmt: skip
    proto = model(nodes, {"x": (1, 6)}, {**scales, "z": zero, "w": weight.astype(np.int8)})
    try:
        network = read_onnx(proto)
    except MhoError as error:
        assume("scale" in str(error))
        return
    (ours,) = run_quantized(network, x[None]).values()
    np.testing.assert_allclose(ours.reshape(1, 3), run_onnxruntime(proto, {"x": x}), rtol=1e-4)
