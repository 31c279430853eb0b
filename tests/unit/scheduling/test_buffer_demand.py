import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_attention

from mho.policy import BitWidths, Policy
from mho.scheduling.buffer_demand import BufferDemand, Share, find_kept_from
from mho.scheduling.chip_schedule import schedule_network
from mho.scheduling.placement import list_gathered, place_copies
from mho.scheduling.work_graph import LayerWork, Need, WorkGraph

NUMBERS = np.arange(1, 5)


def make_chain(*crossbars, blocks=1, size=8):
    """Return layers that each need one window of the one before, and store nothing."""
    layers = [LayerWork("layer0", None, crossbars[0], 4, 10, (), row_blocks=blocks)]
    for number, one in enumerate(crossbars[1:], start=1):
        need = Need(f"layer{number - 1}", NUMBERS, NUMBERS.copy(), np.full(4, size))
        layers.append(LayerWork(f"layer{number}", None, one, 4, 10, (need,), row_blocks=blocks))
    return WorkGraph("chain", tuple(layers))


def make_chip(crossbars, cores):
    return make_accelerator(chip={"crossbars": crossbars, "cores": cores}).chip


def list_cores(plan):
    return {name: [place.cores for place in places] for name, places in plan.places.items()}


def test_a_core_holds_the_blocks_of_rows_that_lie_in_it():
    # Two groups of three tiles above each other and two beside each other: columns follow each other.
    layer = LayerWork("layer", None, 12, 4, 10, (), row_tiles=3, row_blocks=6)
    share = Share.of(layer, [0, 1, 3, 7])  # twice the first rows and once the second, and the second of the other group
    assert share == Share(3, 4)
    layer = LayerWork("layer", None, 6, 4, 10, (), row_blocks=3)
    share = Share.of(layer, [0, 1, 3])
    assert share == Share(2, 3)
    sizes = np.array([9, 10])
    assert share.scale(sizes, layer, is_stored=False).tolist() == [6, 7]
    assert share.scale(sizes, layer, is_stored=True).tolist() == [5, 5]
    assert Share.of(layer, range(6)).scale(sizes, layer, is_stored=False).tolist() == [9, 10]


def test_sums_that_add_up_lie_together_so_that_few_leave_a_core():
    layer = LayerWork("layer", None, 12, 4, 10, (), sum_bytes=40, tile_sum_bytes=10, row_tiles=3, row_blocks=3)
    plan = place_copies(WorkGraph("net", (layer,)), {"layer": 1}, make_chip(15, 3))
    (place,) = plan.places["layer"]
    # Five tiles: a column of three and two of the next; one and three and one; two.
    assert list_gathered(layer, place, 5) == ((1, 30), (2, 10))


def test_rooms_tell_what_piles_up():
    demand = BufferDemand(graph := make_chain(1, 2, blocks=1))
    assert demand.count(graph["layer0"], Share(1, 1)) == 0
    assert demand.count(graph["layer1"], Share(1, 2)) == 8


def test_layers_share_a_core_as_long_as_its_buffer_holds_them():
    graph = make_chain(1, 1, 1)
    copies = dict.fromkeys(("layer0", "layer1", "layer2"), 1)
    chip = make_chip(8, 2)
    assert list_cores(place_copies(graph, copies, chip, input_bytes=16)) == list_cores(
        place_copies(graph, copies, chip)
    )
    spread = list_cores(place_copies(graph, copies, chip, input_bytes=15))
    assert spread == {"layer0": [(0,)], "layer1": [(0,)], "layer2": [(1,)]}


def test_a_copy_is_spread_where_one_core_would_have_to_hold_too_much_of_an_input():
    graph = make_chain(1, 4, blocks=1)
    parts = WorkGraph(
        "parts", (graph.layers[0], LayerWork("wide", None, 4, 4, 10, graph.layers[1].needs, row_blocks=4))
    )
    plan = place_copies(parts, {"layer0": 1, "wide": 1}, make_chip(30, 5), input_bytes=4)
    assert list_cores(plan) == {"layer0": [(0,)], "wide": [(0, 1)]}
    assert plan.places["wide"][0].crossbars == (1, 2, 6, 7)


def test_without_crossbars_to_spare_layers_share_cores_all_the_same():
    graph = make_chain(1, 1, 1)
    copies = dict.fromkeys(("layer0", "layer1", "layer2"), 1)
    assert place_copies(graph, copies, make_chip(3, 1), input_bytes=1).used_crossbars == 3


@pytest.mark.parametrize("bits", [4, 8])
def test_heads_and_rows_of_a_mapping_are_blocks(bits):
    hardware = make_accelerator(rows=4, cols=4, crossbars=200)
    network = make_attention()
    policy = Policy.uniform(network.layer_names, BitWidths(bits, bits))
    schedule = schedule_network(network, policy, hardware)
    for layer in schedule.graph.layers:
        (part,) = layer.mapping.parts
        groups = -(-len(part.groups) // part.groups_per_tile)
        assert layer.row_blocks == groups * part.row_tiles
        assert layer.crossbars == layer.row_blocks * part.col_tiles


def layer(name, windows, *needs, **changes):
    return LayerWork(name, None, 1, windows, 10, needs, **changes)


def in_order(producer, windows):
    numbers = np.arange(1, windows + 1)
    return Need(producer, numbers, numbers.copy())


def test_a_chain_keeps_what_one_window_reads():
    # Each window of the second reads the one before it and its own.
    need = Need("first", np.array([1, 2, 3, 4]), np.array([0, 1, 2, 4]))
    graph = WorkGraph("chain", (layer("first", 4), layer("second", 4, need)))
    found = find_kept_from(graph)
    assert found["first", "second", False].tolist() == [0, 0, 1, 2]


def test_windows_run_no_sooner_than_they_are_needed():
    graph = WorkGraph(
        "net", (layer("first", 4), layer("one", 4, in_order("first", 4)), layer("two", 4, in_order("one", 4)))
    )
    found = find_kept_from(graph)
    for key in (("first", "one", False), ("one", "two", False)):
        assert found[key].tolist() == [0, 1, 2, 3], "one window at a time"


def test_the_short_of_two_paths_piles_up_what_the_long_one_takes():
    long = layer("long", 4, Need("first", np.array([3, 4, 4, 4]), np.array([1, 2, 3, 4])))
    graph = WorkGraph("net", (layer("first", 4), long, layer("last", 4, in_order("long", 4), in_order("first", 4))))
    found = find_kept_from(graph)
    assert found["first", "last", False].tolist() == [0, 0, 0, 1]
    assert found["long", "last", False].tolist() == [0, 1, 2, 3]


def test_a_stored_operand_is_kept_until_it_is_written():
    product = layer("product", 2, in_order("query", 2), stored_needs=(("key", 2),), stored_bytes=(np.full(3, 8),))
    graph = WorkGraph("attention", (layer("key", 3), layer("query", 2), product))
    found = find_kept_from(graph)
    assert found["key", "product", True].tolist() == [0, 0, 2], "the last window is for nobody and comes at the end"


def test_what_is_not_known_to_be_let_go_is_kept():
    graph = WorkGraph("net", (layer("first", 3), layer("second", 3, Need("first", np.array([1, 2, 3])))))
    assert find_kept_from(graph)["first", "second", False].tolist() == [0, 0, 0]


def test_hundreds_of_layers_are_no_matter():
    layers = [layer("layer0", 2)]
    for number in range(1, 3000):
        layers.append(layer(f"layer{number}", 2, in_order(f"layer{number - 1}", 2)))
    assert find_kept_from(WorkGraph("deep", tuple(layers)))["layer0", "layer1", False].tolist() == [0, 1]
