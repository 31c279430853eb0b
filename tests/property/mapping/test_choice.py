"""The choice of mappings: never worse than the paper's or than any single candidate, never better than the bound."""

from __future__ import annotations

import numpy as np
import pytest
from accelerators import digital_rules
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mho.cost_model.bounds import bound_layer
from mho.cost_model.latency import cost_layer, cost_network
from mho.cost_model.latency_table import WIDTHS, LatencyTable
from mho.hardware.loading import accelerator_from_json, load_accelerator
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.mapping.best_mapping import MappingChoice, choose_mapping
from mho.mapping.layer_mapping import MappingModel, Range
from mho.mapping.layer_search import Piece
from mho.mapping.paper_mapping import plan_layer
from mho.network.layers import ConvShape, MvmLayer
from mho.policy import BitWidths, Policy


@st.composite
def accelerators(draw):
    content = load_accelerator("pelke2026-4bit").to_json()
    rows = draw(st.sampled_from([16, 64, 100, 256]))
    content["crossbar"].update(
        rows=rows,
        cols=draw(st.sampled_from([16, 64, 100, 256])),
        cell_bits=draw(st.integers(1, 8)),
        write_latency_us=draw(st.sampled_from([0, 1, 56, 500])),
        active_rows=draw(st.sampled_from(["all", rows // 2, rows // 3])),
    )
    content["converters"].update(dac_bits=draw(st.integers(1, 4)))
    if draw(st.booleans()):
        content["converters"].update(
            adc_bits=draw(st.just("ideal") | st.integers(13, 16)),
            adc_latency_us_per_bit=0.05,
            columns_per_adc=draw(st.sampled_from([1, 8, 37])),
        )
    own = draw(st.sampled_from(PAPER_ENCODINGS))
    content["mapping"]["encoding"] = own
    content["mapping"]["allowed"].update(
        encodings=sorted(draw(st.sets(st.sampled_from(Encoding))) | {own}),
        window_positions=draw(st.sampled_from([1, 6, 65536])),
        input_slices_per_mvm=draw(st.sampled_from([1, 3, 65536])),
        groups_per_tile=draw(st.sampled_from([1, 65536])),
        splits=draw(st.booleans()),
    )
    operation_us = draw(st.sampled_from(["ideal", 0.000001, 0.0005]))
    content["digital"]["operation_latency_us"] = operation_us
    content["mapping"]["digital_layers"] = draw(digital_rules(operation_us))
    return accelerator_from_json(content, where="drawn")


@st.composite
def layers(draw):
    outputs = draw(st.one_of(st.integers(1, 40), st.integers(1, 700)))
    kind = draw(st.sampled_from(["conv", "conv", "linear", "matmul"]))
    repeat = draw(st.sampled_from([1, 1, 2, 7, 16])) if kind != "linear" else 1
    if kind != "conv":
        return MvmLayer("layer", kind, outputs, draw(st.integers(1, 1500)), draw(st.integers(1, 60)), repeat)
    kernel = (draw(st.sampled_from([1, 3, 5])), draw(st.sampled_from([1, 3, 7])))
    strides = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    pads = (kernel[0] // 2, kernel[1] // 2, kernel[0] // 2, kernel[1] // 2)
    in_size = (draw(st.integers(1, 30)), draw(st.integers(1, 30)))
    out_size = tuple((in_size[axis] + 2 * pads[axis] - kernel[axis]) // strides[axis] + 1 for axis in (0, 1))
    conv = ConvShape(1, in_size, out_size, kernel, strides, (1, 1), pads)
    inputs = draw(st.one_of(st.integers(1, 8), st.integers(1, 200))) * kernel[0] * kernel[1]
    return MvmLayer("layer", kind, outputs, inputs, out_size[0] * out_size[1], repeat, conv)


widths = st.builds(BitWidths, st.sampled_from(WIDTHS), st.sampled_from(WIDTHS))
batches = st.sampled_from([1, 2, 5])
quick = settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))


def time_ps(mapping, hardware, batch):
    return cost_layer(mapping, hardware, batch=batch).latency_ps


@given(layers(), widths, accelerators(), batches)
@quick
def test_the_best_mapping_lies_between_the_bound_and_the_papers(layer, bits, hardware, batch):
    best = time_ps(choose_mapping(layer, bits, hardware, batch=batch), hardware, batch)
    if hardware.converters.has_ideal_adc:
        assert best <= time_ps(plan_layer(layer, bits, hardware), hardware, batch)
    assert best >= bound_layer(layer, bits, hardware, batch=batch).latency_ps


@given(layers(), widths, accelerators(), batches, st.data())
@quick
def test_no_candidate_alone_beats_the_best_mapping(layer, bits, hardware, batch, data):
    choice = MappingChoice(layer, bits.weight_bits, hardware, batch)
    best = time_ps(choice.mapping(bits), hardware, batch)
    for encoding in hardware.mapping.allowed.encodings:
        candidates = choice.candidates(encoding)
        number = data.draw(st.integers(0, len(candidates.shape) - 1))
        whole = Piece(Range(0, layer.repeat), Range(0, layer.outputs), Range(0, layer.inputs), number, 1)
        assert best <= time_ps(choice.build(bits, encoding, [whole]), hardware, batch)


@given(layers(), accelerators(), batches)
@settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))
def test_the_table_tells_what_the_mappings_take(layer, hardware, batch):
    table = LatencyTable.build((layer,), hardware, model=MappingModel.BEST, batch=batch)
    for bits in (BitWidths(1, 1), BitWidths(4, 7), BitWidths(8, 8), BitWidths(16, 16)):
        cost = cost_network((layer,), Policy({"layer": bits}), hardware, model=MappingModel.BEST, batch=batch)
        assert table.policy_latency_ps(Policy({"layer": bits})) == cost.latency_ps


@given(layers(), accelerators())
@settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck))
def test_fewer_bits_are_never_slower_where_nothing_is_cut(layer, hardware):
    """Where matrices may be cut follows from the most efficient candidates, which differ by width."""
    content = hardware.to_json()
    content["mapping"]["allowed"]["splits"] = False
    whole = accelerator_from_json(content, where="drawn")
    times = LatencyTable.build((layer,), whole, model=MappingModel.BEST).latency_ps[0]
    assert (np.diff(times, axis=0) >= 0).all()
    assert (np.diff(times, axis=1) >= 0).all()


@pytest.mark.parametrize("batch", [1, 3])
def test_parts_hold_every_weight_once(batch):
    hardware = load_accelerator("pelke2026-4bit")
    layer = MvmLayer("layer", "linear", 700, 900, 50, 1)
    mapping = choose_mapping(layer, BitWidths(5, 6), hardware, batch=batch)
    held = np.zeros((layer.outputs, layer.inputs), dtype=int)
    for part in mapping.parts:
        held[part.outputs.start : part.outputs.stop, part.inputs.start : part.inputs.stop] += 1
    assert (held == 1).all()
