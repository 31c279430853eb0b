"""Which operations on integers a network becomes, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from bits import assert_same_bits
from c_runtime import run_in_c
from network_builder import NetworkBuilder, attention, residual

import mho
from mho.arithmetic.operations import OPERATIONS
from mho.errors import DataError, MhoError, UnsupportedOperationError
from mho.network.graph import Network
from mho.network.integer_lowering import lower_to_integers
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.quantization.digital_grids import assign_digital_grids
from mho.quantization.ptq import quantize


def _quantized(network: Network, bits: BitWidths | None = None) -> tuple[Network, np.ndarray]:
    inputs = np.random.default_rng(0).standard_normal((40, *network.inputs[0].shape)).astype(np.float32)
    return quantize(network, Policy.uniform(network.layer_names, bits or BitWidths(8, 8)), inputs), inputs


def test_a_residual_network_takes_an_operation_for_the_sum_and_the_mean_alone() -> None:
    """Activations behind layers are limits of their rounding; what a layer alone reads lies on its grid."""
    quantized, inputs = _quantized(residual())
    network = assign_digital_grids(quantized, inputs)
    ops = [node.op for node in lower_to_integers(network).network.nodes]
    assert ops == [
        *("int_quantize", "conv", "int_scale", "conv", "int_add"), *("conv", "int_reduce_sum", "linear"),
        "int_dequantize",
    ]  # fmt: skip
    # Both operands of the sum, that of the mean, and the output.
    assert [node.op for node in network.nodes].count("fake_quantize") == 4


def test_attention_in_integers_is_near_its_floats() -> None:
    quantized, inputs = _quantized(attention())
    network = assign_digital_grids(quantized, inputs)
    lowered = lower_to_integers(network).network
    assert "int_softmax" in [node.op for node in lowered.nodes]
    (floats,), (integers,) = (run_quantized(one, inputs).values() for one in (quantized, lowered))
    assert np.abs(floats - integers).max() <= 0.02 * np.abs(floats).max()


def test_a_quantized_network_with_grids_is_not_given_others() -> None:
    quantized, inputs = _quantized(residual())
    network = assign_digital_grids(quantized, inputs)
    assert assign_digital_grids(network, 9 * inputs) is network


def test_a_tensor_without_a_grid_is_named() -> None:
    quantized, _ = _quantized(residual())
    with pytest.raises(UnsupportedOperationError, match=r"have no integers: .*stem.*(.|\n)*--arithmetic integer"):
        lower_to_integers(quantized)


def test_an_operation_without_an_integer_form_is_named() -> None:
    builder = NetworkBuilder((1, 4, 6))
    builder.linear(6, name="first")
    builder.add("log_softmax", axis=2, name="logarithms")
    quantized, inputs = _quantized(builder.build())
    network = assign_digital_grids(quantized, inputs)
    with pytest.raises(UnsupportedOperationError, match=r"logarithms.*log_softmax has no integer form"):
        lower_to_integers(network)


def test_a_quotient_of_tensors_is_near_its_floats_and_one_by_0_ends_at_the_range() -> None:
    """A softmax that a file takes apart, and a constant over its sum."""
    builder = NetworkBuilder((1, 4, 6))
    builder.linear(6, name="first")
    builder.constants["two"] = np.float32(2)
    powers = builder.add("exp")
    total = builder.add("reduce_sum", axes=(2,), keepdims=1)
    shares = builder.add("div", total, at=powers, name="quotient")
    quantized, inputs = _quantized(builder.build(shares, builder.add("div", total, at="two", name="turned")))
    network = assign_digital_grids(quantized, inputs)
    lowered = lower_to_integers(network)
    assert [node.op for node in lowered.network.nodes].count("int_div") == 2
    wanted, found = run_quantized(network, inputs), run_quantized(lowered.network, inputs)
    for name in wanted:  # exponentials come from a table of 10 bits
        assert np.abs(wanted[name] - found[name]).max() <= 0.02 * np.abs(wanted[name]).max()

    division = next(node for node in lowered.network.nodes if node.op == "int_div")
    ends = OPERATIONS["int_div"].run([torch.tensor([[3.0, -3.0, 0.0]]), torch.zeros(1, 3)], division.attributes)
    assert ends.tolist() == [[division.attributes["high"], division.attributes["low"], 0]]


def test_a_division_by_a_constant_0_is_named() -> None:
    builder = NetworkBuilder((1, 4, 6))
    builder.linear(6, name="first")
    builder.constants["zero"] = np.float32([1, 2, 0, 3, 4, 5])
    builder.add("div", "zero", name="quotient")
    quantized, inputs = _quantized(builder.build())
    with pytest.raises(DataError, match="NaN or infinite activations"):
        assign_digital_grids(quantized, inputs)


def test_a_float_network_and_impossible_bits_are_refused() -> None:
    network = residual()
    with pytest.raises(MhoError, match="quantize it first"):
        assign_digital_grids(network, np.zeros((2, 1, 3, 8, 8), np.float32))
    quantized, inputs = _quantized(network)
    with pytest.raises(MhoError, match="8 to 16"):
        assign_digital_grids(quantized, inputs, bits=17)


def test_a_choice_by_a_computed_mask_is_named() -> None:
    builder = NetworkBuilder((1, 4, 6))
    builder.linear(6, name="first")
    mask = builder.add("less", "input", name="smaller")
    builder.add("where", "first_out", mask, at="input", name="choice")
    builder.linear(6, name="second")
    quantized, inputs = _quantized(builder.build())
    with pytest.raises(UnsupportedOperationError, match=r"smaller.*has no integer form"):
        lower_to_integers(assign_digital_grids(quantized, inputs))


class _RmsNorm(torch.nn.Module):
    """As exporters take it apart, in one of the forms in which it is written."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.last = form, torch.nn.Linear(12, 5)
        self.weight = torch.nn.Parameter(torch.linspace(0.5, 2, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.form == "rsqrt":
            y = self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))
        elif self.form == "div":
            y = x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.weight
        elif self.form == "unscaled":
            y = x * (x.pow(2).mean(-1, keepdim=True) + 1e-5).pow(-0.5)
        else:  # the mean is read elsewhere
            mean = x.pow(2).mean(-1, keepdim=True)
            y = x * torch.rsqrt(mean + 1e-5) + mean
        return self.last(y)


@pytest.mark.parametrize("form", ["rsqrt", "div", "unscaled"])
def test_an_rms_norm_in_any_form_is_one_operation_and_the_same_in_every_engine_and_in_c(form: str) -> None:
    torch.manual_seed(0)
    network = mho.load(_RmsNorm(form), torch.zeros(1, 3, 12))
    inputs = np.random.default_rng(0).standard_normal((20, 3, 12)).astype(np.float32)
    quantized = mho.quantize(network, "8/8", inputs)
    digital = assign_digital_grids(quantized, inputs)
    ops = [node.op for node in lower_to_integers(digital).network.nodes]
    assert ops == ["int_quantize", "int_rms_norm", "linear", "int_dequantize"]
    expected = run_quantized(lower_to_integers(digital).network, inputs)
    (floats,) = run_quantized(quantized, inputs).values()
    assert np.abs(next(iter(expected.values())) - floats).max() <= 0.02 * np.abs(floats).max()
    program = mho.compile(digital, make_accelerator(16, 16, 2, 2, digital={"arithmetic": "integer"}))
    assert_same_bits(mho.simulate(program, inputs), expected)
    assert_same_bits(mho.simulate(program, inputs[:2], engine="interpreter"), {k: v[:2] for k, v in expected.items()})
    assert_same_bits(run_in_c(program, {program.inputs[0]: inputs}), expected)


def test_an_rms_norm_of_which_a_part_is_read_elsewhere_is_computed_step_by_step() -> None:
    torch.manual_seed(0)
    network = mho.load(_RmsNorm("shared"), torch.zeros(1, 3, 12))
    inputs = np.random.default_rng(0).standard_normal((20, 3, 12)).astype(np.float32)
    digital = assign_digital_grids(mho.quantize(network, "8/8", inputs), inputs)
    ops = [node.op for node in lower_to_integers(digital).network.nodes]
    assert "int_rms_norm" not in ops
    assert ops.count("int_reduce_sum") == 1
