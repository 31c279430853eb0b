"""`mho.compare`: one network on several accelerators, from Python."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_residual
from small_programs import grid, linear_network

import mho
from mho.hardware.loading import list_presets
from mho.scheduling.regime import Regime

ONE = make_accelerator(rows=16, cols=16)


@pytest.fixture(scope="module")
def network():
    return make_residual()


def test_what_is_asked_for_reaches_the_comparison(network):
    found = mho.compare(network, [ONE, "clsa-256"], "4/6", crossbars=5, mapping="paper", batch=2, simulate=False)
    assert [line.accelerator for line in found.accelerators] == ["test", "clsa-256"]
    assert [line.run.crossbars for line in found.accelerators] == [5, 5]
    assert [line.run.regime for line in found.accelerators] == [Regime.TIME_MULTIPLEXED, Regime.WEIGHT_STATIONARY]
    assert {(layer.weight_bits, layer.act_bits) for layer in found.layers} == {(4, 6)}
    assert (found.mapping, found.batch, found.network) == ("paper", 2, network.name)


def test_one_crossbar_takes_what_mho_cost_says(network):
    (line,) = mho.compare(network, [ONE]).accelerators
    assert line.run.latency_us == mho.cost(network, ONE).latency_ps / 1e6


def test_every_preset_runs_a_network(network):
    """By `mho.cost` where it has one crossbar, by `mho.schedule` where it has several."""
    document = mho.compare(network, list_presets(), "4/4")
    assert [line.problem for line in document.accelerators] == [None] * len(list_presets())
    for line in document.accelerators:
        is_one = mho.accelerator(line.accelerator).chip.crossbars == 1
        assert line.run.regime is (Regime.ONE_CROSSBAR if is_one else Regime.WEIGHT_STATIONARY)
        assert 0 < line.run.interval_us <= line.run.latency_us
        assert line.run.energy_pj is None or line.run.energy_pj > 0


def test_samples_tell_accuracies():
    dense = linear_network(np.random.default_rng(3).integers(-8, 8, (6, 24)), grid(4), weight_bits=4)
    inputs = np.random.default_rng(4).uniform(0, 3.75, (40, 24)).astype(np.float32)
    labels = mho.simulate(mho.compile(dense, ONE), inputs)["y"].argmax(axis=1)
    stuck = make_accelerator(rows=16, cols=16, array={"stuck_on_rate": 0.5})
    ideal, broken = (line.run for line in mho.compare(dense, [ONE, stuck], samples=(inputs, labels)).accelerators)
    assert ideal.accuracy.mean == 1
    assert broken.accuracy.mean < 1
    assert {layer.weight_bits for layer in mho.compare(dense, [ONE]).layers} == {4}, "its own widths"


def test_what_is_asked_of_chips_reaches_them():
    dense = linear_network(np.random.default_rng(3).integers(-8, 8, (6, 24)), grid(4), weight_bits=4)
    inputs = np.random.default_rng(4).uniform(0, 3.75, (40, 24)).astype(np.float32)
    asked = {"samples": (inputs, np.arange(40) % 6), "seed": 2, "chips": 2, "elapsed_s": 9.0}
    found = mho.compare(dense, [ONE], calibration=inputs[:8], recalibrate=True, **asked)
    assert (found.seed, found.chips, found.elapsed_s) == (2, 2, 9)
    assert (found.calibration_samples, found.is_recalibrated) == (8, True)
    assert len(found.accelerators[0].run.aged_accuracy.right) == 2


def test_wrong_calls_are_explained(network):
    for asked in ({"chips": 2}, {"calibration": np.ones((3, 4))}, {"elapsed_s": 9.0}):
        with pytest.raises(mho.MhoError, match="chips are simulated on samples"):
            mho.compare(network, [ONE], **asked)
    with pytest.raises(mho.MhoError, match=r"mapping is 'bset'(.|\n)*did you mean 'best'"):
        mho.compare(network, [ONE], mapping="bset")  # type: ignore[arg-type]
    with pytest.raises(mho.MhoError, match="no accelerator 'isac'"):
        mho.compare(network, [ONE, "isac"])
    with pytest.raises(mho.MhoError, match="no accelerator to compare"):
        mho.compare(network, [])
