"""Policies from divergences: the least sum within a cost, proven by trying all policies."""

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
from mho.errors import ConfigError, MhoError

HARDWARE = make_accelerator(rows=16, cols=16, cell_bits=2, dac_bits=2, crossbars=1, energy=ENERGY)
WIDTHS = ("2/8", "4/8", "8/8")
PLACES = 12


@pytest.fixture(scope="module")
def decoder():
    """A language model of whole sequences, sequences, and which layers may have fewer bits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = CachedDecoder(layers=1)
    tokens = np.random.default_rng(0).integers(0, 29, (6, PLACES))
    network = mho.load_decoder(module, context=PLACES, block=PLACES)
    free = [name for name in network.layer_names if "proj" not in name and "lm_head" not in name]
    return network, mho.first_inputs(network, tokens), free


def _sums(network, measured, free):
    """The sum of divergences of all policies, where layers that are not free have 8/8."""
    reference, sums = mho.Policy.uniform(network.layer_names, "8/8"), {}
    for widths in itertools.product(WIDTHS, repeat=len(free)):
        policy = reference.replace(dict(zip(free, widths, strict=True)))
        sums[policy] = sum(measured.layers[name][policy[name]] for name in free)
    return sums


def test_one_measurement_gives_the_best_of_all_policies_within_each_budget(decoder):
    network, inputs, free = decoder
    assert len(free) > 2
    measured = mho.measure_divergences(network, inputs, widths=WIDTHS, layers=free)
    assert list(measured.layers) == free
    pins = {name: "8/8" for name in network.layer_names if name not in free}
    sums = _sums(network, measured, free)
    found = {}
    for budget in (0.75, 0.85):
        found[budget] = mho.allocate(network, HARDWARE, measured, cost_budget=budget, pins=pins)
        costs = policy_costs.make_costs(network, HARDWARE, found[budget].objective, "best")
        reference = costs.cost_of(mho.Policy.uniform(network.layer_names, "8/8"))
        assert found[budget].reference_cost == reference
        assert found[budget].cost == costs.cost_of(found[budget].policy) <= budget * reference
        within = [total for policy, total in sums.items() if costs.cost_of(policy) <= budget * reference]
        assert 1 < len(within) < len(sums)
        assert found[budget].divergence == pytest.approx(min(within))
        assert sums[found[budget].policy] == pytest.approx(found[budget].divergence)
    assert found[0.75].divergence > found[0.85].divergence


@pytest.mark.parametrize("objective", ["latency", "energy", "energy-delay"])
def test_costs_that_do_not_add_up_are_kept_too(objective):
    network = make_chain()
    inputs = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32)
    measured = mho.measure_divergences(network, inputs, widths=("4/4", "8/4", "8/8"), task=mho.Task("regression"))
    found = mho.allocate(network, HARDWARE, measured, cost_budget=0.95, objective=objective)
    assert found.share <= 0.95
    assert set(found.counts) <= {mho.BitWidths(4, 4), mho.BitWidths(8, 4), mho.BitWidths(8, 8)}


def _divergences(network, **changes):
    layers = {name: {mho.BitWidths(4, 8): 0.5, mho.BitWidths(8, 8): 0.125} for name in network.layer_names}
    return mho.LayerDivergences({**layers, **changes}, 3, "fast")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost_budget": 0.1}, "the cheapest policy costs"),
        ({"cost_budget": 1.5}, "above 0 and at most 1"),
        ({"pins": {"frist": "8/8"}}, "frist"),
        ({"pins": {"first": "16/8"}}, r"1\.\.8"),
        ({"pins": ["first"]}, "widths by layer"),
        ({"objective": "speed"}, "objective is 'speed'"),
    ],
)
def test_what_cannot_be_allocated_is_refused(change, message):
    network = make_chain()
    change = {
        key: {network.layer_names[0] if name == "first" else name: bits for name, bits in value.items()}
        if isinstance(value, dict) else value
        for key, value in change.items()
    }  # fmt: skip
    with pytest.raises(MhoError, match=message):
        mho.allocate(network, HARDWARE, _divergences(network), **{"cost_budget": 0.9, **change})


def test_divergences_of_other_layers_are_refused_and_those_that_lack_need_a_pin():
    network = make_chain()
    first = network.layer_names[0]
    strange = _divergences(network, strange={mho.BitWidths(4, 8): 0.5, mho.BitWidths(8, 8): 0.125})
    with pytest.raises(ConfigError, match="strange"):
        mho.allocate(network, HARDWARE, strange, cost_budget=0.9)
    layers = {name: own for name, own in _divergences(network).layers.items() if name != first}
    lacking = mho.LayerDivergences(layers, 3, "fast")
    with pytest.raises(ConfigError, match="neither divergences nor a pin"):
        mho.allocate(network, HARDWARE, lacking, cost_budget=1.0)
    assert mho.allocate(network, HARDWARE, lacking, cost_budget=1.0, pins={first: "8/8"}).policy[first].act_bits == 8


def test_a_quantized_network_is_refused():
    samples = np.random.default_rng(0).normal(size=(4, 1, 6, 6)).astype(np.float32)
    network = make_chain()
    with pytest.raises(ConfigError, match="quantized"):
        mho.allocate(mho.quantize(network, "8/8", samples), HARDWARE, _divergences(network), cost_budget=0.9)
