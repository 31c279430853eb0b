"""Training computes on arrays as chips do: outputs of many draws have the distribution of `AnalogExecutor`'s.

Means of each output are compared within their standard errors, and logarithms of variances, averaged over all outputs.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from network_builder import NetworkBuilder
from quantized_layers import quantized

from mho.array.calibration import RangeMethod, RangeRule
from mho.array.conductances import Conditions
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Accelerator
from mho.mapping.layer_arrays import arrays_of_network
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Grid, LayerQuantization, Network
from mho.program.lowering import compile_network
from mho.program.program import Program
from mho.quantization.array_noise import ArrayNoise
from mho.quantization.qat import TrainableNetwork
from mho.quantization.range_renewal import RangeRenewal
from mho.simulation.adc_ranges import calibrate_adcs
from mho.simulation.analog import AnalogExecutor

CHIPS = 64
RULE = RangeRule(RangeMethod.PERCENTILE, 0.98)
ERRORS: dict[str, Any] = {"programming_error": 0.1}
VARIED = {"programming_error": 0.05, "cell_variation": 0.1, "stuck_on_rate": 0.02, "stuck_off_rate": 0.02}
AGED = {**VARIED, "drift_exponent": 0.05, "drift_exponent_std": 0.02, "on_off_ratio": 8, "off_current": "kept"}
NOISY = {"read_noise": 0.1, "on_off_ratio": 10}
WIRES = {"programming_error": 0.05, "lrs_siemens": 0.0001, "row_segment_ohm": 20, "col_segment_ohm": 20}
CASES = [
    *itertools.product(("differential-columns", "differential-rows", "offset"), ["paper"], [AGED], [{}]),
    ("differential-columns", "paper", NOISY, {}),
    *(pytest.param(name, "paper", NOISY, {}, marks=pytest.mark.slow) for name in ("differential-rows", "offset")),
    ("differential-columns", "paper", ERRORS, {"adc_bits": 4}),
    ("differential-columns", "paper", WIRES, {}),
    ("differential-columns", "best", VARIED, {"adc_bits": 4, "adc_offset_lsb": 0.5}),
    ("offset", "best", NOISY, {"adc_bits": 5}),
    ("offset-digital", "best", VARIED, {}),
    ("twos-complement", "best", VARIED, {"dac_inl_lsb": 0.3}),
    ("differential-columns", "paper", VARIED, {"adc_bits": 4, "adc_range": "calibrated-layer"}),
    ("differential-rows", "paper", NOISY, {"adc_bits": 4, "adc_range": "calibrated-columns", "columns_per_adc": 4}),
    ("offset", "best", ERRORS, {"adc_bits": 5, "adc_range": "calibrated-columns", "adc_offset_lsb": 0.5}),
]
STORED_CASES = [
    ("differential-rows", "paper", AGED, {}),
    ("offset", "paper", {**AGED, **NOISY}, {}),
    ("differential-columns", "paper", VARIED, {"adc_bits": 4}),
    ("offset", "best", NOISY, {"adc_bits": 5}),
    ("offset-digital", "best", VARIED, {"dac_inl_lsb": 0.3}),
    ("offset", "best", ERRORS, {"adc_bits": 5, "adc_range": "calibrated-columns"}),
    pytest.param("differential-columns", "paper", WIRES, {}, marks=pytest.mark.slow),
    pytest.param(
        *("differential-columns", "paper", VARIED, {"adc_bits": 4, "adc_range": "calibrated-layer"}),
        marks=pytest.mark.slow,
    ),
]


def convolution() -> Network:
    """A convolution of four channels on 4 x 4 pixels, whose inputs have a sign."""
    net = NetworkBuilder((1, 4, 4, 4))
    net.conv(3, bias=True, name="conv")
    return net.build()


def attention() -> Network:
    """The product of three tokens with themselves in two heads, whose streamed values have a sign."""
    net = NetworkBuilder((1, 2, 3, 8))
    net.matmul()
    return net.build()


def accelerator(encoding: str, array: dict[str, Any], converters: dict[str, Any]) -> Any:
    is_paper = encoding in ("differential-columns", "differential-rows", "offset")
    allowed = [encoding] if is_paper else ["differential-columns", encoding]
    content = {
        "name": "chip",
        "crossbar": {"rows": 40, "cols": 24, "cell_bits": 2, "write_latency_us": 53, "mvm_latency_us": 1.3},
        "converters": {"dac_bits": 2, "adc_bits": "ideal", **converters},
        "mapping": {"encoding": encoding if is_paper else allowed[0], "allowed": {"encodings": allowed}},
        "chip": {"crossbars": 1},
        "array": array,
    }
    return accelerator_from_json(content, where="chip")


def on_chip(program: Program, seed: int, x: np.ndarray, hardware: Accelerator, conditions: Conditions) -> np.ndarray:
    """Return the outputs of a chip; calibrated ADCs find their ranges on the same inputs, as in training."""
    ranges = None
    if hardware.converters.has_calibrated_adc:
        ranges = calibrate_adcs(program, seed, x, hardware=hardware, conditions=conditions, rule=RULE).layers
    executor = AnalogExecutor(program, seed, hardware=hardware, conditions=conditions, ranges=ranges)
    (outputs,) = executor.run(x).values()
    return outputs.reshape(-1)


@pytest.mark.parametrize(("encoding", "model", "array", "converters"), CASES)
def test_training_has_the_distribution_of_chips(
    encoding: str, model: str, array: dict[str, Any], converters: dict[str, Any]
) -> None:
    compare_with_chips(convolution(), encoding, model, array, converters)


@pytest.mark.parametrize(("encoding", "model", "array", "converters"), STORED_CASES)
def test_training_has_the_distribution_of_chips_with_stored_activations(
    encoding: str, model: str, array: dict[str, Any], converters: dict[str, Any]
) -> None:
    compare_with_chips(attention(), encoding, model, array, converters)


@pytest.mark.parametrize(
    ("encoding", "array", "converters"),
    [
        ("differential-columns", {**ERRORS, **NOISY}, {}),
        ("offset", {**ERRORS, **NOISY}, {}),
        ("offset", ERRORS, {"adc_bits": 5}),
    ],
)
def test_training_has_the_distribution_of_chips_with_zero_points(
    encoding: str, array: dict[str, Any], converters: dict[str, Any]
) -> None:
    compare_with_chips(imported(), encoding, "paper", array, converters)


def imported() -> Network:
    """The convolution as integers of four bits, whose zero points differ between outputs, as those of inputs do."""
    random, network = np.random.default_rng(2), convolution()
    (node,) = network.nodes
    stored = Grid(np.full(3, 0.1, np.float32), np.array([1, 0, -3]), -8, 7, 4)
    quantization = LayerQuantization(Grid(np.float32(0.3), np.int64(2), -8, 7, 4), stored)
    constants = {**network.constants, "conv.weight": random.integers(-8, 8, (3, 4, 3, 3))}
    return replace(network, nodes=(replace(node, quantization=quantization),), constants=constants)


def compare_with_chips(
    network: Network, encoding: str, model: str, array: dict[str, Any], converters: dict[str, Any]
) -> None:
    """Compare the outputs of two inputs in training with those of chips."""
    shape = network.inputs[0].shape[1:]
    x = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    trainable = TrainableNetwork(network) if network.is_quantized else quantized(network, torch.from_numpy(x))
    policy = trainable.policy
    assert policy is not None
    ideal, hardware = accelerator(encoding, {}, {}), accelerator(encoding, array, converters)
    conditions = Conditions(elapsed_s=1000)
    program = compile_network(trainable.to_quantized_network(), ideal, model=MappingModel(model))
    chips = np.array([on_chip(program, seed, x, hardware, conditions) for seed in range(CHIPS)], dtype=np.float64)
    arrays = arrays_of_network(trainable.network, policy, ideal, MappingModel(model))
    noise = ArrayNoise(hardware, arrays, conditions=conditions, renewal=RangeRenewal(RULE, steps=1), method="tiles")
    generator = torch.Generator().manual_seed(1)
    trainable.train()
    draws = []
    with noise.on(trainable), torch.no_grad():
        for _ in range(CHIPS):
            noise.redraw(generator)
            draws.append(trainable(torch.from_numpy(x)).numpy().reshape(-1))
    drawn = np.array(draws, dtype=np.float64)
    assert drawn.std(axis=0).min() > 0
    scores = (drawn.mean(0) - chips.mean(0)) / np.sqrt((drawn.var(0) + chips.var(0)) / CHIPS)
    assert np.abs(scores).max() < 5
    # Outputs share errors: their log-variances vary together, by sqrt(4 / CHIPS) = 0.25, more where stuck cells count.
    assert abs(np.log(drawn.var(0) / chips.var(0)).mean()) < 0.5
