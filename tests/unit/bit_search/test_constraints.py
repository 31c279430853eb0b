import pytest
from accelerators import make_accelerator
from chip_networks import make_residual
from search_problem import resnet18_space

from mho.bit_search.api import make_space
from mho.bit_search.constraints import BitRange, SearchConstraints
from mho.cost_model.latency import cost_network
from mho.errors import ConfigError, PolicyError
from mho.hardware.spec import Encoding
from mho.policy import BitWidths, Policy

EVERY = {"min_weight_bits": 1, "min_act_bits": 1}


def widths(limits: SearchConstraints, name: str, *, is_end: bool = False) -> tuple[set[int], set[int]]:
    choices = limits.choices_for(name, is_end=is_end)
    return {bits.weight_bits for bits in choices}, {bits.act_bits for bits in choices}


def test_a_range_of_a_layer_goes_before_the_general_one_and_before_held_widths():
    limits = SearchConstraints(ranges={"a": BitRange((1, 2), (4, 8)), "end": BitRange(acts=(6, 8))})
    assert widths(limits, "a") == ({1, 2}, {4, 5, 6, 7, 8})
    assert widths(limits, "b") == (set(range(2, 9)), set(range(2, 9)))
    assert widths(limits, "end", is_end=True) == (set(range(2, 9)), {6, 7, 8})
    assert widths(limits, "other end", is_end=True) == ({8}, {8})


def test_multiples_of_the_cell_hold_in_ranges_too():
    limits = SearchConstraints(weight_bits_multiple=2, ranges={"a": BitRange(weights=(3, 6))})
    assert widths(limits, "a")[0] == {4, 6}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BitRange(weights=(4, 2)), "weights are 4..2"),
        (lambda: BitRange(acts=(0, 2)), "acts are 0..2"),
        (lambda: BitRange(acts=(2, 9)), "acts are 2..9"),
        (
            lambda: SearchConstraints(pins={"a": BitWidths(8, 8)}, ranges={"a": BitRange((2, 4))}),
            "a has a pin and a range",
        ),
        (
            lambda: SearchConstraints(weight_bits_multiple=4, ranges={"a": BitRange((2, 3))}),
            "ranges: a: no weight bits in 2..3 are multiples of 4",
        ),
    ],
)
def test_ranges_that_cannot_be_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_range_of_an_unknown_layer_is_refused_with_the_nearest_one():
    with pytest.raises(PolicyError, match=r"ranges: layer1\.0\.conv3: unknown layer(.|\n)*layer1\.0\.conv"):
        resnet18_space(ranges={"layer1.0.conv3": BitRange((2, 4))})


def test_pruning_within_ranges_is_exact():
    """Each choice within the ranges is kept, or one of at least as many bits that is no slower."""
    limits = {"layer2.0.conv1": BitRange((2, 5), (3, 6)), "layer3.0.conv2": BitRange(acts=(1, 4)), "fc": BitRange()}
    pruned, full = (resnet18_space(ranges=limits, prune=prune, weight_bits_multiple=1) for prune in (True, False))
    assert pruned.size < full.size
    for kept, every in zip(pruned.layers, full.layers, strict=True):
        for bits, cost in zip(every.choices, every.costs, strict=True):
            covers = [
                kept.cost_of(c) <= cost
                for c in kept.choices
                if c.weight_bits >= bits.weight_bits and c.act_bits >= bits.act_bits
            ]
            assert any(covers)
    assert {bits.act_bits for bits in next(x for x in full.layers if x.name == "layer3.0.conv2").choices} == {
        1,
        2,
        3,
        4,
    }


@pytest.mark.parametrize("encoding", list(Encoding))
def test_binary_and_ternary_weights_are_searched_under_every_encoding(encoding):
    allowed = {"encodings": ["differential-columns", str(encoding)]}
    network, hardware = make_residual(), make_accelerator(16, 16, cell_bits=1, mapping={"allowed": allowed})
    limits = SearchConstraints(
        **EVERY, max_weight_bits=2, max_act_bits=2, hold_first_last=None, ranges={"first": BitRange(weights=(2, 2))}
    )
    space = make_space(network, hardware, limits, prune=False)
    found = {layer.name: {bits.weight_bits for bits in layer.choices} for layer in space.layers}
    assert found == {name: {2} if name == "first" else {1, 2} for name in space.layer_names}
    for bits in (BitWidths(1, 1), BitWidths(2, 1), BitWidths(1, 2)):
        policy = Policy.uniform(space.layer_names, bits)
        assert space.cost_of(policy) == cost_network(network, policy, hardware).latency_ps
