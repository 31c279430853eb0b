import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_attention

from mho.policy import BitWidths, Policy
from mho.scheduling.chip_schedule import schedule_network
from mho.scheduling.placement import list_gathered, place_copies
from mho.scheduling.room import Rooms, Share
from mho.scheduling.work import LayerWork, Need, WorkGraph

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
    rooms = Rooms(graph := make_chain(1, 2, blocks=1))
    assert rooms.count(graph["layer0"], Share(1, 1)) == 0
    assert rooms.count(graph["layer1"], Share(1, 2)) == 8


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
