"""Searches under every objective, on a network so small that all policies can be counted."""

import numpy as np
import pytest
from accelerators import make_accelerator
from search_problem import SmoothEvaluator
from small_spaces import CHIP, ENERGY, LIMITS, NETWORK, all_policies, objective_space

from mho.bit_search.api import make_space
from mho.bit_search.auto import choose_method
from mho.bit_search.log import EvaluationLog
from mho.bit_search.objective import Objective, parse_objective
from mho.bit_search.policy_costs import make_costs
from mho.bit_search.runner import SearchLimits, run_search
from mho.cost_model.energy import energy_network
from mho.cost_model.latency import cost_network
from mho.errors import ConfigError
from mho.formats import format_cost
from mho.hardware.loading import override
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.scheduling.chip_cost import ChipCostModel
from mho.scheduling.chip_schedule import ChipDemand
from mho.scheduling.cost_objective import WRITE_WEIGHT, CostObjective
from mho.scheduling.regime import Regime

CROSSBAR = make_accelerator(rows=16, cols=16, cell_bits=2, dac_bits=2, crossbars=1, energy=ENERGY)
ON_CHIP = [Objective(str(objective)) for objective in CostObjective]


class _Accurate(SmoothEvaluator):
    """A smooth evaluator without noise."""

    def __init__(self, names):
        super().__init__(names, 3, noise=0.0)


def _search(objective, method, *, budget=60, log=None, seed=0):
    space = objective_space(objective, prune=method != "rl-paper")
    evaluator = _Accurate(space.layer_names)
    log = EvaluationLog(None, evaluator.problem) if log is None else log
    options = SearchLimits(budget, allowed_drop=4.0)
    return run_search(method, space, evaluator, log, options, np.random.default_rng(seed)), space, evaluator


@pytest.mark.figures
@pytest.mark.parametrize("objective", [Objective.INTERVAL, Objective.ENERGY_DELAY])
def test_the_agent_finds_the_optimum_of_a_space_that_can_be_counted(objective):
    found, space, evaluator = _search(objective, "rl", budget=24)
    target = found.goal.target_accuracy
    everything = all_policies(objective_space(objective, prune=False))
    optimum = min(space.cost_of(policy) for policy in everything if evaluator.true_accuracy(policy) >= target)
    assert found.require_best().cost <= 1.02 * optimum


def test_objectives_pull_apart():
    """Energy asks for few operations, the interval for few crossbars times steps: not the same order of policies."""
    spaces = [objective_space(objective) for objective in (Objective.INTERVAL, Objective.ENERGY)]
    policies = all_policies(objective_space(Objective.INTERVAL, prune=False))[::25]
    interval, energy = (np.argsort([s.cost_of(p) for p in policies], kind="stable").tolist() for s in spaces)
    assert interval != energy


@pytest.mark.parametrize("objective", ON_CHIP)
def test_pruned_choices_gain_nothing(objective):
    """Some kept choice with at least as many bits has options that cover those of the dropped one."""
    pruned, full = objective_space(objective), objective_space(objective, prune=False)
    costs = make_costs(NETWORK, CHIP, objective, "best")
    for kept, every in zip(pruned.layers, full.layers, strict=True):
        for bits in set(every.choices) - set(kept.choices):
            wider = [c for c in kept.choices if c.weight_bits >= bits.weight_bits and c.act_bits >= bits.act_bits]
            assert any(costs.covers(kept.name, wide, bits) for wide in wider)


@pytest.mark.parametrize("objective", [Objective.CROSSBARS, *ON_CHIP])
def test_a_table_tells_what_choices_and_uniform_8_8_cost_alone(objective):
    full, pruned = objective_space(objective, prune=False), objective_space(objective)
    for space in (full, pruned):
        for layer, table, every in zip(space.layers, space.layer_costs, full.layers, strict=True):
            priced = {BitWidths(int(w) + 1, int(a) + 1) for w, a in np.argwhere(~np.isnan(table))}
            assert priced == {*every.choices, BitWidths(8, 8)}
            assert layer.costs == tuple(table[bits.weight_bits - 1, bits.act_bits - 1] for bits in layer.choices)
    np.testing.assert_array_equal(full.table, pruned.table)


def test_one_log_serves_all_objectives(tmp_path):
    path, names = tmp_path / "log.jsonl", NETWORK.layer_names
    first, _, evaluator = _search(
        Objective.ENERGY, "random", budget=8, log=EvaluationLog(path, _Accurate(names).problem)
    )
    assert evaluator.calls == 8
    again, space, evaluator = _search(
        Objective.INTERVAL, "random", budget=8, log=EvaluationLog(path, _Accurate(names).problem)
    )
    known = {record.policy: record for record in first.records}
    shared = [record for record in again.records if record.policy in known]
    assert evaluator.calls == 8 - len(shared)
    assert shared
    for record in shared:
        assert (record.score, record.accuracy) == (known[record.policy].score, known[record.policy].accuracy)
        assert (record.cost, record.objective) == (space.cost_of(record.policy), Objective.INTERVAL)


def test_on_one_crossbar_energy_is_that_of_the_cost_model():
    policy = Policy.uniform(NETWORK.layer_names, BitWidths(3, 5))
    cost = cost_network(NETWORK, policy, CROSSBAR)
    energy = energy_network(cost, CROSSBAR).energy.total_aj
    assert make_space(NETWORK, CROSSBAR, LIMITS, objective=Objective.ENERGY).cost_of(policy) == energy
    product = make_space(NETWORK, CROSSBAR, LIMITS, objective=Objective.ENERGY_DELAY).cost_of(policy)
    assert product == energy * cost.latency_ps


def test_a_chip_that_does_not_hold_uniform_8_8_is_costed_with_reloads():
    model = ChipCostModel(NETWORK, make_accelerator(rows=16, cols=16, cell_bits=2, dac_bits=2, crossbars=6),
                          CostObjective.LATENCY)  # fmt: skip
    reference = model.cost(Policy.uniform(NETWORK.layer_names, BitWidths(8, 8)))
    assert reference.regime is Regime.TIME_MULTIPLEXED
    assert reference.latency_ps > 0


def test_on_one_crossbar_the_interval_is_the_latency_and_every_tile_is_written():
    policy = Policy.uniform(NETWORK.layer_names, BitWidths(3, 5))
    cost = cost_network(NETWORK, policy, CROSSBAR)
    latency, interval, lifetime = (
        make_space(NETWORK, CROSSBAR, LIMITS, objective=one).cost_of(policy)
        for one in (Objective.LATENCY, Objective.INTERVAL, Objective.LIFETIME)
    )
    assert latency == interval == cost.latency_ps
    assert lifetime == cost.writes * WRITE_WEIGHT + latency


def test_the_longest_lifetime_is_that_of_a_policy_that_needs_no_rewriting():
    """A chip that holds narrow policies alone: the search finds one, though 8/8 is rewritten for every input."""
    small = make_accelerator(rows=8, cols=8, cell_bits=1, dac_bits=2, crossbars=48)
    counts = make_space(NETWORK, small, LIMITS, objective=Objective.CROSSBARS)
    wide, narrow = counts.reference_policy, counts.cheapest_policy
    needed = counts.cost_of(narrow)
    few = override(small, crossbars=needed)
    space = make_space(NETWORK, few, LIMITS, objective=Objective.LIFETIME)
    costs = ChipCostModel(NETWORK, few, CostObjective.LATENCY)
    assert costs.cost(wide).regime is Regime.TIME_MULTIPLEXED
    assert costs.cost(narrow).regime is Regime.WEIGHT_STATIONARY
    assert space.cost_of(narrow) == costs.cost(narrow).latency_ps < WRITE_WEIGHT / 1000
    assert space.cost_of(wide) > WRITE_WEIGHT / 1000
    assert format_cost(space.cost_of(narrow), "writes") == "no writes"
    assert space.cost_of(space.cheapest_policy) < WRITE_WEIGHT / 1000, "the table of layers points there"


@pytest.mark.parametrize("crossbars", [1, 48])
def test_energy_needs_energies(crossbars):
    silent = make_accelerator(rows=16, cols=16, cell_bits=2, dac_bits=2, crossbars=crossbars)
    with pytest.raises(ConfigError, match="no energies"):
        make_space(NETWORK, silent, LIMITS, objective=Objective.ENERGY)


@pytest.mark.parametrize("model", list(MappingModel))
@pytest.mark.parametrize("bits", [BitWidths(1, 1), BitWidths(3, 5), BitWidths(8, 8)])
def test_crossbars_are_those_that_the_schedule_of_a_chip_takes_to_hold_each_layer_once(model, bits):
    """Whatever the chip has: a chip of one crossbar tells the same."""
    policy = Policy.uniform(NETWORK.layer_names, bits)
    for hardware in (CHIP, CROSSBAR):
        costs = make_costs(NETWORK, hardware, Objective.CROSSBARS, model)
        assert costs.cost_of(policy) == ChipDemand.of(NETWORK, policy, CHIP, model=model).minimal_crossbars


def test_pruning_crossbars_is_exact_and_the_optimum_needs_fewer_than_8_8():
    """For every policy of the whole space one of the pruned space has no fewer bits and takes no more crossbars."""
    pruned, full = objective_space(Objective.CROSSBARS), objective_space(Objective.CROSSBARS, prune=False)
    assert pruned.size < full.size
    for kept, every in zip(pruned.layers, full.layers, strict=True):
        for bits, cost in zip(every.choices, every.costs, strict=True):
            assert any(
                c.weight_bits >= bits.weight_bits and c.act_bits >= bits.act_bits and kept.cost_of(c) <= cost
                for c in kept.choices
            )
    found, space, evaluator = _search(Objective.CROSSBARS, "exact", budget=30)
    assert space.adds_up
    fit = [p for p in all_policies(full) if evaluator.evaluate(p).accuracy >= found.goal.target_accuracy]
    assert found.require_best().cost == min(full.cost_of(policy) for policy in fit) < full.reference_cost
    assert found.require_best().to_json()["unit"] == "crossbars"


def test_an_unknown_objective_is_an_error_that_lists_all():
    with pytest.raises(ConfigError, match="energy-delay"):
        parse_objective("energy-delai")


def test_costs_tell_where_the_interconnect_would_be_near_saturation():
    narrow = {"kind": "bus", "bytes_per_cycle": 1, "cycle_ns": 10000, "hop_latency_cycles": 1}
    policy = Policy.uniform(NETWORK.layer_names, BitWidths(8, 8))
    for interconnect, is_rough in (({"kind": "ideal"}, False), (narrow, True)):
        chip = make_accelerator(
            rows=16, cols=16, cell_bits=2, crossbars=200, chip={"cores": 200}, interconnect=interconnect
        )
        assert make_space(NETWORK, chip, LIMITS, objective=Objective.LATENCY).is_rough(policy) is is_rough
    assert not make_space(NETWORK, CROSSBAR, LIMITS, objective=Objective.LATENCY).is_rough(policy)
    assert not make_space(NETWORK, CROSSBAR, LIMITS, objective=Objective.ENERGY).is_rough(policy)


def test_auto_takes_the_agent_for_intervals_which_do_not_add_up_over_layers():
    choices = {
        objective: choose_method(objective_space(objective), 3) for objective in (Objective.INTERVAL, Objective.ENERGY)
    }
    assert choices[Objective.INTERVAL].method == "rl"
    assert "do not add up" in choices[Objective.INTERVAL].reason
    assert choices[Objective.ENERGY].method == "exact"


def test_layers_pinned_to_the_digital_unit_are_costed_there_with_tiles_that_are_rewritten_and_that_stay():
    hardware = make_accelerator(rows=16, cols=16, cell_bits=2, digital={"operation_latency_us": 1}, crossbars=2)
    uniform = Policy.uniform(NETWORK.layer_names, BitWidths(8, 8))
    for crossbars in (2, 500):
        free = override(hardware, crossbars=crossbars)
        pinned = override(free, always_digital=[NETWORK.layer_names[0]])
        found, before = (make_costs(NETWORK, one, Objective.LATENCY, MappingModel.BEST) for one in (pinned, free))
        assert found.cost_of(uniform) != before.cost_of(uniform)
