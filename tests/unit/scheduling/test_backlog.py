import numpy as np

from mho.scheduling.backlog import find_backlogs
from mho.scheduling.work import LayerWork, Need, WorkGraph


def layer(name, windows, *needs, **changes):
    return LayerWork(name, None, 1, windows, 10, needs, **changes)


def in_order(producer, windows):
    numbers = np.arange(1, windows + 1)
    return Need(producer, numbers, numbers.copy())


def test_a_chain_keeps_what_one_window_reads():
    # Each window of the second reads the one before it and its own.
    need = Need("first", np.array([1, 2, 3, 4]), np.array([0, 1, 2, 4]))
    graph = WorkGraph("chain", (layer("first", 4), layer("second", 4, need)))
    found = find_backlogs(graph)
    assert found["first", "second", False].tolist() == [0, 0, 1, 2]


def test_windows_run_no_sooner_than_they_are_needed():
    graph = WorkGraph(
        "net", (layer("first", 4), layer("one", 4, in_order("first", 4)), layer("two", 4, in_order("one", 4)))
    )
    found = find_backlogs(graph)
    for key in (("first", "one", False), ("one", "two", False)):
        assert found[key].tolist() == [0, 1, 2, 3], "one window at a time"


def test_the_short_of_two_paths_piles_up_what_the_long_one_takes():
    long = layer("long", 4, Need("first", np.array([3, 4, 4, 4]), np.array([1, 2, 3, 4])))
    graph = WorkGraph("net", (layer("first", 4), long, layer("last", 4, in_order("long", 4), in_order("first", 4))))
    found = find_backlogs(graph)
    assert found["first", "last", False].tolist() == [0, 0, 0, 1]
    assert found["long", "last", False].tolist() == [0, 1, 2, 3]


def test_a_stored_operand_is_kept_until_it_is_written():
    product = layer("product", 2, in_order("query", 2), stored_needs=(("key", 2),), stored_bytes=(np.full(3, 8),))
    graph = WorkGraph("attention", (layer("key", 3), layer("query", 2), product))
    found = find_backlogs(graph)
    assert found["key", "product", True].tolist() == [0, 0, 2], "the last window is for nobody and comes at the end"


def test_what_is_not_known_to_be_let_go_is_kept():
    graph = WorkGraph("net", (layer("first", 3), layer("second", 3, Need("first", np.array([1, 2, 3])))))
    assert find_backlogs(graph)["first", "second", False].tolist() == [0, 0, 0]


def test_hundreds_of_layers_are_no_matter():
    layers = [layer("layer0", 2)]
    for number in range(1, 3000):
        layers.append(layer(f"layer{number}", 2, in_order(f"layer{number - 1}", 2)))
    assert find_backlogs(WorkGraph("deep", tuple(layers)))["layer0", "layer1", False].tolist() == [0, 1]
