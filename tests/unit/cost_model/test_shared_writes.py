import json

import numpy as np
from accelerators import make_accelerator

from mho.cost_model.bounds import bound_layer, bound_network
from mho.cost_model.document import CostDocument
from mho.cost_model.latency import cost_layer, cost_network
from mho.cost_model.latency_table import LatencyTable
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy

SMALL = tuple(MvmLayer(f"small{number}", "linear", 5, 8, 2, 1) for number in range(3))
LARGE = MvmLayer("large", "linear", 40, 90, 2, 1)
PRODUCT = MvmLayer("product", "matmul", 8, 8, 8, 1)
HARDWARE = make_accelerator(32, 32, 4, 1)
WRITE = HARDWARE.crossbar.write_latency_ps


def cost(layers, bits="4/3", hardware=HARDWARE, **options):
    policy = Policy.uniform([layer.name for layer in layers], BitWidths.parse(bits))
    return cost_network(layers, policy, hardware, **options)


def test_the_first_layer_pays_the_write_and_the_others_none():
    found = cost(SMALL)
    assert [layer.write_ps for layer in found.layers] == [WRITE, 0, 0]
    assert [layer.writes for layer in found.layers] == [1, 0, 0]
    assert (found.tiles, found.writes) == (3, 1)
    for layer in found.layers:
        assert layer.read_ps == cost_layer(layer.mapping, HARDWARE).read_ps


def test_a_batch_writes_once_and_reads_every_sample():
    one, many = cost(SMALL), cost(SMALL, batch=7)
    assert [layer.write_ps for layer in many.layers] == [WRITE, 0, 0]
    assert many.latency_ps <= WRITE + 7 * (one.latency_ps - WRITE)


def test_the_document_tells_tiles_writes_and_who_writes():
    content = CostDocument.of("net", cost(SMALL), cost(SMALL, "8/8"), HARDWARE)
    rows = json.loads(content.model_dump_json())["layers"]
    assert [(row["tiles"], row["writes"], row["written_with"]) for row in rows] == [
        (1, 1, None),
        (1, 0, "small0"),
        (1, 0, "small0"),
    ]
    assert round(content.bound_us * 10**6) == sum(round(row["bound_us"] * 10**6) for row in rows) + WRITE


def test_the_paper_writes_every_tile():
    found = cost(SMALL, model=MappingModel.PAPER)
    assert found.writes == found.tiles == 3


def test_layers_between_which_a_large_one_lies_are_bounded_apart():
    together, apart = (bound_network(cost(layers).mapping, HARDWARE) for layers in (SMALL, (SMALL[0], LARGE, SMALL[1])))
    assert together.shared_writes == 1
    assert [layer.counts.tiles for layer in together.layers] == [0, 0, 0]
    assert apart.shared_writes == 0
    assert apart.layers[0] == bound_layer(SMALL[0], BitWidths(4, 3), HARDWARE)
    assert apart.latency_ps == sum(layer.latency_ps for layer in apart.layers)


def test_many_small_layers_are_bounded_by_the_writes_that_their_cells_fill():
    layers = tuple(MvmLayer(f"fc{number}", "linear", 20, 24, 1, 1) for number in range(9))
    hardware = make_accelerator(32, 32, 4, 1)
    cells = 9 * 20 * 24  # of one each at 4 bits
    assert bound_network(cost(layers).mapping, hardware).shared_writes == -(-cells // (32 * 32))


def test_products_separate_layers_unless_the_digital_unit_may_take_them():
    layers = (SMALL[0], PRODUCT, SMALL[1])
    quick = make_accelerator(32, 32, 4, 1, digital={"operation_latency_us": 0.000001})
    assert bound_network(cost(layers).mapping, HARDWARE).shared_writes == 0
    assert bound_network(cost(layers, hardware=quick).mapping, quick).shared_writes == 1


def test_the_table_knows_where_nothing_can_be_shared():
    assert LatencyTable.build((LARGE, LARGE), HARDWARE).shared is None
    assert LatencyTable.build((SMALL[0], LARGE, SMALL[1]), HARDWARE).shared is None
    assert LatencyTable.build(SMALL, HARDWARE, model=MappingModel.PAPER).shared is None
    shared = LatencyTable.build((LARGE, *SMALL), HARDWARE).shared
    assert shared is not None
    assert shared.runs == (range(1, 4),)
    assert [shared.holds(layer) for layer in range(4)] == [False, True, True, True]


def test_policies_of_any_shape_are_reported_at_once():
    table, draws = LatencyTable.build(SMALL, HARDWARE), np.random.default_rng(0)
    weights, acts = draws.integers(1, 9, (2, 4, 5, 3))
    found = table.latencies_ps(weights, acts)
    assert found.shape == (4, 5)
    for place in np.ndindex(4, 5):
        pairs = zip(weights[place].tolist(), acts[place].tolist(), strict=True)
        policy = Policy({layer.name: BitWidths(*pair) for layer, pair in zip(SMALL, pairs, strict=True)})
        assert found[place] == table.policy_latency_ps(policy)
