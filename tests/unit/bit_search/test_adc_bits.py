"""ADC bits as a third width of a search: choices, costs, pruning, steps, and every method that chooses them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_chain, make_residual
from small_spaces import AdcEvaluator, adc_space

from mho.bit_search.api import make_space
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.objective import Objective
from mho.bit_search.operands import WITH_ADC, Operands
from mho.bit_search.paper_environment import BitWidthEnvironment
from mho.bit_search.sensitivity import SensitivityModel, SensitivityPrior
from mho.bit_search.space import SearchSpace
from mho.cost_model.energy import energy_network
from mho.cost_model.latency import cost_network
from mho.errors import ConfigError, PolicyError
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy

CHAIN, NETWORK = make_chain(), make_residual()
NAMES = NETWORK.layer_names
CONVERTERS = {"adc_range": "calibrated-layer", "adc_latency_us_per_bit": 0.2, "columns_per_adc": 4}
HARDWARE = make_accelerator(32, 32, 2, adc_bits=8, converters=CONVERTERS, energy={"adc_pj_per_bit": 1, "mvm_pj": 2})
HARDWARE = HARDWARE.with_max_error("none")  # so that fewer bits never take longer


@cache
def plain_space(*, prune=True):
    return adc_space(prune=prune)


def random_policies(space, count, seed=0):
    draws = np.random.default_rng(seed)
    for _ in range(count):
        yield Policy({layer.name: layer.choices[draws.integers(len(layer.choices))] for layer in space.layers})


def test_choices_have_adc_bits_and_what_is_held_or_pinned_has_its_own_or_all():
    pins = {NAMES[1]: BitWidths(4, 7, 6), NAMES[2]: BitWidths(4, 7)}
    space = adc_space(prune=False, hold_first_last=BitWidths(8, 8), pins=pins)
    choices = {layer.name: layer.choices for layer in space.layers}
    assert choices[NAMES[0]] == choices[NAMES[-1]] == tuple(BitWidths(8, 8, bits) for bits in (3, 5, 8))
    assert choices[NAMES[1]] == (BitWidths(4, 7, 6),)
    assert choices[NAMES[2]] == tuple(BitWidths(4, 7, bits) for bits in (3, 5, 8))
    assert space.adc_bits == (3, 5, 6, 8)
    assert space.cost_of(Policy.uniform(NAMES, BitWidths(8, 8))) == space.reference_cost
    with pytest.raises(PolicyError, match="8/8/7"):
        space.cost_of(Policy.uniform(NAMES, BitWidths(8, 8, 7)))


def test_pruning_keeps_exactly_the_choices_that_no_other_beats_in_all_three_widths():
    draws = np.random.default_rng(0)
    limits = {"min_weight_bits": 6, "min_act_bits": 6, "hold_first_last": None, "adc_bits": (4, 6)}
    for _ in range(20):
        table = draws.integers(1, 9, size=(1, 8, 8, 3))
        features, constraints = np.zeros((1, 8), np.float32), SearchConstraints(**limits)
        kept, everything = (
            SearchSpace.build(["a"], table, features, constraints, prune=prune).layers[0] for prune in (True, False)
        )
        assert len(everything.choices) == 18
        cost = dict(zip(everything.choices, everything.costs, strict=True))
        for bits in cost:
            beaten = any(
                other != bits
                and other.weight_bits >= bits.weight_bits
                and other.act_bits >= bits.act_bits
                and other.adc_bits >= bits.adc_bits
                and cost[other] <= cost[bits]
                for other in cost
            )
            assert (bits in kept.choices) == (not beaten)


@pytest.mark.parametrize("mapping", MappingModel)
def test_latencies_of_policies_are_those_of_the_cost_model(mapping):
    space = adc_space(prune=False, mapping=mapping)
    assert (space.shared is not None) == (mapping is MappingModel.BEST)
    for policy in random_policies(space, 15):
        assert space.cost_of(policy) == cost_network(NETWORK, policy, HARDWARE, model=mapping).latency_ps


def test_energies_of_policies_are_those_of_the_cost_model_and_of_layers_alone():
    constraints = SearchConstraints(adc_bits=(3, 8), hold_first_last=None)
    space = make_space(
        CHAIN, HARDWARE, constraints, prune=False, objective=Objective.ENERGY, mapping=MappingModel.PAPER
    )
    for policy in random_policies(space, 6):
        cost = cost_network(CHAIN, policy, HARDWARE, model=MappingModel.PAPER)
        assert space.cost_of(policy) == energy_network(cost, HARDWARE).energy.total_aj
        assert space.cost_of(policy) == sum(layer.cost_of(policy[layer.name]) for layer in space.layers)


def test_more_adc_bits_never_cost_less_and_pruning_loses_no_cost_that_is_reachable():
    full, pruned = plain_space(prune=False), plain_space()
    assert (np.diff(full.table[..., 1:], axis=-1) >= 0).all()
    np.testing.assert_array_equal(full.table[..., 0], full.table[..., -1])  # eight bits are all that there are
    assert any(len({bits.adc_bits for bits in layer.choices}) > 1 for layer in pruned.layers)
    for one, other in zip(full.layers, pruned.layers, strict=True):
        for bits, cost in zip(one.choices, one.costs, strict=True):
            wider = (
                price
                for kept, price in zip(other.choices, other.costs, strict=True)
                if kept.weight_bits >= bits.weight_bits
                and kept.act_bits >= bits.act_bits
                and kept.converts_as_finely(bits)
            )
            assert min(wider) <= cost


def test_without_adc_bits_the_table_is_what_it_was():
    plain, full = adc_space(prune=False, adc_bits=()), plain_space(prune=False)
    assert plain.table.shape == (len(NAMES), 8, 8, 1)
    np.testing.assert_array_equal(plain.layer_costs, full.layer_costs)
    assert all(bits.adc_bits is None for layer in plain.layers for bits in layer.choices)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"adc_range": "full-scale", "adc_bits": 12}, "no range of the ADCs"), ({"adc_bits": 6}, "up to 8")],
)
def test_accelerators_whose_adcs_do_not_have_the_bits_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        adc_space(converters=changes)


def test_impossible_adc_bits_are_refused():
    with pytest.raises(ConfigError, match="adc_bits are 0, 4"):
        SearchConstraints(adc_bits=(4, 0))


def test_an_episode_of_the_papers_agent_has_three_steps_a_layer_and_ends_in_the_space():
    space, draws = plain_space(prune=False), np.random.default_rng(1)
    environment = BitWidthEnvironment(space)
    for _ in range(10):
        observation, _ = environment.reset()
        flags = []
        for action in draws.random(3 * len(NAMES)):
            flags.append(float(observation[9]))
            observation, _, done, _, info = environment.step(np.array([action], np.float32))
        assert done
        assert flags == [1.0, 0.0, 0.5] * len(NAMES)
        assert space.contains(info["policy"])


def test_the_model_tells_sensitivities_to_adcs_apart():
    space = plain_space(prune=False)
    model = SensitivityModel(NAMES, None, Operands(WITH_ADC))
    policies = [*random_policies(space, 60, seed=4)]
    losses = np.array([AdcEvaluator().evaluate(policy).score for policy in policies])
    model.fit(policies, losses, 0.02)
    adc = model.log_sensitivities[:, 2]
    assert (np.argsort(adc) == np.arange(len(NAMES))).all()
    assert model.increases().shape == (len(NAMES), 3, 8)


def test_what_is_known_of_weights_and_activations_serves_with_adcs_too():
    known = SensitivityPrior(np.arange(8.0).reshape(4, 2), np.full((4, 2), 0.5), 1.0, 1.0, np.ones((2, 8)), "test")
    more = known.of_operands(3)
    np.testing.assert_array_equal(more.offsets[:, :2], known.offsets)
    assert (more.stds[:, 2] > known.stds.max()).all()
    assert more.profiles.shape == (3, 8)
    np.testing.assert_array_equal(more.of_operands(2).offsets, known.offsets)
    np.testing.assert_allclose(
        SensitivityModel("abcd", more, Operands(WITH_ADC)).increases()[:, :2],
        SensitivityModel("abcd", known).increases() * 4 / 6,
        rtol=1e-9,
    )
