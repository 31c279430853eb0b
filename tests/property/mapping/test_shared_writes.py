"""Writes that layers share: never slower, never below the bound, and the same in tables, costs and searches."""

from __future__ import annotations

import numpy as np
from accelerators import digital_rules, make_accelerator
from examples import RELAXED, examples
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.bit_search.constraints import SearchConstraints
from mho.bit_search.space import SearchSpace
from mho.cost_model.bounds import bound_network
from mho.cost_model.latency import cost_network
from mho.cost_model.latency_table import WIDTHS, LatencyTable
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.network.layers import ConvShape, MvmLayer
from mho.policy import MAX_BITS, BitWidths, Policy

BATCHES = st.sampled_from([1, 2, 5])


@st.composite
def small_layers(draw):
    """Two to five layers, of which most fit a crossbar of some dozen lines."""
    return tuple(draw_layer(draw, f"layer{number}") for number in range(draw(st.integers(2, 5))))


def draw_layer(draw, name):
    kind = draw(st.sampled_from(["conv", "conv", "linear", "linear", "matmul"]))
    outputs, repeat = draw(st.integers(1, 12)), draw(st.sampled_from([1, 1, 2, 3]))
    if kind != "conv":
        inputs, positions = draw(st.integers(1, 24)), draw(st.integers(1, 9))
        return MvmLayer(name, kind, outputs, inputs, positions, repeat if kind == "matmul" else 1)
    kernel, stride, size = draw(st.sampled_from([1, 3])), draw(st.integers(1, 2)), draw(st.integers(2, 6))
    pad = kernel // 2
    out = (size + 2 * pad - kernel) // stride + 1
    shape = ConvShape(1, (size, size), (out, out), (kernel, kernel), (stride, stride), (1, 1), (pad,) * 4)
    return MvmLayer(name, kind, outputs, draw(st.integers(1, 3)) * kernel**2, out**2, repeat, shape)


@st.composite
def large_crossbars(draw):
    """Crossbars that hold several of `small_layers`."""
    encoding, cell_bits = draw(st.sampled_from(PAPER_ENCODINGS)), draw(st.integers(1, 8))
    allowed = {
        "encodings": sorted(draw(st.sets(st.sampled_from(Encoding))) | {encoding}),
        "window_positions": draw(st.sampled_from([1, 4, 65536])),
        "input_slices_per_mvm": draw(st.sampled_from([1, 2, 65536])),
        "groups_per_tile": draw(st.sampled_from([1, 65536])),
        "splits": draw(st.booleans()),
    }
    rows, operation_us = draw(st.integers(16, 200)), draw(st.sampled_from(["ideal", 0.000001, 0.001]))
    return make_accelerator(
        rows,
        draw(st.integers(16, 200)),
        cell_bits,
        draw(st.integers(1, 4)),
        encoding=encoding,
        crossbar={"active_rows": draw(st.sampled_from(["all", "all", rows // 2]))},
        mapping={"encoding": str(encoding), "allowed": allowed, "digital_layers": draw(digital_rules(operation_us))},
        digital={"operation_latency_us": operation_us},
    )


def random_policy(layers, seed, widths=WIDTHS):
    draws = np.random.default_rng(seed)
    return Policy({layer.name: BitWidths(*draws.choice(widths, 2).tolist()) for layer in layers})


def without_sharing(hardware):
    allowed = hardware.mapping.allowed.model_copy(update={"shared_writes": False})
    return hardware.model_copy(update={"mapping": hardware.mapping.model_copy(update={"allowed": allowed})})


@settings(max_examples=examples(80), **RELAXED)
@given(small_layers(), large_crossbars(), BATCHES, st.integers(0, 1000))
def test_sharing_is_never_slower_and_never_below_the_bound(layers, hardware, batch, seed):
    policy = random_policy(layers, seed)
    shared = cost_network(layers, policy, hardware, batch=batch)
    alone = cost_network(layers, policy, without_sharing(hardware), batch=batch)
    assert shared.latency_ps <= alone.latency_ps
    assert (shared.latency_ps < alone.latency_ps) == any(map(shared.mapping.joins, range(len(layers))))
    assert alone.writes == alone.tiles
    bound = bound_network(shared.mapping, hardware, batch=batch)
    assert bound.latency_ps <= shared.latency_ps
    for layer, least in zip(shared.layers, bound.layers, strict=True):
        assert least.latency_ps <= layer.latency_ps
    assert bound.latency_ps <= bound_network(alone.mapping, without_sharing(hardware), batch=batch).latency_ps


@settings(max_examples=examples(80), **RELAXED)
@given(small_layers(), large_crossbars(), BATCHES, st.integers(0, 1000))
def test_tiles_of_one_write_do_not_overlap_and_have_one_write_between_them(layers, hardware, batch, seed):
    cost = cost_network(layers, random_policy(layers, seed), hardware, batch=batch)
    taken = {}
    for number, (layer, place) in enumerate(zip(cost.layers, cost.mapping.placements, strict=True)):
        mapping = layer.mapping
        if not cost.mapping.stack(number):
            assert (place.row, place.col, layer.writes) == (0, 0, mapping.tiles)
            continue
        assert mapping.tiles == 1
        assert layer.writes == (place.writer == number)
        (part,) = mapping.parts
        cells = taken.setdefault(place.writer, np.zeros((hardware.crossbar.rows, hardware.crossbar.cols), int))
        rows, cols = len(part.groups) * part.rows, len(part.groups) * part.cols
        block = cells[place.row : place.row + rows, place.col : place.col + cols]
        assert block.shape == (rows, cols)
        block += 1
    assert all(cells.max() == 1 for cells in taken.values())


@settings(max_examples=examples(40), **RELAXED)
@given(small_layers(), large_crossbars(), BATCHES)
def test_the_table_tells_of_every_policy_what_the_cost_model_tells(layers, hardware, batch):
    table = LatencyTable.build(layers, hardware, batch=batch)
    policies = [random_policy(layers, seed) for seed in range(6)]
    pairs = [[(policy[layer.name].weight_bits, policy[layer.name].act_bits) for layer in layers] for policy in policies]
    widths = np.array(pairs)
    times = table.latencies_ps(widths[..., 0], widths[..., 1]).tolist()
    for policy, time in zip(policies, times, strict=True):
        cost = cost_network(layers, policy, hardware, batch=batch)
        assert cost.latency_ps == time == table.policy_latency_ps(policy)


@settings(max_examples=examples(25), **RELAXED)
@given(small_layers(), large_crossbars(), st.integers(0, 1000))
def test_fewer_bits_are_never_slower_where_layers_stay_whole(layers, hardware, seed):
    content = hardware.to_json()
    content["mapping"]["allowed"]["splits"] = False  # cuts are made in a few places, not the same at all widths
    hardware = accelerator_from_json(content, where="whole")
    table, draws = LatencyTable.build(layers, hardware), np.random.default_rng(seed)
    wide = draws.choice(WIDTHS, (40, 2, len(layers)))
    narrow = np.minimum(wide, draws.choice(WIDTHS, wide.shape))
    assert (table.latencies_ps(narrow[:, 0], narrow[:, 1]) <= table.latencies_ps(wide[:, 0], wide[:, 1])).all()


@settings(max_examples=examples(25), **RELAXED)
@given(small_layers(), large_crossbars(), st.integers(0, 1000))
def test_for_every_policy_the_pruned_space_holds_one_that_is_as_wide_and_no_slower(layers, hardware, seed):
    table, features = LatencyTable.build(layers, hardware), np.zeros((len(layers), 8), np.float32)
    limits = SearchConstraints(min_weight_bits=1, min_act_bits=1, hold_first_last=None)
    latencies = table.latency_ps[:, :MAX_BITS, :MAX_BITS]
    space = SearchSpace.build(table.layer_names, latencies, features, limits, shared=table.shared)
    for policy in (random_policy(layers, seed + number, range(1, MAX_BITS + 1)) for number in range(20)):
        assert space.cost_of(policy) == table.policy_latency_ps(policy)
        for layer in space.layers:
            bits, latency = policy[layer.name], space.cost_of(policy)
            wider = [
                policy.replace({layer.name: one})
                for one in layer.choices
                if one.weight_bits >= bits.weight_bits and one.act_bits >= bits.act_bits
            ]
            policy = min(wider, key=space.cost_of)
            assert space.cost_of(policy) <= latency
        assert space.contains(policy)
