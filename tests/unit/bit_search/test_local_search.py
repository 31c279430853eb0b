"""Planning against brute force, where all policies can be listed."""

import itertools

import numpy as np
import pytest
from search_problem import resnet18_space

from mho.bit_search.choice_tables import ChoiceTables, Frontiers
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.local_search import exchange, improve, trade
from mho.bit_search.space import SearchSpace
from mho.bit_search.space_policies import draw_policy


def small_space(layers=4):
    """Layers whose latency is bits times bits, times a size of their own."""
    bits = np.arange(1, 9)
    table = np.array([[[(k + 1) * 1000 * w * a + 7 * k for a in bits] for w in bits] for k in range(layers)])
    limits = SearchConstraints(3, 5, 3, 5, hold_first_last=None)
    return SearchSpace.build([f"fc{k}" for k in range(layers)], table, np.zeros((layers, 8), np.float32), limits)


def samples(tables, count, seed=0):
    draws = np.random.default_rng(seed)
    for _ in range(count):
        logs = draws.normal(-3.0, 1.2, (len(tables.counts), 2, 1)) - np.arange(8) * np.log(3.0)
        yield tables.increases(np.exp(logs + 3.5))


def best_of_all(tables, increases):
    rows = np.array(list(itertools.product(*(range(count) for count in tables.counts))))
    return tables.reward(*tables.sums(increases, rows)).max()


def reward_of(tables, increases, row):
    return float(tables.reward(*tables.sums(increases, row[None]))[0])


def test_rows_and_policies_are_the_same_thing():
    space = resnet18_space()
    tables, draws = ChoiceTables(space), np.random.default_rng(0)
    for _ in range(20):
        policy = draw_policy(space, draws, spread=False)
        row = tables.row(policy)
        assert tables.policy(row) == policy
        increase = np.exp(draws.normal(size=(len(row), 2, 8)))
        widths = [(policy[name].weight_bits, policy[name].act_bits) for name in space.layer_names]
        expected = sum(increase[k, 0, w - 1] + increase[k, 1, a - 1] for k, (w, a) in enumerate(widths))
        (found,), (share,) = tables.sums(tables.increases(increase), row[None])
        assert found == pytest.approx(expected)
        assert share == pytest.approx(space.cost_of(policy) / space.reference_cost)


def test_frontiers_hold_what_nothing_betters():
    tables = ChoiceTables(resnet18_space(hold_first_last=None))
    for increases in samples(tables, 5):
        frontiers = Frontiers.of(tables, increases)
        for layer, count in enumerate(tables.counts):
            pairs = [(increases[layer, k], tables.shares[layer, k]) for k in range(count)]
            kept = {pairs[k] for k in frontiers.numbers[layer]}
            for increase, share in pairs:
                is_bettered = any(h <= increase and s <= share and (h, s) != (increase, share) for h, s in pairs)
                assert is_bettered != ((increase, share) in kept)
            assert np.all(np.diff(frontiers.increases[layer]) > 0)
            assert np.all(np.diff(frontiers.shares[layer]) < 0)


def test_improved_rows_are_optimal_layer_by_layer_and_exchanged_ones_pair_by_pair():
    tables, draws = ChoiceTables(small_space()), np.random.default_rng(1)
    gaps = []
    for increases in samples(tables, 12):
        rows = improve(tables, increases, draws.integers(0, tables.counts, (3, len(tables.counts))), draws)
        for row in rows:
            for layer, count in enumerate(tables.counts):
                for number in range(count):
                    changed = row.copy()
                    changed[layer] = number
                    assert reward_of(tables, increases, changed) <= reward_of(tables, increases, row) + 1e-9
        row = exchange(tables, increases, rows[0], Frontiers.of(tables, increases))
        assert reward_of(tables, increases, row) >= reward_of(tables, increases, rows[0])
        for first, second in itertools.combinations(range(len(row)), 2):
            for i, j in itertools.product(range(tables.counts[first]), range(tables.counts[second])):
                changed = row.copy()
                changed[first], changed[second] = i, j
                assert reward_of(tables, increases, changed) <= reward_of(tables, increases, row) + 1e-6
        gaps.append(best_of_all(tables, increases) - reward_of(tables, increases, row))
    assert min(gaps) >= -1e-9
    assert np.mean(np.array(gaps) < 1e-6) > 0.7  # mostly the optimum itself


def test_trading_is_the_optimum_at_its_price():
    tables = ChoiceTables(small_space(3))
    for increases in samples(tables, 5):
        rows = np.array(list(itertools.product(*(range(count) for count in tables.counts))))
        increase, share = tables.sums(increases, rows)
        for price in (0.1, 1.0, 10.0):
            (own_increase,), (own_share,) = tables.sums(increases, trade(Frontiers.of(tables, increases), price)[None])
            assert own_increase + price * own_share == pytest.approx((increase + price * share).min())
