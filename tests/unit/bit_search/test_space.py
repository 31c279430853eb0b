import numpy as np
import pytest
from search_problem import resnet18_space

from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError, PolicyError
from mho.policy import BitWidths, Policy


def build(latencies, *, prune=True, **limits):
    table = np.asarray(latencies, dtype=np.int64)
    names = [f"layer{k}" for k in range(len(table))]
    limits = {"min_weight_bits": 1, "min_act_bits": 1, "hold_first_last": None, **limits}
    features = np.zeros((len(table), 8), dtype=np.float32)
    return SearchSpace.build(names, table, features, SearchConstraints(**limits), prune=prune)


def test_uniform_8_8_of_resnet18_takes_what_the_paper_says():
    assert round(resnet18_space().reference_cost / 1e9, 1) == 1507.5


def test_pruning_keeps_exactly_the_choices_that_no_other_beats():
    draws = np.random.default_rng(0)
    for _ in range(20):
        table = draws.integers(1, 6, size=(1, 8, 8))
        kept = set(build(table).layers[0].choices)
        everything = build(table, prune=False).layers[0]
        cost = dict(zip(everything.choices, everything.costs, strict=True))
        for bits in cost:
            beaten = any(
                other != bits
                and other.weight_bits >= bits.weight_bits
                and other.act_bits >= bits.act_bits
                and cost[other] <= cost[bits]
                for other in cost
            )
            assert (bits in kept) == (not beaten)


def test_pruning_keeps_the_widest_choice_and_every_latency_that_is_reachable_without_it():
    draws = np.random.default_rng(1)
    for _ in range(20):
        full = build(draws.integers(1, 9, size=(1, 8, 8)), prune=False).layers[0]
        pruned = build(full_table(full)).layers[0]
        assert BitWidths(8, 8) in pruned.choices
        for bits, latency in zip(full.choices, full.costs, strict=True):
            assert any(
                p.weight_bits >= bits.weight_bits and p.act_bits >= bits.act_bits and cost <= latency
                for p, cost in zip(pruned.choices, pruned.costs, strict=True)
            )


def full_table(layer):
    table = np.zeros((1, 8, 8), dtype=np.int64)
    for bits, latency in zip(layer.choices, layer.costs, strict=True):
        table[0, bits.weight_bits - 1, bits.act_bits - 1] = latency
    return table


def test_on_four_bit_cells_weights_are_four_or_eight_bits_after_pruning():
    space = resnet18_space()
    assert {bits.weight_bits for layer in space.layers for bits in layer.choices} == {4, 8}


def test_the_size_is_the_exact_number_of_policies():
    space = resnet18_space(prune=False)
    assert space.size == 64**19
    assert resnet18_space(prune=False, weight_bits_multiple=4, min_act_bits=3).size == (2 * 6) ** 19


def test_first_and_last_layers_are_held_and_pins_go_before():
    space = resnet18_space(pins={"layer2.0.conv1": BitWidths(3, 5), "fc": BitWidths(4, 8)})
    choices = {layer.name: layer.choices for layer in space.layers}
    assert choices["conv1"] == (BitWidths(8, 8),)
    assert choices["fc"] == (BitWidths(4, 8),)
    assert choices["layer2.0.conv1"] == (BitWidths(3, 5),)


def test_the_latency_of_a_policy_is_the_sum_over_its_layers():
    space = build(np.arange(1, 129).reshape(2, 8, 8))
    policy = Policy({"layer0": BitWidths(1, 1), "layer1": BitWidths(8, 7)})
    assert space.cost_of(policy) == 1 + 127
    with pytest.raises(PolicyError, match="layer9"):
        space.cost_of(Policy({**policy.layers, "layer9": BitWidths(1, 1)}))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_weight_bits": 6, "max_weight_bits": 4}, "min_weight_bits is 6"),
        ({"max_act_bits": 9}, "max_act_bits is 9"),
        ({"min_weight_bits": 5, "max_weight_bits": 7, "weight_bits_multiple": 4}, "multiples of 4"),
        ({"weight_bits_multiple": 0}, "weight_bits_multiple"),
    ],
)
def test_constraints_that_allow_nothing_are_refused(limits, message):
    with pytest.raises(ConfigError, match=message):
        SearchConstraints(**limits)


def test_a_pin_of_an_unknown_layer_is_refused_with_a_suggestion():
    with pytest.raises(PolicyError, match=r"did you mean 'layer2\.0\.conv1'"):
        resnet18_space(pins={"layer2.0.conv11": BitWidths(8, 8)})


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 9, 9)])
def test_a_table_of_another_shape_is_refused(shape):
    with pytest.raises(ConfigError, match="costs have shape"):
        SearchSpace.build(["a"], np.ones(shape), np.zeros((1, 8)), SearchConstraints())
