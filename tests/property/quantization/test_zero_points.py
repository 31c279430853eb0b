"""Zero points that calibration chooses are exact everywhere: in padding, in files, in both engines, and in training."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from accelerators import accelerators
from bits import assert_same_bits
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_builder import NetworkBuilder

from mho.hardware.spec import Accelerator
from mho.network.graph import Network
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.program.lowering import compile_network
from mho.quantization.calibration import calibrate
from mho.quantization.export import write_qcdq_onnx
from mho.quantization.export_check import compare_with_onnxruntime
from mho.quantization.qat import TrainableNetwork
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret

FUNCTIONS = {"silu": {}, "hard_swish": {}, "gelu": {"approximate": "none"}, "leaky_relu": {"alpha": 0.1}}


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Convolutions and a product of activations behind functions that are negative a little."""
    b = NetworkBuilder((1, 2, 5, 5), seed=draw(st.integers(0, 50)))
    pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
    function = draw(st.sampled_from(sorted(FUNCTIONS)))
    b.conv(4, name="first")
    b.add(function, **FUNCTIONS[function])
    b.conv(3, groups=1, stride=draw(st.integers(1, 2)), pads=pads, name="padded")
    value = b.add(function, **FUNCTIONS[function])
    rows = b.add("reshape", shape=(1, 3, int(np.prod(b.shapes[value][2:]))))
    b.add("matmul", b.add("transpose", perm=(0, 2, 1)), at=rows, name="product")
    return b.build()


@given(
    network=networks(),
    accelerator=accelerators(),
    weight_bits=st.integers(1, 4),
    act_bits=st.integers(2, 8),
    seed=st.integers(0, 99),
)
@settings(max_examples=examples(12), deadline=None, suppress_health_check=list(HealthCheck))
def test_calibrated_zero_points_are_exact_end_to_end(
    network: Network, accelerator: Accelerator, weight_bits: int, act_bits: int, seed: int
) -> None:
    x = torch.randn(40, 2, 5, 5, generator=torch.Generator().manual_seed(seed))
    trainable = TrainableNetwork(network, Policy.uniform(network.layer_names, BitWidths(weight_bits, act_bits))).eval()
    calibrate(trainable, x)
    quantized = trainable.to_quantized_network()
    grids = [node.quantization.input for node in quantized.mvm_nodes if node.quantization]
    assert all(grid.qmin == 0 and grid.zero_points < 1 << (act_bits - 1) for grid in grids[1:])
    inputs = {"input": x[:3].numpy()}
    expected = run_quantized(quantized, inputs)

    program = compile_network(quantized, accelerator)
    assert_same_bits(interpret(program, inputs).outputs, expected)
    assert_same_bits(Executor(program).run(inputs), expected)

    with tempfile.TemporaryDirectory() as folder:
        write_qcdq_onnx(quantized, Path(folder) / "network.onnx")
        assert_same_bits(run_quantized(read_onnx(Path(folder) / "network.onnx"), inputs), expected)
        assert compare_with_onnxruntime(quantized, Path(folder) / "network.onnx", x[:3].numpy()).is_explained

    again = TrainableNetwork(quantized).to_quantized_network()
    assert_same_bits(run_quantized(again, inputs), expected)
    (found,) = expected.values()
    live = trainable(x[:3])
    # A value that lies within rounding of a tie may be rounded to the other side in training.
    close = np.isclose(live.detach().numpy().reshape(found.shape), found, rtol=1e-3, atol=1e-3)
    assert close.mean() > 0.9
    live.sum().backward()
    steps = [module.input_quantizer.log_ratio.grad for module in trainable.mvm_modules.values()]
    assert all(step is not None and bool(torch.isfinite(step)) for step in steps[1:])
