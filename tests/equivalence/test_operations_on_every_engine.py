"""Every operation alone: ONNX and back, ONNX Runtime, the reference and both engines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from network_checks import verify_network
from operation_cases import CASES, OperationCase, cases_inputs, cases_network

from mho.arithmetic.operations import OPERATIONS
from mho.network.graph import Grid, LayerQuantization, Network, Node, TensorInfo
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float, run_quantized
from mho.program.lowering import compile_network
from mho.quantization.export import build_float_model
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret

DIGITAL = [case for case in CASES if not OPERATIONS[case.op].is_mvm]


@pytest.fixture(scope="module")
def outputs() -> tuple[Network, Network, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The network of all cases, the same read from its own file, outputs of the reference and of ONNX Runtime."""
    written = cases_network(CASES)
    verify_network(written)
    proto, inputs = build_float_model(written), cases_inputs(CASES, 1)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    theirs = session.run(None, {name: array[0] for name, array in inputs.items()})
    names = [tensor.name for tensor in written.outputs]
    return written, read_onnx(proto), run_float(written, inputs), dict(zip(names, theirs, strict=True))


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: f"{CASES[number].op}-{number}")
def test_an_operation_is_the_same_in_onnx(number: int, outputs: tuple) -> None:
    written, read, ours, theirs = outputs
    name = f"{CASES[number].op}_{number}"
    before = written.nodes[number]
    (after,) = (node for node in read.nodes if node.output == name)
    if CASES[number].op != "silu":  # a sigmoid and a product in ONNX
        assert (after.op, dict(after.attributes)) == (before.op, dict(before.attributes))
    if CASES[number].op == "fake_quantize":
        return  # a tie may fall to either side
    found = ours[name].reshape(theirs[name].shape)
    largest = float(np.abs(theirs[name]).max(where=np.isfinite(theirs[name]), initial=1.0))
    assert np.allclose(found, theirs[name], rtol=1e-4, atol=1e-5 * largest)


def _with_a_layer(network: Network) -> Network:
    """Return the network with a quantized layer beside it, since programs run at least one."""
    grid = Grid(np.float32(0.1), np.int64(0), -7, 7, 4)
    layer = Node("layer", "linear", ("z", "w"), "product", {}, LayerQuantization(grid, grid))
    return replace(
        network,
        inputs=(*network.inputs, TensorInfo("z", (1, 3))),
        outputs=(*network.outputs, TensorInfo("product", (1, 2))),
        nodes=(*network.nodes, layer),
        constants={**network.constants, "w": np.array([[1, -7, 3], [0, 2, 5]], np.int8)},
        shapes={**network.shapes, "z": (1, 3), "product": (1, 2)},
    )


def test_both_engines_give_the_bits_of_the_reference_for_every_digital_operation() -> None:
    network = _with_a_layer(cases_network(DIGITAL))
    inputs = {**cases_inputs(DIGITAL, 3), "z": np.float32([[[0.3, -0.2, 0.9]]] * 3)}
    # Zeros of both signs, and what functions send to their limits.
    for name in inputs:
        flat = inputs[name].reshape(3, -1)
        flat[:, :: max(1, flat.shape[1] // 5)] *= np.float32(0)
        flat[2] *= np.float32(1 if any(op in name for op in ("exp", "embed", "scatter")) else 40)
    expected = run_quantized(network, inputs)
    program = compile_network(network, make_accelerator(8, 8, 2, 2))
    assert_same_bits(interpret(program, inputs).outputs, expected)
    assert_same_bits(Executor(program).run(inputs), expected)


def test_a_learned_slope_is_trained_and_written_back() -> None:
    import torch

    from mho.quantization.qat import TrainableNetwork

    network = _with_a_layer(cases_network([OperationCase("prelu", [(1, 4, 2, 2)], {}, [(4, 1, 1)])]))
    trainable = TrainableNetwork(network)
    (slope,) = (value for name, value in trainable.named_parameters() if name.endswith("slope"))
    with torch.no_grad():
        slope.fill_(0.5)
    assert (trainable.to_network().constants["prelu_0.c0"] == 0.5).all()
