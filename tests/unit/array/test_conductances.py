"""Cells: what stays from write to write, what ages them, and what is refused; distributions are in test_histograms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mho.array.conductances import (
    BOLTZMANN_EV_PER_K,
    CellIdentity,
    Conditions,
    Device,
    age_cells,
    draw_identity,
    write_cells,
)
from mho.array.seeds import CrossbarSeed
from mho.errors import ConfigError
from mho.hardware.array import Array
from mho.hardware.write_verify import WriteVerify

SHAPE = (200, 300)
COUNT = 200 * 300
SEED = CrossbarSeed(7)
ERRORS = 4


def device(cell_bits=2, **values):
    return Device(Array(**values), cell_bits)


def write(made, digits, seed=SEED, number=0):
    identity = draw_identity(made, digits.shape, seed)
    return write_cells(made, digits, identity, seed, number)


def filled(level):
    return np.full(SHAPE, level)


def assert_mean(values, mean, std):
    assert abs(values.mean() - mean) < ERRORS * std / math.sqrt(values.size)


def test_ideal_cells_hold_their_digits():
    digits = np.arange(16).reshape(4, 4)
    counts = write(device(4, on_off_ratio=7), digits)
    assert (counts == digits).all()
    ideal = CellIdentity(None, None, None)
    assert (age_cells(device(4), counts, ideal, Conditions(1e6, 400, 10**9)) == digits).all()


def test_given_levels_are_parts_of_the_range():
    assert write(device(levels=(0, 0.25, 0.5, 1)), np.array([[0, 1, 2, 3]])).tolist() == [[0, 0.75, 1.5, 3]]


def test_siemens_reach_from_the_lowest_to_the_highest_level():
    made = device(lrs_siemens=1e-4, on_off_ratio=5)
    siemens = made.to_siemens(made.levels)
    np.testing.assert_allclose(siemens, [2e-5, 2e-5 + 8e-5 / 3, 2e-5 + 16e-5 / 3, 1e-4], rtol=1e-12)
    np.testing.assert_allclose(made.from_siemens(siemens), [0, 1, 2, 3], atol=1e-12)
    with pytest.raises(ConfigError, match="lrs_siemens"):
        device().to_siemens(made.levels)


def test_errors_are_new_with_every_write():
    made = device(programming_error=0.05, on_off_ratio=2)
    first, again, second = (write(made, filled(1), number=number) for number in (0, 0, 1))
    assert (first == again).all()
    correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert abs(correlation) < ERRORS / math.sqrt(COUNT)


PULSES = {"pulse_error": 0.05, "verify_tolerance": 0.02, "verify_pulses": 6, "on_off_ratio": 2}


def test_pulses_may_be_a_part_of_the_conductance():
    made = device(**PULSES, programming_error_of="conductance")
    low, high = ((write(made, filled(level)) - level) / (level + made.off_steps) for level in (0, 3))
    np.testing.assert_allclose(low, high, atol=1e-12)
    assert_mean(low**2, WriteVerify.of(made.array).variance, (low**2).std())


def test_cells_that_a_smaller_budget_has_done_stay_as_they_are_with_a_larger_one():
    few, many = (write(device(**PULSES | {"verify_pulses": count}), filled(1)) - 1 for count in (2, 5))
    was_done = np.abs(few) <= 0.06
    assert (few[was_done] == many[was_done]).all()
    assert (few[~was_done] != many[~was_done]).all()


def test_what_comes_after_verification_is_drawn_as_without_pulses():
    """`programming_error` adds what it adds alone, to the last bits."""
    alone = write(device(programming_error=0.03, on_off_ratio=2), filled(1))
    pulses = write(device(**PULSES), filled(1))
    both = write(device(**PULSES, programming_error=0.03), filled(1))
    np.testing.assert_allclose(both, alone + pulses - 1, atol=1e-12)


def test_pulses_are_new_with_every_write():
    made = device(**PULSES)
    first, again, second = (write(made, filled(1), number=number) for number in (0, 0, 1))
    assert (first == again).all()
    assert (first != second).mean() > 0.9


def test_the_same_cells_are_stuck_whatever_is_written():
    made = device(stuck_on_rate=0.02, stuck_off_rate=0.05)
    ones, twos = write(made, filled(1)), write(made, filled(2), number=5)
    assert ((ones == 3) == (twos == 3)).all()
    assert ((ones == 0) == (twos == 0)).all()


def test_cells_that_are_stuck_at_a_rate_are_stuck_at_every_higher_one():
    few, many = (write(device(stuck_on_rate=rate, stuck_off_rate=rate), filled(1)) for rate in (0.01, 0.1))
    assert (many[few != 1] == few[few != 1]).all()


def test_faults_are_the_same_whether_or_not_cells_vary():
    plain, varied = (write(device(stuck_on_rate=0.1, **more), filled(1)) for more in ({}, {"cell_variation": 0.1}))
    assert ((plain == 3) == (varied == 3)).all()


def test_warmth_lets_time_run_faster_by_the_arrhenius_factor():
    made = device(drift_exponent=0.1, drift_activation_ev=0.3, drift_reference_k=300)
    counts = write(made, filled(3))
    identity = draw_identity(made, SHAPE, SEED)
    faster = math.exp(0.3 / BOLTZMANN_EV_PER_K * (1 / 300 - 1 / 350))
    assert faster == pytest.approx(5.25, rel=0.01)
    warm = age_cells(made, counts, identity, Conditions(100, 350))
    np.testing.assert_allclose(warm, age_cells(made, counts, identity, Conditions(100 * faster)), rtol=1e-12)
    cold = age_cells(made, counts, identity, Conditions(100, 100))
    assert (cold == counts).all()
    assert (warm < age_cells(made, counts, identity, Conditions(100, 300))).all()


def test_warmth_alone_changes_nothing_without_an_activation_energy():
    made = device(drift_exponent=0.1)
    counts, identity = write(made, filled(3)), draw_identity(made, SHAPE, SEED)
    hot, cool = (age_cells(made, counts, identity, Conditions(100, kelvins)) for kelvins in (400, 300))
    assert (hot == cool).all()


@pytest.mark.parametrize(("towards", "end"), [("lrs", 3), ("hrs", 0)])
def test_reads_push_cells_towards_an_end(towards, end):
    made = device(read_disturb_reads=1000, read_disturb_towards=towards)
    ideal = CellIdentity(None, None, None)
    counts = np.array([[0.0, 1.0, 2.0, 3.0]])
    after = age_cells(made, counts, ideal, Conditions(reads=1000))
    np.testing.assert_allclose(after - end, (counts - end) / math.e, atol=1e-12)
    twice = age_cells(made, after, ideal, Conditions(reads=500))
    np.testing.assert_allclose(twice, age_cells(made, counts, ideal, Conditions(reads=1500)), rtol=1e-12)


def test_stuck_cells_do_not_age():
    made = device(stuck_on_rate=0.5, drift_exponent=0.2, read_disturb_reads=10, read_disturb_towards="hrs")
    identity = draw_identity(made, SHAPE, SEED)
    counts = write(made, filled(1))
    aged = age_cells(made, counts, identity, Conditions(1e5, reads=5))
    assert (aged[identity.stuck == 1] == 3).all()
    assert (aged[identity.stuck == 0] < 1).all()


@pytest.mark.parametrize("digits", [np.array([[4]]), np.array([[-1]])])
def test_digits_without_a_level_are_errors(digits):
    with pytest.raises(ConfigError, match=r"0\.\.3"):
        write(device(), digits)


@pytest.mark.parametrize(
    "values",
    [{"elapsed_s": 0}, {"elapsed_s": math.inf}, {"temperature_k": -1}, {"temperature_k": math.nan}, {"reads": -1}],
)
def test_impossible_conditions_are_errors(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        Conditions(**values)


def test_a_time_before_drift_begins_is_an_error():
    made = device(drift_exponent=0.1, drift_reference_s=20)
    with pytest.raises(ConfigError, match="before"):
        age_cells(made, filled(1).astype(float), draw_identity(made, SHAPE, SEED), Conditions(19))


@given(
    drift=st.sampled_from([0, 0.1]),
    activation=st.sampled_from([None, 0.3]),
    disturbed=st.sampled_from(["never", 50]),
    elapsed_s=st.sampled_from([None, 20, 3e4]),
    kelvins=st.sampled_from([None, 250, 300, 380]),
    reads=st.sampled_from([0, 7]),
)
def test_conditions_without_effect_change_nothing_and_the_others_do(
    drift, activation, disturbed, elapsed_s, kelvins, reads
):
    made = device(
        drift_exponent=drift, drift_activation_ev=activation, read_disturb_reads=disturbed, drift_reference_s=20
    )
    identity, counts = draw_identity(made, (2, 3), SEED), np.full((2, 3), 2.0)
    given_conditions = Conditions(elapsed_s, kelvins, reads)
    assert not (given_conditions.effective_on(made.array).temperature_k == 250 and elapsed_s in (None, 20))
    effective = given_conditions.effective_on(made.array)
    assert (age_cells(made, counts, identity, given_conditions) == age_cells(made, counts, identity, effective)).all()
    for name in ("elapsed_s", "temperature_k", "reads"):
        # Cold beside a time may stop drift for good, so that either of both makes no difference.
        if getattr(effective, name) and not (name != "reads" and (effective.temperature_k or 300) < 300):
            left_out = replace(effective, **{name: getattr(Conditions(), name)})
            assert (age_cells(made, counts, identity, left_out) != age_cells(made, counts, identity, effective)).all()


@pytest.mark.parametrize("reads", [-1, 1.5, math.nan, math.inf])
def test_reads_are_whole_numbers(reads):
    with pytest.raises(ConfigError, match="a whole number from 0"):
        Conditions(reads=reads)


def test_conditions_without_effect_are_named():
    made = device(drift_exponent=0.1, drift_activation_ev=0.3)
    assert Conditions(1, 250, 3).without_effect_on(made.array) == ("elapsed_s", "temperature_k", "reads")
    assert Conditions(1, 350).without_effect_on(made.array) == ()  # the time belongs to the temperature
    assert Conditions(50, 250).without_effect_on(made.array) == ()
