"""Each operation on integers against exact rational arithmetic: its own formula, and the function it stands for."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mho.arithmetic.fixed_point import to_fixed_point
from mho.arithmetic.kernels.integers import integer_root, rounding_shift
from mho.arithmetic.operations import OPERATIONS
from mho.arithmetic.shapes import ShapeError
from mho.errors import DataError

LIMITS = {"low": -(1 << 15), "high": (1 << 15) - 1}


def _tensor(*shape: int, low: int = -300, high: int = 300, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.float32))


def _run(op: str, *operands: Tensor, **attributes: Any) -> Tensor:
    result = OPERATIONS[op].run(operands, attributes)
    assert result.dtype == torch.float32
    return result


def _rounded(value: Fraction, low: int = LIMITS["low"], high: int = LIMITS["high"]) -> int:
    """Round to nearest, half up, and clip."""
    return min(max(math.floor(value + Fraction(1, 2)), low), high)


def test_a_shift_rounds_to_nearest_and_half_up() -> None:
    for shift in (0, 1, 5, 40):
        values = [*range(-40, 41), -(1 << 62), (1 << 62) - 1, *(k << max(0, shift - 1) for k in range(-5, 6))]
        found = rounding_shift(torch.tensor(values), shift).tolist()
        assert found == [math.floor(Fraction(value, 1 << shift) + Fraction(1, 2)) for value in values]


def test_roots_are_exact() -> None:
    random = np.random.default_rng(0)
    roots = [0, 1, 2, 3, (1 << 31) - 1, *random.integers(0, 1 << 31, 500).tolist()]
    values = [value for root in roots for value in (root**2 - 1, root**2, root**2 + 1) if 0 <= value <= 1 << 62]
    assert integer_root(torch.tensor(values)).tolist() == [math.isqrt(value) for value in values]


def test_scaling_adds_and_multiplies_exactly_and_rounds_once() -> None:
    x, y = _tensor(2, 1, 3, 4), _tensor(2, 1, 3, 4, seed=1)
    multiplier = torch.tensor([[5], [-(2**31 - 1)], [12345]], dtype=torch.int32)
    offset = torch.tensor([[1 << 50], [3], [-77]], dtype=torch.int64)
    found = _run("int_scale", x, multiplier, offset, shift=22, **LIMITS)
    added = _run("int_add", x, y, multipliers=(2**30, -(2**31 - 1)), shift=29, **LIMITS)
    product = _run("int_mul", x, y, multiplier=-987654321, shift=33, **LIMITS)
    for index in np.ndindex(2, 1, 3, 4):
        a, b, row = int(x[index]), int(y[index]), index[2]
        scaled = Fraction(a * int(multiplier[row, 0]) + int(offset[row, 0]), 1 << 22)
        assert found[index] == _rounded(scaled)
        assert added[index] == _rounded(Fraction(a * 2**30 - b * (2**31 - 1), 1 << 29))
        assert product[index] == _rounded(Fraction(-a * b * 987654321, 1 << 33))


@pytest.mark.parametrize(("multiplier", "shift"), [(2**31 - 1, 24), (-987654321, 30), (7, 0), (3, 1), (0, 5)])
def test_a_division_rounds_once_and_ends_by_sign_where_the_divisor_is_0(multiplier: int, shift: int) -> None:
    x, y = _tensor(40, 1, 3, 4), _tensor(40, 1, 3, 4, low=-7, high=7, seed=1)
    x[0, 0, 0], y[0, 0, 0] = torch.tensor([0.0, -0.0, 5.0, -5.0]), 0
    found = _run("int_div", x, y, multiplier=multiplier, shift=shift, **LIMITS)
    assert found[0, 0, 0].tolist() == [0, 0, LIMITS["high"], LIMITS["low"]]
    for index in np.ndindex(40, 1, 3, 4):
        a, b = int(x[index]), int(y[index])
        if b:
            assert found[index] == _rounded(Fraction(a * multiplier, b << shift))


def test_a_table_is_looked_up() -> None:
    table = torch.arange(100, 110, dtype=torch.int32) ** 2
    assert _run("int_table", torch.tensor([[-3.0, 0.0, 6.0]]), table, first=-3).tolist() == [[10000, 10609, 11881]]


def test_sums_and_means_are_those_of_whole_numbers() -> None:
    x = _tensor(2, 1, 2, 5, 4)
    windows = {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 0, 0, 1), "dilations": (1, 2), "ceil_mode": 0}
    floats = OPERATIONS["average_pool"].run([x], {**windows, "count_include_pad": 1})
    fixed = to_fixed_point(1 / 6, 6 * 300)
    assert fixed is not None
    multiplier = torch.from_numpy(fixed.multipliers.reshape(1, 1))
    pooled = _run("int_average_pool", x, multiplier, **windows, count_include_pad=1, shift=fixed.shift, **LIMITS)
    assert (pooled - floats).abs().max() <= 0.5001
    mean = _run("int_reduce_sum", x, axes=(2, 3), keepdims=0, multiplier=1 << 20, shift=22, **LIMITS)
    for index in np.ndindex(2, 1, 2):
        assert mean[index] == _rounded(Fraction(int(x[index].sum()), 4))
    assert mean.shape == (2, 1, 2)


@pytest.mark.parametrize("scale", [0.001, 0.03, 0.5])
def test_softmax_is_within_its_bound(scale: float) -> None:
    x = _tensor(3, 4, 50, low=-3000, high=3000)
    fine, coarse = (
        torch.from_numpy(np.rint(2**30 * np.exp(-scale * step * np.arange(256))).astype(np.int32)) for step in (1, 256)
    )
    fixed = to_fixed_point(1 / (2**30 * 2.0**-15), 2**30)
    assert fixed is not None
    found = _run("int_softmax", x, fine, coarse, axis=1, multiplier=int(fixed.multipliers), shift=fixed.shift, **LIMITS)
    true = (torch.softmax(x.double() * scale, dim=-1) * 2**15).clamp(max=LIMITS["high"])
    # Half a step of the result, and what powers of 30 fractional bits are off by: docs/integer-arithmetic.md.
    assert (found.double() - true).abs().max() <= 0.5 + 2**15 * (2 * 50 + 3) / 2**30


@pytest.mark.parametrize("reach", [1, 100, 30_000])
def test_layer_norm_is_within_its_bound(reach: int) -> None:
    x = _tensor(6, 3, 64, low=-reach, high=reach, seed=reach)
    x[0, 0] = 5
    scale, bias = np.random.default_rng(1).standard_normal((2, 64))
    step, epsilon = 2.0**-10, 4
    fixed = to_fixed_point(scale / (2**20 * step), 9 * 2**20, bias / step)
    assert fixed is not None
    operands = (torch.from_numpy(fixed.multipliers), torch.from_numpy(fixed.offsets))
    found = _run("int_layer_norm", x, *operands, axis=1, epsilon=epsilon, shift=fixed.shift, **LIMITS)
    true = torch.layer_norm(x.double(), (64,), torch.from_numpy(scale), torch.from_numpy(bias), epsilon / 64**2)
    true = (true / step).clamp(LIMITS["low"], LIMITS["high"])
    bound = 0.5 + np.abs(scale).max() / step * 0.6 / 2**20 + 1e-6
    assert (found.double() - true).abs().max() <= bound
    assert torch.equal(found[0, 0], torch.from_numpy(bias / step).round().float())


@pytest.mark.parametrize("reach", [1, 100, 30_000])
@pytest.mark.parametrize("epsilon", [0, 4, 12_345])
def test_rms_norm_is_within_its_bound(reach: int, epsilon: int) -> None:
    """Against x / sqrt(mean(x^2) + epsilon / N^2), whose root is exact to 2^-60."""
    x = _tensor(4, 2, 48, low=-reach, high=reach, seed=reach)
    x[0, 0] = 0
    scale, step = np.random.default_rng(1).standard_normal(48), Fraction(1, 1 << 10)
    fixed = to_fixed_point(scale / 2**20 * 2**10, 7 * 2**20)
    assert fixed is not None
    operands = (torch.from_numpy(fixed.multipliers), torch.from_numpy(fixed.offsets))
    found = _run("int_rms_norm", x, *operands, axis=1, epsilon=epsilon, shift=fixed.shift, **LIMITS)
    bound = Fraction(1, 2) + Fraction(float(np.abs(scale).max())) / step * Fraction(6, 10) / 2**20 + Fraction(1, 10**6)
    for index in np.ndindex(4, 2):
        row = [int(value) for value in x[index]]
        square = 48 * sum(value**2 for value in row) + epsilon
        root = Fraction(math.isqrt(square << 120), 1 << 60)
        for column, value in enumerate(row):
            true = 48 * value / root * Fraction(scale[column]) / step if square else Fraction(0)
            assert abs(int(found[*index, column]) - min(max(true, LIMITS["low"]), LIMITS["high"])) <= bound


def test_what_is_missing_stays_missing() -> None:
    x = _tensor(1, 1, 2, 3, 4)
    x[0, 0, 1, 0, 2] = math.nan
    one = torch.tensor(1, dtype=torch.int32)
    plain = _run("int_scale", x, one, one, shift=0, **LIMITS)
    assert plain.isnan().sum() == 1
    rows = _run("int_reduce_sum", x, axes=(3,), keepdims=1, multiplier=1, shift=0, **LIMITS)
    assert rows.isnan().reshape(-1).nonzero().reshape(-1).tolist() == [3]
    norm = _run("int_layer_norm", x, one, one, axis=3, epsilon=1, shift=0, **LIMITS)
    assert norm.isnan().sum() == 4
    table = torch.full((256,), 1 << 30, dtype=torch.int32)
    assert _run("int_softmax", x, table, table, axis=2, multiplier=1, shift=0, **LIMITS).isnan().sum() == 3
    pool = {"kernel": (2, 2), "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "ceil_mode": 0}
    windows = _run("int_average_pool", x, one, **pool, count_include_pad=0, shift=0, **LIMITS)
    assert windows.isnan().sum() == 2
    missing = torch.tensor([[1.0, math.nan, 0.0]])
    shares = _run("int_div", missing, missing.flip(-1), multiplier=1, shift=0, **LIMITS)
    assert shares.isnan().tolist() == [[False, True, False]]
    rows = _run("int_embed", torch.tensor([[1.0, math.nan]]), torch.tensor([[5, 6], [7, -8]], dtype=torch.int32))
    assert rows[0, 0].tolist() == [7, -8]
    assert rows[0, 1].isnan().all()


def test_an_index_names_a_row_and_one_outside_of_the_table_is_an_error() -> None:
    table = torch.tensor([[1, -2], [30_000, 4], [5, 6]], dtype=torch.int32)
    assert _run("int_embed", torch.tensor([[0.0, -1.0, 1.0, -3.0]]), table)[0].tolist() == [
        [1, -2], [5, 6], [30_000, 4], [1, -2],
    ]  # fmt: skip
    for index in (3.0, -4.0, float(1 << 20)):
        with pytest.raises(DataError, match="into a table of 3 rows"):
            _run("int_embed", torch.tensor([[0.0, index]]), table)


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("int_mul", {"multiplier": 1 << 31, "shift": 0, **LIMITS}),
        ("int_mul", {"multiplier": 1, "shift": 62, **LIMITS}),
        ("int_mul", {"multiplier": 1, "shift": 0, "low": 5, "high": 4}),
        ("int_add", {"multipliers": (1,), "shift": 0, **LIMITS}),
        ("int_add", {"multipliers": (1, -(1 << 31)), "shift": 0, **LIMITS}),
    ],
)
def test_attributes_beyond_their_limits_are_refused(op: str, attributes: dict[str, Any]) -> None:
    with pytest.raises(ShapeError):
        OPERATIONS[op].infer_shape([(1, 3), (1, 3)], attributes)
