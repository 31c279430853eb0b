"""Searches of networks whose layers may be written at once: every latency is that of the whole policy."""

import numpy as np
import pytest
from accelerators import make_accelerator

from mho.bit_search.choice_tables import ChoiceTables
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.local_search import improve
from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import draw_policy
from mho.cost_model.latency import cost_network
from mho.cost_model.latency_table import LatencyTable
from mho.network.layers import MvmLayer

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


def test_looking_ahead_ends_where_no_change_of_a_single_layer_is_faster(space):
    """Where no width costs any accuracy, only latency counts, writes that layers share included."""
    tables, draws = ChoiceTables(space), np.random.default_rng(1)
    started = np.array([tables.row(draw_policy(space, draws, spread=True)) for _ in range(4)])
    for row in improve(tables, np.zeros(tables.shares.shape), started, draws):
        policy = tables.policy(row)
        for layer in space.layers:
            changed = (policy.replace({layer.name: bits}) for bits in layer.choices)
            assert space.cost_of(policy) == min(space.cost_of(one) for one in changed)


def test_sums_of_choices_less_what_is_shared_are_the_latency_of_the_cost_model(space):
    tables, draws = ChoiceTables(space), np.random.default_rng(3)
    policies = [draw_policy(space, draws, spread=False) for _ in range(20)]
    rows = np.array([tables.row(policy) for policy in policies])
    _, shares = tables.sums(np.zeros(tables.shares.shape), rows)
    costs = [cost_network(LAYERS, policy, HARDWARE).latency_ps / space.reference_cost for policy in policies]
    np.testing.assert_allclose(shares, costs, rtol=1e-12)
    assert (tables.saved(rows) > 0).any()
    assert not tables.with_shares(tables.shares).saved(rows).any()
