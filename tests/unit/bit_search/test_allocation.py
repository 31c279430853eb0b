"""Policies from samples alone: the least sum of measured divergences within a cost, proven by trying all policies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from cached_decoder import CachedDecoder
from chip_networks import make_chain
from small_spaces import ENERGY

import mho
from mho.bit_search import policy_costs
from mho.bit_search.divergences import Probe, measure_divergences
from mho.errors import ConfigError, MhoError
from mho.quantization.calibration import calibrate
from mho.quantization.joint_inputs import as_inputs
from mho.quantization.smoothing import smooth

HARDWARE = make_accelerator(rows=16, cols=16, cell_bits=2, dac_bits=2, crossbars=1, energy=ENERGY)
WIDTHS = ("2/8", "4/8", "8/8")
PLACES = 12


@pytest.fixture(scope="module")
def decoder():
    """A language model of whole sequences whose first layer's weights have a large outlier, and sequences."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = CachedDecoder(layers=1)
    with torch.no_grad():
        module.layers[0].up.weight.mul_(4.0)
    tokens = np.random.default_rng(0).integers(0, 29, (6, PLACES))
    network = mho.load_decoder(module, context=PLACES, block=PLACES)
    return network, mho.first_inputs(network, tokens)


def _divergence(network, inputs, layer, bits):
    """Mean Kullback-Leibler divergence of the probabilities of next tokens where one layer alone has integers."""
    trainable = mho.trainable(network, bits, inputs).eval()
    for name, module in trainable.mvm_modules.items():
        module.quantized = name == layer
    batch = as_inputs(network, inputs)
    with torch.no_grad():
        found = torch.log_softmax(trainable(batch)[0].double(), -1)
        with trainable.in_float():
            expected = torch.log_softmax(trainable(batch)[0].double(), -1)
    return float((expected.exp() * (expected - found)).sum(-1).mean())


def test_the_policy_of_a_language_model_is_the_best_of_all_within_the_crossbars(decoder):
    network, inputs = decoder
    pins = {name: "8/8" for name in network.layer_names if "proj" in name or "lm_head" in name}
    found = mho.allocate(network, HARDWARE, inputs, cost_budget=0.8, widths=WIDTHS, pins=pins)
    free = [name for name in network.layer_names if name not in pins]
    assert len(free) > 2
    assert set(found.divergences) == set(free)
    reference = mho.Policy.uniform(network.layer_names, "8/8")
    costs = policy_costs.make_costs(network, HARDWARE, found.objective, "best")
    assert found.reference_cost == costs.cost_of(reference)
    assert found.cost == costs.cost_of(found.policy) <= 0.8 * found.reference_cost
    sums = {}
    for widths in itertools.product(WIDTHS, repeat=len(free)):
        policy = reference.replace(dict(zip(free, widths, strict=True)))
        sums[policy] = sum(found.divergences[name][policy[name]] for name in free)
    within = {policy: total for policy, total in sums.items() if costs.cost_of(policy) <= 0.8 * found.reference_cost}
    assert 1 < len(within) < len(sums)
    assert found.divergence == pytest.approx(min(within.values()))
    assert sums[found.policy] == pytest.approx(found.divergence)


def test_divergences_are_those_of_answers_of_one_layer_alone(decoder):
    network, inputs = decoder
    name = network.layer_names[0]
    pins = dict.fromkeys(network.layer_names[1:], "8/8")
    found = mho.allocate(network, HARDWARE, inputs, cost_budget=1.0, widths=("3/8", "8/8"), pins=pins)
    assert [str(bits) for bits in found.divergences[name]] == ["3/8", "8/8"]
    for bits, measured in found.divergences[name].items():
        assert measured == pytest.approx(_divergence(network, inputs, name, bits), rel=1e-3)
    assert found.policy == mho.Policy.uniform(network.layer_names, "8/8")
    assert found.samples == 6


def test_a_smoothed_network_is_measured_where_it_will_be_smoothed(decoder):
    network, inputs = decoder
    found = [mho.allocate(network, HARDWARE, inputs, cost_budget=0.9, effort=effort) for effort in ("fast", "good")]
    assert found[0].divergences != found[1].divergences
    smoothed = smooth(network, mho.Policy.uniform(network.layer_names, "8/8"), as_inputs(network, inputs))
    again = mho.allocate(smoothed, HARDWARE, inputs, cost_budget=0.9)
    assert again.divergences == found[1].divergences


@pytest.mark.parametrize("objective", ["latency", "energy", "energy-delay"])
def test_costs_that_do_not_add_up_are_kept_too(objective):
    network = make_chain()
    inputs = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32)
    reports = []
    found = mho.allocate(
        network, HARDWARE, inputs, cost_budget=0.95, widths=("4/4", "8/4", "8/8"), objective=objective,
        task=mho.Task("regression"), probed_samples=7, on_progress=reports.append,
    )  # fmt: skip
    assert found.share <= 0.95
    assert found.samples == 7
    assert set(found.counts) <= {mho.BitWidths(4, 4), mho.BitWidths(8, 4), mho.BitWidths(8, 8)}
    assert reports[-1].is_finished
    assert reports[-1].fraction == 1.0


def test_probed_samples_are_spread_over_all(decoder):
    network, inputs = decoder
    found = mho.allocate(network, HARDWARE, inputs, cost_budget=1.0, probed_samples=3)
    trainable = mho.trainable(network)
    batch = as_inputs(network, inputs)
    trainable.set_calibration(calibrate(trainable, batch))
    name, bits = network.layer_names[0], mho.BitWidths(4, 8)
    divergence = measure_divergences(
        trainable, [batch[torch.tensor([0, 2, 4])]], [Probe(name, bits)], mho.Task("language-modelling"),
        reference=None, samples=3,
    )  # fmt: skip
    assert found.divergences[name][bits] == pytest.approx(float(divergence[0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost_budget": 0.1}, "the cheapest policy costs"),
        ({"cost_budget": 1.5}, "above 0 and at most 1"),
        ({"widths": ["4/8"]}, "two or more"),
        ({"widths": "4/8"}, "a list of pairs"),
        ({"widths": ["4/8", "16/8"]}, r"1\.\.8"),
        ({"widths": ["4/8/5", "8/8"]}, r"1\.\.8"),
        ({"pins": {"frist": "8/8"}}, "frist"),
        ({"objective": "speed"}, "objective is 'speed'"),
        ({"task": None}, "name the task"),
        ({"probed_samples": 0}, "1 or more"),
    ],
)
def test_what_cannot_be_allocated_is_refused(change, message):
    given = {"cost_budget": 0.9, "task": mho.Task("regression"), **change}
    with pytest.raises(MhoError, match=message):
        mho.allocate(make_chain(), HARDWARE, np.zeros((2, 1, 6, 6), np.float32), **given)


def test_a_quantized_network_is_refused():
    samples = np.random.default_rng(0).normal(size=(4, 1, 6, 6)).astype(np.float32)
    with pytest.raises(ConfigError, match="quantized"):
        mho.allocate(mho.quantize(make_chain(), "8/8", samples), HARDWARE, samples, cost_budget=0.9)
