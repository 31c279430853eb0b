"""What the digital unit computes between layers, counted by hand for a small network, and what it takes."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from accelerators import make_accelerator
from network_builder import NetworkBuilder, attention

import mho
from mho.network.graph import Network
from mho.program.digital_work import DigitalWork, Work, count_digital_work
from mho.program.lowering import compile_network

PRICES = {"float_multiply_pj": 4, "float_add_pj": 1, "integer_multiply_pj": 3, "integer_add_pj": 0.5}


def _count(network: Network, arithmetic: str, energy: dict[str, float] | None = None) -> DigitalWork:
    inputs = np.random.default_rng(0).standard_normal((40, *network.inputs[0].shape)).astype(np.float32)
    quantized = mho.quantize_digital(mho.quantize(network, "8/8", inputs), inputs)
    hardware = make_accelerator(64, 64, 4, 4, digital={"arithmetic": arithmetic}, energy=energy or {})
    return count_digital_work(compile_network(quantized, hardware))


def _gate() -> Network:
    """A layer of 24 numbers, their sigmoids, and the mean of 4 x 6 products of both."""
    builder = NetworkBuilder((1, 4, 6))
    made = builder.linear(6, bias=False, name="layer")
    builder.add("sigmoid", name="gate")
    builder.add("mul", made, name="product")
    builder.add("reduce_mean", axes=(1,), keepdims=0, name="mean")
    return builder.build()


def test_operations_are_those_of_the_instructions() -> None:
    integers = dict(_count(_gate(), "integer").integers)
    assert integers == {
        "input.integers: int_quantize": Work(0, 24, 24),
        "input.integers: quantize": Work(0, 24, 0),
        "layer_out: requantize": Work(24, 48, 0),
        "layer_out.rescaled.integers: int_scale": Work(24, 48, 0),
        "gate_out: int_table": Work(0, 24, 24),
        "product_out: int_mul": Work(48, 24, 0),
        "mean_out.exact: int_reduce_sum": Work(6, 30, 0),
    }
    floats = dict(_count(_gate(), "float32").floats)
    assert floats["layer_out: dequantize"] == Work(24, 24, 0)  # a bias that corrects what rounding shifts
    assert floats["gate_out: sigmoid"] == Work(0, 0, 24)
    assert floats["product_out: mul"] == Work(24, 0, 0)


def test_a_look_up_of_rows_takes_no_operation_and_a_division_three() -> None:
    builder = NetworkBuilder((1, 4))
    builder.add("embed", builder.constant("table", 9, 6), name="rows")
    rows = builder.linear(6, name="layer")
    builder.add("exp", name="powers")
    builder.add("div", rows, name="shares")
    network = builder.build()
    inputs = np.random.default_rng(0).integers(0, 9, (8, 1, 4)).astype(np.float32)
    quantized = mho.quantize_digital(mho.quantize(network, "8/8", inputs), inputs)
    hardware = make_accelerator(64, 64, 4, 4, digital={"arithmetic": "integer"})
    integers = dict(count_digital_work(compile_network(quantized, hardware)).integers)
    assert "rows_out: int_embed" not in integers
    assert integers["shares_out.exact: int_div"] == Work(24, 24, 24)


@pytest.mark.parametrize("arithmetic", ["float32", "integer"])
def test_energy_is_that_of_the_operations_and_unspecified_without_prices(arithmetic: str) -> None:
    work = _count(attention(), arithmetic, PRICES)
    floats, integers = work.float_total, work.integer_total
    expected = 4 * floats.multiplications + floats.additions + 3 * integers.multiplications
    assert work.energy_pj == expected + Decimal("0.5") * integers.additions
    assert (integers == Work()) == (arithmetic == "float32")
    assert work.time_us is None
    without = _count(attention(), arithmetic)
    assert without.energy_pj is None
    assert len(without.table().rows) == len(work.floats) + len(work.integers)
