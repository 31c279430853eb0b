"""Histograms of conductances against the distributions of the device, bin by bin, for every level."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from mho.array.conductances import Conditions, Device, age_cells, draw_identity, write_cells
from mho.array.seeds import CrossbarSeed
from mho.hardware.array import Array
from mho.hardware.write_verify import WriteVerify

SHAPE = (150, 200)
SEED = CrossbarSeed(21)
BINS = np.linspace(-3.2, 3.2, 33)
"""In standard deviations; two more bins take the tails."""

Cumulative = Callable[[np.ndarray], np.ndarray]


def normal(values: np.ndarray) -> np.ndarray:
    """Return the cumulative distribution of a standard normal number."""
    return torch.special.ndtr(torch.from_numpy(np.asarray(values, dtype=np.float64))).numpy()


def chi_square(values: np.ndarray, cumulative: Cumulative, edges: Sequence[float]) -> float:
    """Return by how many standard deviations chi-square is above its mean, of the counts in bins (edge, next edge]."""
    inner = np.asarray(edges, dtype=np.float64)
    bins = np.searchsorted(inner, values.ravel(), side="left")
    found = np.bincount(bins, minlength=len(inner) + 1)
    wanted = values.size * np.diff(np.concatenate([[0.0], cumulative(inner), [1.0]]))
    assert (wanted > 5).all(), "a bin is too rare to tell anything"
    freedom = len(inner)
    return float((((found - wanted) ** 2 / wanted).sum() - freedom) / math.sqrt(2 * freedom))


def assert_histogram(values: np.ndarray, cumulative: Cumulative, edges: Sequence[float]) -> None:
    assert abs(chi_square(values, cumulative, edges)) < 5


def device(cell_bits: int = 2, **values) -> Device:
    return Device(Array(**values), cell_bits)


def write(made: Device, level: int, number: int = 0) -> np.ndarray:
    identity = draw_identity(made, SHAPE, SEED)
    return write_cells(made, np.full(SHAPE, level), identity, SEED, number)


def test_a_histogram_tells_other_distributions_apart():
    """The same mean and deviation, but another shape; or a mean or deviation that is a little off."""
    draws = np.random.default_rng(0)
    assert_histogram(draws.standard_normal(SHAPE), normal, BINS)
    assert chi_square(draws.uniform(-math.sqrt(3), math.sqrt(3), SHAPE), normal, BINS) > 100
    assert chi_square(1.04 * draws.standard_normal(SHAPE), normal, BINS) > 5
    assert chi_square(0.05 + draws.standard_normal(SHAPE), normal, BINS) > 5


@pytest.mark.parametrize("cell_bits", [1, 2, 4])
@pytest.mark.parametrize("kind", ["range", "conductance"])
def test_errors_of_writes_are_gaussian_at_every_level(cell_bits, kind):
    made = device(cell_bits, programming_error=0.04, programming_error_of=kind, on_off_ratio=1.5)
    for level in range(1 << cell_bits):
        std = 0.04 * (made.span if kind == "range" else level + made.off_steps)
        assert_histogram((write(made, level, level) - level) / std, normal, BINS)


def test_levels_and_errors_may_be_given_one_by_one():
    levels, errors = (0, 0.2, 0.7, 1), (0, 0.02, 0.03, 0.04)
    made = device(levels=levels, programming_error=errors, on_off_ratio=2)
    assert (write(made, 0) == 0).all()
    for level in range(1, 4):
        assert_histogram((write(made, level, level) - 3 * levels[level]) / (3 * errors[level]), normal, BINS)


def test_what_would_be_below_zero_is_zero():
    """The first bin holds all that is cut off: half of a level that does not conduct."""
    edges = np.linspace(0, 3, 25)
    assert_histogram(write(device(programming_error=0.1), 0) / 0.3, normal, edges)
    assert_histogram(write(device(programming_error=0.4), 1) / 1.2, lambda x: normal(x - 1 / 1.2), edges)
    assert write(device(programming_error=1, on_off_ratio=2), 0).min() == -3  # the lowest level conducts


@pytest.mark.parametrize("level", [0, 3])
def test_variation_is_log_normal_of_mean_one_and_stays_over_writes(level):
    made = device(cell_variation=0.2, on_off_ratio=4)
    assert (write(made, level) == write(made, level, 1)).all()
    factor = (write(made, level) + made.off_steps) / (level + made.off_steps)
    assert_histogram(np.log(factor), lambda x: normal((x + 0.02) / 0.2), 0.2 * BINS - 0.02)


def test_variation_and_the_error_of_the_write_add_up():
    """The sum of a log-normal and a Gaussian number: integrated over the first."""
    made = device(cell_variation=0.15, programming_error=0.05, on_off_ratio=2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    means = 5 * np.exp(0.15 * nodes - 0.15**2 / 2) - 3

    def cumulative(values):
        return normal((values[:, None] - means) / 0.15) @ (weights / weights.sum())

    assert_histogram(write(made, 2), cumulative, 2 + 0.75 * np.linspace(-2.5, 3, 28))


def test_pulses_leave_what_their_budget_says():
    """Of each pulse what lies within the tolerance, of the last one all."""
    made = device(pulse_error=0.05, pulse_error_ratio=0.8, verify_tolerance=0.03, verify_pulses=3, on_off_ratio=2)
    budget = WriteVerify.of(made.array)
    tolerance = budget.tolerance

    def cumulative(values):
        total = np.zeros(values.shape)
        for pulse, (before, std) in enumerate(zip(budget.shares_left[:-1], budget.deviations, strict=True)):
            is_last = pulse == len(budget.deviations) - 1
            within = values if is_last else np.clip(values, -tolerance, tolerance)
            total += before * (normal(within / std) - (0 if is_last else normal(-tolerance / std)))
        return total

    errors = (write(made, 1) - 1) / made.span
    assert_histogram(errors, cumulative, np.linspace(-0.06, 0.06, 41))


def test_cells_are_stuck_in_the_end_levels_and_else_as_written():
    values = write(device(stuck_on_rate=0.02, stuck_off_rate=0.05), 2)
    shares = {0: 0.05, 2: 0.93, 3: 0.02}
    assert set(np.unique(values)) == set(shares)
    assert_histogram(values, lambda x: np.array([sum(shares[v] for v in shares if v <= edge) for edge in x]), [0, 2])


def test_conductances_after_drift_have_the_exponents_of_the_device():
    """A sixth of the exponents would be negative, and are zero: those cells stay."""
    made = device(drift_exponent=0.02, drift_exponent_std=0.02, drift_reference_s=10, on_off_ratio=3)
    identity, counts = draw_identity(made, SHAPE, SEED), write(made, 2)
    for at_once in (Conditions(), Conditions(10)):
        assert (age_cells(made, counts, identity, at_once) == counts).all()
    later = age_cells(made, counts, identity, Conditions(1e5))
    exponents = -np.log((later + made.off_steps) / (counts + made.off_steps)) / math.log(1e4)
    edges = 0.02 * np.linspace(0.05, 4, 30)
    assert_histogram(exponents, lambda x: normal((x - 0.02) / 0.02), edges)
    assert abs((later == counts).mean() - float(normal(np.array(-1.0)))) < 0.01


def test_aged_cells_with_errors_of_writes_are_what_both_make_of_them():
    """One exponent for all: conductances are Gaussian ones times a factor."""
    made = device(3, drift_exponent=0.05, programming_error=0.02, on_off_ratio=2)
    counts = age_cells(made, write(made, 5), draw_identity(made, SHAPE, SEED), Conditions(1e4))
    shrunk = (1e4 / float(made.array.drift_reference_s)) ** -0.05
    whole = (counts + made.off_steps) / shrunk - made.off_steps
    assert_histogram((whole - 5) / (0.02 * 7), normal, BINS)
