"""Several networks as one space and one evaluator."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from search_problem import SmoothEvaluator, resnet18_space

from mho.bit_search.api import make_space
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import FULL, Measurement, Variant
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import LocalMeasurer, Timed
from mho.bit_search.methods import MethodOptions
from mho.bit_search.mix import MixedEvaluator, MixedMeasurer, MixedNetwork, join_spaces, part_of
from mho.bit_search.objective import Objective
from mho.bit_search.runner import SearchLimits, run_search
from mho.bit_search.sensitivity import SensitivityPrior
from mho.bit_search.space_policies import draw_policy
from mho.errors import ConfigError
from mho.hardware.loading import load_accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy


@pytest.fixture(scope="module")
def counts():
    """The spaces of two small networks under crossbars."""
    from small_programs import conv_network

    hardware, limits = load_accelerator("pelke2026-4bit"), SearchConstraints(hold_first_last=None)
    networks = {"big": conv_network((1, 8, 9, 9), outputs=200), "small": conv_network((1, 4, 6, 6), outputs=40)}
    return {
        name: make_space(network, hardware, limits, mapping=MappingModel.BEST, objective=Objective.CROSSBARS)
        for name, network in networks.items()
    }


def join(spaces, **inputs):
    return join_spaces(spaces, {name: inputs.get(name, 1) for name in spaces})


def test_costs_of_networks_add_up(counts):
    space, draws = join(counts, big=3), np.random.default_rng(0)
    assert space.layer_names == tuple(f"{name}/{layer}" for name, one in counts.items() for layer in one.layer_names)
    assert space.size == counts["big"].size * counts["small"].size
    for _ in range(20):
        policy = draw_policy(space, draws, spread=False)
        parts = {name: part_of(policy, name) for name in counts}
        assert all(counts[name].contains(part) for name, part in parts.items())
        assert space.cost_of(policy) == sum(counts[name].cost_of(part) for name, part in parts.items())
        picked = sum(layer.cost_of(policy[layer.name]) for layer in space.layers)
        assert picked == space.cost_of(policy)


def test_inputs_count_in_times():
    whole = resnet18_space()
    space = join({"a": whole, "b": whole}, a=1, b=4)
    policy = Policy.uniform(whole.layer_names, BitWidths(4, 5))
    both = Policy({f"{name}/{layer}": bits for name in "ab" for layer, bits in policy.layers.items()})
    assert space.cost_of(both) == 5 * whole.cost_of(policy)
    assert space.reference_cost == 5 * whole.reference_cost
    assert space.objective is Objective.LATENCY


def test_what_does_not_add_up_is_refused(counts):
    with pytest.raises(ConfigError, match="two networks or more"):
        join({"big": counts["big"]})
    with pytest.raises(ConfigError, match="without '/'"):
        join({"a/b": counts["big"], "c": counts["small"]})
    with pytest.raises(ConfigError, match="for all networks"):
        join({"a": counts["big"], "b": resnet18_space()})


class KnownEvaluator:
    """An evaluator that knows a few policies' measurements."""

    fidelity = "message"

    def __init__(self, name, found):
        self.problem, self.found, self.asked = {"network": name}, found, []

    def seed_for(self, policy):
        return len(policy.layers)

    def evaluate(self, policy):
        self.asked.append(policy)
        bits = next(iter(policy.layers.values()))
        return self.found[bits.weight_bits]


@pytest.fixture
def members(counts):
    """Two networks of which a few policies are known, the first of three times the share."""
    first = KnownEvaluator("big", {8: Measurement.of(1.0, 0.9), 4: Measurement.of(1.4, 0.87)})
    second = KnownEvaluator(
        "small", {8: Measurement.of(2.0, 0.7), 4: Measurement.of(2.1, 0.72), 2: Measurement(None, None, "no")}
    )
    return {
        "big": MixedNetwork(first, EvaluationLog(None, first.problem), counts["big"], 3.0),
        "small": MixedNetwork(second, EvaluationLog(None, second.problem), counts["small"]),
    }


def uniform(counts, **weight_bits):
    return Policy({
        f"{n}/{layer}": BitWidths(weight_bits[n], 8) for n, one in counts.items() for layer in one.layer_names
    })  # fmt: skip


def test_each_network_is_measured_once_and_counts_by_its_share(counts, members):
    evaluator = MixedEvaluator(members, "exact")
    first, second = (one.evaluator for one in members.values())

    def policy(big, small):
        return uniform(counts, big=big, small=small)

    reference = evaluator.evaluate(policy(8, 8))
    assert reference.score == pytest.approx((3 * 1.0 + 2.0) / 4)
    assert reference.accuracy == pytest.approx((3 * 0.9 + 0.7) / 4)
    found = evaluator.evaluate(policy(4, 4))
    assert found.score == pytest.approx((3 * 1.4 + 2.1) / 4)
    assert found.accuracy == pytest.approx((3 * 0.87 + 0.72) / 4)
    assert evaluator.evaluate(policy(4, 2)) == Measurement(None, None, "small: no")
    assert (len(first.asked), len(second.asked)) == (2, 3)
    assert len(members["small"].log) == 3
    assert evaluator.seed_for(policy(8, 8)) == len(counts["big"].layer_names)


class Several(LocalMeasurer):
    """A pool that answers in reverse order, and whose workers die of two weight bits."""

    def __init__(self, evaluator):
        super().__init__(evaluator)
        self.asked = []

    def measure(self, policies, variant=FULL):
        self.asked.append(len(policies))
        for number, found in reversed(list(super().measure(policies, variant))):
            is_lost = found.measurement.score is None
            yield number, Timed(found.measurement, found.seconds, is_lost=is_lost)


def test_parts_of_a_batch_are_measured_together_with_the_figures_of_one_after_the_other(counts, members):
    policies = [uniform(counts, big=big, small=small) for big, small in ((8, 8), (4, 8), (8, 4), (4, 4), (8, 2))]
    pools = {name: Several(one.evaluator) for name, one in members.items()}
    answers = dict(MixedMeasurer(members, pools, "exact").measure(policies))
    assert {name: pool.asked for name, pool in pools.items()} == {"big": [2], "small": [3]}
    alone = MixedEvaluator(members, "exact")
    assert [answers[k].measurement for k in range(4)] == [alone.evaluate(policy) for policy in policies[:4]]
    assert answers[4].is_lost
    assert answers[4].measurement == Measurement(None, None, "small: no")
    assert [len(one.log) for one in members.values()] == [2, 2]  # what workers died of is in no log


class Repeated(SmoothEvaluator):
    """Accuracies are noisy, by the seed."""

    def __init__(self, names, kind):
        super().__init__(names, 1, noise=0.01)
        self.problem, self.fidelity = {"kind": kind}, "once"

    def at(self, variant):
        other = copy.copy(self)
        other.seed, other.fidelity = variant.repeat, f"again {variant.repeat}"
        return other

    def relative_cost(self, variant):
        return 1.0 if variant.steps is None else variant.steps / 10


def test_all_networks_are_measured_with_other_seeds_before_a_policy_wins(counts):
    parts = {name: Repeated(one.layer_names, name) for name, one in counts.items()}
    members = {name: MixedNetwork(one, EvaluationLog(None, one.problem), counts[name]) for name, one in parts.items()}
    evaluator, space = MixedEvaluator(members, "exact"), join(counts)
    measurer = MixedMeasurer(members, {name: LocalMeasurer(one) for name, one in parts.items()}, "exact")
    found = run_search(
        "exact", space, evaluator, EvaluationLog(None, evaluator.problem), SearchLimits(16, 30.0, repeats=2),
        np.random.default_rng(0), measurer=measurer,
    )  # fmt: skip
    best = found.require_best()
    assert (found.reference.seeds, best.seeds) == (3, 3)
    seeds = [evaluator.at(Variant(repeat=k)).evaluate(best.policy).accuracy for k in (1, 2)]
    assert best.accuracy == pytest.approx(np.mean([evaluator.evaluate(best.policy).accuracy, *seeds]))
    for name, member in members.items():
        own = part_of(best.policy, name)
        assert all(member.log.find(own, fidelity) for fidelity in ("once", "again 1", "again 2"))
    assert evaluator.relative_cost(Variant(steps=5)) == pytest.approx(0.5)


@pytest.mark.parametrize("method", ["rl", "exact"])
def test_methods_share_a_budget_out_where_it_does_least_increase(method):
    """The network that tolerates few bits better gets fewer of them."""
    whole = resnet18_space(prune=True)
    weak, strong = SmoothEvaluator(whole.layer_names, 1, noise=0.0), SmoothEvaluator(whole.layer_names, 1, noise=0.0)
    for operand in (weak.weights, weak.acts):
        operand.update({name: 6 * value for name, value in operand.items()})
    weak.problem = {"weak": True}
    evaluators = {"weak": weak, "strong": strong}
    space = join(dict.fromkeys(evaluators, whole))
    evaluator = MixedEvaluator(
        {name: MixedNetwork(one, EvaluationLog(None, one.problem), whole) for name, one in evaluators.items()}, method
    )
    logs = np.log([[one.weights[n], one.acts[n]] for one in evaluators.values() for n in whole.layer_names])
    known = SensitivityPrior(logs, np.full(logs.shape, 0.2), 1.0, 0.1, np.zeros((2, 8)), "the truth")
    result = run_search(
        method, space, evaluator, EvaluationLog(None, evaluator.problem), SearchLimits(12, allowed_drop=2),
        np.random.default_rng(0), method_options=MethodOptions(prior=known),
    )  # fmt: skip
    costs = {name: whole.cost_of(part_of(result.require_best().policy, name)) for name in evaluators}
    assert costs["strong"] < 0.9 * costs["weak"]
    assert result.goal.reference_cost / result.require_best().cost > 1.7
