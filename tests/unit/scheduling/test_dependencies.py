from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerators import make_accelerator

from mho.errors import ScheduleError
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import derive_layer_table
from mho.network.torch_reader import read_torch
from mho.policy import BitWidths, Policy
from mho.scheduling.chip_layer import ChipLayer
from mho.scheduling.dependencies import DependencyTable, build_work_graph
from mho.scheduling.options import list_network_options

ACCELERATOR = make_accelerator(rows=64, cols=64, cell_bits=8, dac_bits=8)
BITS = BitWidths(8, 4)


def map_by_position(network):
    layers = derive_layer_table(network)
    policy = Policy.uniform((layer.name for layer in layers), BITS)
    options = list_network_options(layers, policy, ACCELERATOR, MappingModel.PAPER)
    return {name: found[0] for name, found in options.items()}


class Residual(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.second = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.pool = torch.nn.MaxPool2d(2)
        self.third = torch.nn.Conv2d(4, 3, 1)
        self.head = torch.nn.Linear(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = self.third(self.pool(x + self.second(x)))
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def network():
    return read_torch(Residual(), (1, 2, 4, 6))


def needs_of(layer):
    return {need.producer: need.windows.tolist() for need in layer.needs}


def test_windows_wait_for_what_they_read_and_for_nothing_more(network):
    graph = build_work_graph(network, map_by_position(network), ACCELERATOR)
    assert [layer.name for layer in graph.layers] == ["first", "second", "third", "head"]
    assert needs_of(graph["first"]) == {}
    right = np.minimum(np.arange(6) + 2, 6)  # a 3x3 kernel reads one row below and one column to the right
    below = [min(row + 1, 3) * 6 for row in range(4)]
    assert needs_of(graph["second"]) == {"first": (np.array(below)[:, None] + right).reshape(-1).tolist()}
    pooled = [8, 10, 12, 20, 22, 24]
    assert needs_of(graph["third"]) == {"first": pooled, "second": pooled}
    assert needs_of(graph["head"]) == {"third": [6]}


def test_what_no_later_window_reads_may_be_forgotten(network):
    graph = build_work_graph(network, map_by_position(network), ACCELERATOR)
    (need,) = graph["second"].needs
    # The kernel at row 2, column 0 reads from row 1, column 0 on: the six windows of row 0 are done with before it.
    assert need.forgotten.tolist() == [0] * 7 + [1, 2, 3, 4, 6, 6, 7, 8, 9, 10, 12, 12, 13, 14, 15, 16, 24]
    forgotten = {need.producer: need.forgotten.tolist() for need in graph["third"].needs}
    assert forgotten["second"] == [2, 4, 12, 14, 16, 24]


def test_a_layer_brings_its_work(network):
    mappings = map_by_position(network)
    graph = build_work_graph(network, mappings, ACCELERATOR)
    second = graph["second"]
    assert second.mapping is mappings["second"]
    assert (second.crossbars, second.windows, second.window_ps) == (1, 24, 1_300_001)
    assert (second.stored_needs, second.write_ps) == ((), 0)
    assert (second.sum_bytes, second.tile_sum_bytes) == (4 * 4, 4 * 4)
    assert all(need.windows.dtype == np.int64 and not need.windows.flags.writeable for need in second.needs)


def bytes_of(layer):
    return {need.producer: need.bytes.tolist() for need in layer.needs}


def test_codes_are_carried_once_when_they_are_complete(network):
    graph = build_work_graph(network, map_by_position(network), ACCELERATOR)
    assert bytes_of(graph["second"]) == {"first": [2] * 24}  # four channels of four bits
    # A sum counts for the later of its layers, and a pooled code for the window that completes it.
    pooled = [0] * 6 + [0, 2] * 3
    assert bytes_of(graph["third"]) == {"first": [0] * 24, "second": pooled * 2}
    assert bytes_of(graph["head"]) == {"third": [0] * 5 + [2]}  # three codes of four bits, in whole bytes


def test_parts_that_are_put_together_come_from_the_layers_that_made_them():
    class Branches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = torch.nn.Conv2d(2, 4, 1), torch.nn.Conv2d(2, 8, 1)
            self.strided = torch.nn.Conv2d(12, 2, 1, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.strided(torch.cat([self.left(x), self.right(x)], 1))

    network = read_torch(Branches(), (1, 2, 2, 3))
    graph = build_work_graph(network, map_by_position(network), ACCELERATOR)
    assert bytes_of(graph["strided"]) == {"left": [2, 0, 2, 0, 0, 0], "right": [4, 0, 4, 0, 0, 0]}


def test_sums_are_spread_over_the_tiles_below_each_other(network):
    class Wide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = torch.nn.Linear(150, 100)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.wide(x)

    network = read_torch(Wide(), (1, 150))
    (layer,) = build_work_graph(network, map_by_position(network), ACCELERATOR).layers
    part = layer.mapping.parts[0]
    assert (part.row_tiles, layer.sum_bytes) == (3, 400)
    assert layer.tile_sum_bytes == -(-400 // part.col_tiles)


def test_layers_without_a_mapping_pass_on_what_they_depend_on(network):
    mappings = map_by_position(network)
    del mappings["second"]
    graph = build_work_graph(network, mappings, ACCELERATOR)
    assert [layer.name for layer in graph.layers] == ["first", "third", "head"]
    assert needs_of(graph["third"]) == {"first": [15, 17, 18, 21, 23, 24]}


def test_windows_of_several_positions_wait_for_all_of_them(network):
    layers = derive_layer_table(network)
    policy = Policy.uniform((layer.name for layer in layers), BITS)
    wide = make_accelerator(rows=64, cols=64, cell_bits=8, dac_bits=8, encoding="offset")
    options = list_network_options(layers, policy, wide, MappingModel.BEST)
    mappings = {name: found[-1] for name, found in options.items()}
    window = mappings["first"].parts[0].window
    assert window.width.count > 1
    graph = build_work_graph(network, mappings, wide)
    assert graph["first"].windows == -(-4 // window.height.count) * -(-6 // window.width.count)
    assert needs_of(graph["head"]) == {"third": [graph["third"].windows]}


def test_products_of_activations_store_one_operand():
    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.query(x) @ self.key(x).transpose(1, 2)

    network = read_torch(Attention(), (1, 3, 4))
    graph = build_work_graph(network, map_by_position(network), ACCELERATOR)
    product = graph.layers[-1]
    assert needs_of(product) == {"query": [1, 2, 3]}
    assert product.stored_needs == (("key", 3),)
    assert product.write_ps == 53_000_007
    assert bytes_of(product) == {"query": [2, 2, 2]}
    assert [made.tolist() for made in product.stored_bytes] == [[4, 4, 4]]


def test_mappings_must_be_of_this_network(network):
    mappings = map_by_position(network)
    with pytest.raises(ScheduleError, match=r"thrid: no such MVM layer(.|\n)*did you mean"):
        build_work_graph(network, {"thrid": mappings["third"]}, ACCELERATOR)
    with pytest.raises(ScheduleError, match=r"layer first: the mapping is for a matrix of 4 x 36 at 24 positions"):
        build_work_graph(network, {"first": mappings["second"]}, ACCELERATOR)


class Swapped(Residual):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        return self.third(self.second(x) + x)


def test_graphs_of_one_table_share_arrays_and_list_needs_as_operations_join_them_or_as_layers_run():
    network = read_torch(Swapped(), (1, 2, 4, 6))
    layers = {name: ChipLayer.of(mapping, ACCELERATOR) for name, mapping in map_by_position(network).items()}
    table = DependencyTable(network, layers)
    joined, run = table.graph(layers), table.graph(layers, in_execution_order=True)
    assert list(needs_of(joined["third"])) == ["second", "first"]
    assert list(needs_of(run["third"])) == ["first", "second"]
    assert needs_of(joined["third"]) == needs_of(run["third"])
    assert np.shares_memory(joined["third"].needs[0].windows, run["third"].needs[1].windows)
