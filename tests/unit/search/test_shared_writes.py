"""Searches of networks whose layers may be written at once: every latency is that of the whole policy."""

import numpy as np
import pytest
from accelerators import make_accelerator
from search_problem import SmoothEvaluator

from mho.cost.latency import cost_network
from mho.cost.table import LatencyTable
from mho.network.layers import MvmLayer
from mho.quantization.policy import BitWidths
from mho.search.agents import ImprovedAgent
from mho.search.goal import Goal
from mho.search.log import EvaluationLog
from mho.search.methods import draw_policy
from mho.search.runner import SearchOptions, run_search
from mho.search.space import SearchConstraints, SearchSpace

LAYERS = tuple(MvmLayer(f"fc{number}", "linear", 6, 12 - number, 3, 1) for number in range(5))
HARDWARE = make_accelerator(48, 48, 4, 1)


@pytest.fixture(scope="module")
def space():
    table = LatencyTable.build(LAYERS, HARDWARE)
    assert table.shared is not None
    return SearchSpace.build(
        table.layer_names,
        table.latency_ps[:, :8, :8],
        np.linspace(0, 1, len(LAYERS) * 8, dtype=np.float32).reshape(-1, 8),
        SearchConstraints(hold_first_last=None),
        shared=table.shared,
    )


def test_sharing_matters_here(space):
    policy = draw_policy(space, np.random.default_rng(0), spread=False)
    alone = sum(
        int(space.layer_costs[number, bits.weight_bits - 1, bits.act_bits - 1])
        for number, bits in enumerate(policy.layers.values())
    )
    assert space.cost_of(policy) < 0.8 * alone


@pytest.mark.parametrize("method", ["rl", "random", "uniform"])
def test_every_record_tells_the_latency_of_the_cost_model(space, method):
    evaluator = SmoothEvaluator(space.layer_names)
    log = EvaluationLog(None, evaluator.problem)
    options = SearchOptions(9, allowed_drop_points=1.0)
    result = run_search(method, space, evaluator, log, options, np.random.default_rng(0), None)
    assert len(result.records) > 3
    for record in result.records:
        assert record.cost == cost_network(LAYERS, record.policy, HARDWARE).latency_ps


def test_looking_ahead_ends_where_no_change_of_a_single_layer_is_faster(space):
    """Where no width costs any accuracy, only latency counts, writes that layers share included."""
    goal = Goal(0.7, 1.0, space.reference_cost, 1.2)
    agent, draws = ImprovedAgent(space, goal, 20, np.random.default_rng(0)), np.random.default_rng(1)
    started = [draw_policy(space, draws, spread=True) for _ in range(4)]
    for policy in agent._improve(np.zeros((len(LAYERS), 8, 8)), started):
        for layer in space.layers:
            changed = (policy.replace({layer.name: bits}) for bits in layer.choices)
            assert space.cost_of(policy) == min(space.cost_of(one) for one in changed)


def test_lessons_tell_every_option_of_every_step_with_its_own_writes(space):
    agent = ImprovedAgent(space, Goal(0.7, 1.0, 1, 1.2), 20, np.random.default_rng(0))
    policy = draw_policy(space, np.random.default_rng(3), spread=False)
    by_weight, by_act = agent._savings(policy)
    for number, name in enumerate(space.layer_names):
        for bits in range(1, 9):
            own = policy[name]
            for found, other in (
                (by_weight, BitWidths(bits, own.act_bits)),
                (by_act, BitWidths(own.weight_bits, bits)),
            ):
                changed = policy.replace({name: other})
                index = [(one.weight_bits - 1, one.act_bits - 1) for one in changed.layers.values()]
                alone = sum(int(space.layer_costs[k, w, a]) for k, (w, a) in enumerate(index))
                saved = (alone - space.cost_of(changed)) / space.reference_cost
                assert found[number, bits - 1] == pytest.approx(saved)
