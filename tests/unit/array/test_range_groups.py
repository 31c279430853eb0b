"""Which conversions share a range: those of a layer, of one of its weight slices, or of an ADC; what that is worth."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerators import make_accelerator

from mho.array.calibration import RangeRule
from mho.array.converters import make_adc
from mho.array.crossbar import make_product, write_crossbar
from mho.array.layout import ArrayLayout, list_conversions
from mho.array.range_groups import RangeGroups, group_conversions
from mho.array.seeds import CrossbarSeed
from mho.hardware.converters import AdcRange, ColumnDifference

DIFFERENTIAL = (1, -1, 16, -16)
"""Weights of the columns of one output: two slices of four bits."""


def lay_out(weights, outputs, *, rows=4, row_shift=0, ones=0):
    """Return columns of each output in turn, and of ones for one output more."""
    col_weight = np.array([*np.tile(weights, outputs), *(1 << 4 * np.arange(ones))], dtype=np.int64)
    shift = np.arange(rows) % (row_shift + 1)
    return ArrayLayout(
        row_sign=np.ones(rows, dtype=np.int64),
        row_shift=shift.astype(np.int64),
        col_output=np.append(np.repeat(np.arange(outputs), len(weights)), np.full(ones, outputs)).astype(np.int64),
        col_weight=col_weight,
        outputs=outputs + bool(ones),
        input_bits=4,
        dac_bits=1,
        steps=4,
        step_shift=1,
        is_correction=np.arange(len(col_weight)) >= outputs * len(weights) if ones else None,
    )


def read(layout, difference=ColumnDifference.DIGITAL):
    return SimpleNamespace(layout=layout, conversions=list_conversions(layout, difference))


def converters(adc_range, columns_per_adc=1):
    kind = {"adc_range": str(adc_range), "columns_per_adc": columns_per_adc}
    return make_accelerator(64, 64, 4, adc_bits=4, converters=kind).converters


def grouped(*reads, adc_range=AdcRange.CALIBRATED_SLICES, columns_per_adc=1):
    """Return the groups of reads, as the columns lie that conversions read first."""
    bitlines = [one.conversions.plus for one in reads]
    groups = group_conversions(reads, bitlines, converters(adc_range, columns_per_adc))
    return [group[np.argsort(one.conversions.plus)].tolist() for one, group in zip(reads, groups, strict=True)]


def test_two_slices_in_differential_columns_are_four_groups_of_the_whole_layer():
    """Columns lie +1, -1, +16, -16 for each output; the second tile holds the last three columns of one output."""
    whole, rest = read(lay_out(DIFFERENTIAL, 2)), read(lay_out(DIFFERENTIAL[1:], 1))
    one, two = grouped(whole, rest)
    assert len(set(one[:4])) == 4
    assert one[4:] == one[:4]
    assert two == one[1:4]


def test_converted_differences_are_a_group_a_slice_and_columns_without_a_partner_are_none_of_theirs():
    pairs = read(lay_out(DIFFERENTIAL, 2), ColumnDifference.ANALOG)
    cut = read(lay_out((*DIFFERENTIAL, *DIFFERENTIAL[:1]), 1), ColumnDifference.ANALOG)
    one, two = grouped(pairs, cut)
    assert one == [one[0], one[1]] * 2
    assert one[0] != one[1]
    assert two[:2] == one[:2]
    assert two[2] not in one


def test_columns_of_ones_are_groups_of_their_own_for_each_weight():
    (groups,) = grouped(read(lay_out((1, 16), 3, ones=2)))
    assert groups[:6] == groups[:2] * 3
    assert len({*groups[:2], *groups[6:]}) == 4


def test_slices_side_by_side_carry_other_sums_than_one_alone():
    single, double, again = (read(lay_out((1, 16), 2, row_shift=shift)) for shift in (0, 1, 1))
    one, two, three = grouped(single, double, again)
    assert two == three
    assert len({*one, *two}) == 4


def test_layers_and_converters_are_groups_whatever_columns_weigh():
    one, two = read(lay_out(DIFFERENTIAL, 2)), read(lay_out(DIFFERENTIAL, 1))
    assert grouped(one, two, adc_range=AdcRange.CALIBRATED_LAYER) == [[0] * 8, [0] * 4]
    assert grouped(one, two, adc_range=AdcRange.CALIBRATED_COLUMNS, columns_per_adc=3) == [
        [0, 0, 0, 1, 1, 1, 2, 2],
        [0, 0, 0, 1],
    ]


@pytest.mark.parametrize("adc_range", [kind for kind in AdcRange if kind is not AdcRange.FULL_SCALE])
def test_a_layer_without_tiles_has_no_groups(adc_range):
    assert group_conversions([], [], converters(adc_range)) == ()
    assert RangeGroups([], [], converters(adc_range)).find_ranges(RangeRule(), 4) == ()


@pytest.mark.parametrize(("bits", "seed"), [(3, 0), (3, 1), (5, 2)])
def test_finer_groups_read_sums_with_less_error(bits, seed):
    """A layer is coarser than its slices, and these than ADCs that serve a column each."""
    random = np.random.default_rng(seed)
    weights = np.rint(random.laplace(0, 12, (48, 6))).astype(np.int64)
    signs = np.stack([np.maximum(weights, 0), np.maximum(-weights, 0)], axis=-1)
    digits = np.concatenate([signs & 15, signs >> 4], axis=-1).reshape(48, 24).clip(0, 15)
    layout, codes = lay_out(DIFFERENTIAL, 6, rows=48), torch.from_numpy(random.integers(0, 16, (200, 48)))
    hardware, chip = make_accelerator(64, 64, 4), CrossbarSeed(0)
    product = make_product(hardware, layout, write_crossbar(hardware, digits, chip), chip, is_observed=True)
    sums = product.sum_columns(codes).to(torch.float64).numpy() * product.sum_unit

    def error(adc_range):
        groups = RangeGroups([product], [product.conversions.plus], converters(adc_range))
        groups.see(0, product.sum_columns(codes), product.sum_unit)
        groups.count(0, product.sum_columns(codes), product.sum_unit)
        (ranges,) = groups.find_ranges(RangeRule(), bits)
        adc = make_adc(bits, *ranges)
        return np.square(adc.read(adc.convert(sums)) - sums).mean()

    assert error(AdcRange.CALIBRATED_COLUMNS) < error(AdcRange.CALIBRATED_SLICES)
    assert error(AdcRange.CALIBRATED_SLICES) < 0.7 * error(AdcRange.CALIBRATED_LAYER)
