"""Predicted errors of arrays by widths, and searches that see them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_spaces import NETWORK

import mho
from mho.array.conductances import Conditions
from mho.bit_search.api import SearchOptions, make_space, search
from mho.bit_search.array_errors import ArrayErrors, find_array_errors
from mho.bit_search.choice_tables import ChoiceTables
from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.operands import BITS, WITH_ADC, WITH_ARRAY, Operands
from mho.bit_search.runner import choose_full_figures
from mho.bit_search.search_state import SearchLimits
from mho.bit_search.sensitivity import SensitivityModel
from mho.bit_search.space import SearchSpace
from mho.errors import ConfigError
from mho.evaluation.accuracy import sample_chips
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.network_mapping import map_network
from mho.mapping.output_error import mapping_error
from mho.network.layers import derive_layer_table
from mho.policy import BitWidths, Policy

NAMES = ("a", "b", "c")
FEW = SearchConstraints(hold_first_last=None, min_weight_bits=4, weight_bits_multiple=4, min_act_bits=8)
EVERY = [BitWidths(weights, acts) for weights in range(1, 9) for acts in range(1, 9)]


def growing_errors() -> ArrayErrors:
    """Return errors that grow with the bits of weights: by half of them for each."""

    def find(bits: BitWidths) -> Mapping[str, float]:
        return dict.fromkeys(NAMES, 0.02 * 1.5**bits.weight_bits)

    return ArrayErrors(find)


def space_with(errors: ArrayErrors | None, **limits) -> SearchSpace:
    """Return a space in which all widths take the same time: only errors speak for narrow ones."""
    table = np.full((len(NAMES), 8, 8), 1000)
    features = np.zeros((len(NAMES), 8), np.float32)
    return SearchSpace.build(NAMES, table, features, SearchConstraints(**limits), errors=errors)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_larger_errors_are_no_more_equivalent_bits(one, other):
    errors = ArrayErrors(lambda bits: {"a": max(one, other) if bits.weight_bits == 8 else min(one, other)})
    large, small = (errors.equivalent_bits("a", BitWidths(weights, 8)) for weights in (8, 2))
    assert 1 <= large <= small <= 8


@given(st.integers(1, 8))
def test_equivalent_bits_are_those_of_a_grid_that_rounds_as_much(bits):
    grid = np.random.default_rng(bits).standard_normal(20_000)
    step = 6.0 / 2**bits
    rounded = np.sqrt(np.mean((np.round(grid / step) * step - grid) ** 2)) if bits > 2 else step / math.sqrt(12)
    assert ArrayErrors(lambda _: {"a": float(rounded)}).equivalent_bits("a", BitWidths(8, 8)) == bits


def test_narrow_widths_stay_where_wide_ones_err_more():
    without, with_errors = space_with(None), space_with(growing_errors())
    assert without.layers[1].choices == (BitWidths(8, 8),), "wider, and as fast"
    assert {bits.weight_bits for bits in with_errors.layers[1].choices} == {4, 5, 6, 7, 8}, "3 bits round more"
    assert {bits.act_bits for bits in with_errors.layers[1].choices} == {8}, "activations err alike"


def test_first_and_last_layer_are_held_where_they_err_least():
    assert space_with(None).layers[0].choices == (BitWidths(8, 8),)
    (held,) = space_with(growing_errors()).layers[0].choices
    assert held == BitWidths(4, 8), "3 bits round more, 5 bits err more"
    assert space_with(growing_errors(), min_weight_bits=6).layers[2].choices == (BitWidths(6, 8),)
    assert space_with(ArrayErrors(lambda _: dict.fromkeys(NAMES, 0.5))).layers[0].choices == (BitWidths(8, 8),)
    given = space_with(growing_errors(), hold_first_last=BitWidths(8, 8))
    assert given.layers[0].choices == (BitWidths(8, 8),)


def test_the_loss_of_an_array_is_learned_beside_that_of_bits():
    space = space_with(growing_errors(), hold_first_last=None)
    operands = Operands.of(space)
    assert operands.names == WITH_ARRAY
    assert (Operands.of(space_with(None)).names, len(BITS), len(WITH_ADC)) == (BITS, 2, 3)
    generator = np.random.default_rng(1)
    policies = [Policy({name: EVERY[k] for name, k in zip(NAMES, row, strict=True)})
                for row in generator.integers(9, 64, (60, 3))]  # fmt: skip
    losses = np.array([
        sum(4.0 ** (2 - operands.places_of(name, bits)[3]) for name, bits in policy.layers.items())
        for policy in policies
    ])  # fmt: skip
    model = SensitivityModel(NAMES, operands=operands)
    model.fit(policies, losses, float(np.median(losses)))
    increases = ChoiceTables(space).increases(model.increases())
    widths = [bits.weight_bits for bits in space.layers[1].choices]
    assert increases[1, widths.index(4)] < increases[1, widths.index(8)], "fewer bits lose less on this array"


@pytest.mark.parametrize("name", ["neurram", "isaac"])
def test_errors_are_those_of_the_mapping_that_the_widths_have(name):
    network, accelerator = NETWORK, mho.accelerator(name)
    chips = sample_chips(accelerator, Conditions(elapsed_s=3600.0), accelerator)
    errors = find_array_errors(network, accelerator, chips, MappingModel.BEST)
    if name == "isaac":
        assert errors is None, "its arrays are ideal"
        return
    layer, bits = network.layer_names[0], BitWidths(4, 4)
    assert errors is not None
    assert 0 < errors.of(layer, bits) < 10
    assert find_array_errors(network, accelerator, None, MappingModel.BEST) is None


def test_errors_on_one_crossbar_follow_from_its_mapping():
    accelerator = mho.accelerator("pelke2026-4bit")
    cells = accelerator.array.model_copy(update={"programming_error": Decimal("0.02")})
    noisy = accelerator.model_copy(update={"array": cells})
    network, bits = NETWORK, BitWidths(4, 3)
    chips = sample_chips(noisy, Conditions(), noisy)
    errors = find_array_errors(network, noisy, chips, MappingModel.BEST)
    assert errors is not None
    mapped = map_network(
        derive_layer_table(network), Policy.uniform(network.layer_names, bits), noisy, MappingModel.BEST
    )
    for layer in mapped.layers:
        assert errors.of(layer.layer.name, bits) == pytest.approx(mapping_error(layer, noisy))


def test_a_space_on_noisy_chips_keeps_widths_that_a_space_on_integers_drops():
    network, accelerator = NETWORK, mho.accelerator("neurram")
    chips = sample_chips(accelerator, Conditions(), accelerator)
    exact, noisy = (make_space(network, accelerator, FEW, chips=own) for own in (None, chips))
    assert noisy.size > exact.size
    assert all(set(one.choices) <= set(other.choices) for one, other in zip(exact.layers, noisy.layers, strict=True))


def test_channels_are_corrected_only_on_chips_that_err():
    network = NETWORK
    samples = np.random.default_rng(0).standard_normal((24, *network.inputs[0].shape[1:])).astype(np.float32)
    labels = np.arange(24) % 2
    with pytest.raises(ConfigError, match="channels are to be corrected") as caught:
        search(network, (samples, labels), "pelke2026-4bit", budget=2, options=SearchOptions(recalibrate=True))
    assert caught.value.where == "mho.search: recalibrate"
    options = SearchOptions(recalibrate=True, constraints=FEW)
    found = search(network, (samples, labels), "neurram", budget=2, options=options)
    assert "with channels corrected" in found.reference.fidelity


@pytest.mark.parametrize(("on_chips", "score"), [(0.895, 0.6), (0.12, 0.4)])
def test_losses_count_from_exact_integers_where_the_reference_fails_on_chips(on_chips, score):
    policy = Policy.uniform(NAMES, BitWidths(8, 8))
    chips, exact = (
        EvaluationRecord(policy, loss, accuracy, 1, 0, 0.0, "reference", 0, "", "ok")
        for loss, accuracy in ((0.6, on_chips), (0.4, 0.9))
    )
    assert choose_full_figures(chips, exact, 0.9, SearchLimits(4, allowed_drop=1.0)) == (0.9, score)
