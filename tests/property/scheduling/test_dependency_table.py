"""A table of needs makes the work graphs that are derived from the network, whatever the windows and widths."""

import numpy as np
import pytest
from chip_networks import make_attention, make_chain, make_residual
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from mho.hardware.loading import load_accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import derive_layer_table
from mho.policy import BitWidths
from mho.scheduling.chip_layer import ChipLayer
from mho.scheduling.dependencies import derive_work_graph
from mho.scheduling.dependency_table import DependencyTable
from mho.scheduling.options import list_chip_options
from mho.scheduling.work_graph import LayerWork

NETWORKS = {"chain": make_chain(), "residual": make_residual(), "attention": make_attention()}
TABLES = {name: DependencyTable(network) for name, network in NETWORKS.items()}  # kept: each example finds it fuller
ACCELERATOR = load_accelerator("isaac")
PLAIN = ("name", "crossbars", "windows", "window_ps", "write_ps", "sum_bytes", "tile_sum_bytes")


def _describe(layer: LayerWork) -> dict:
    """Return all that a layer is, without the order of its needs."""
    needs = {need.producer: [need.windows.tolist(), list(need.forgotten), list(need.bytes)] for need in layer.needs}
    stored = {
        name: (count, sizes.tolist())
        for (name, count), sizes in zip(layer.stored_needs, layer.stored_bytes, strict=True)
    }
    return {name: getattr(layer, name) for name in PLAIN} | {"needs": needs, "stored": stored}


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=examples(100), deadline=None)
@given(data=st.data())
def test_a_table_makes_the_graphs_that_are_derived(name, data):
    network, layers = NETWORKS[name], {}
    widths = st.builds(BitWidths, st.integers(1, 8), st.integers(1, 8))
    for layer in derive_layer_table(network):
        options = list_chip_options(layer, data.draw(widths), ACCELERATOR, MappingModel.BEST)
        layers[layer.name] = ChipLayer.of(data.draw(st.sampled_from(options)), ACCELERATOR)
    made, derived = TABLES[name].graph(layers), derive_work_graph(network, layers)
    assert [_describe(layer) for layer in made.layers] == [_describe(layer) for layer in derived.layers]


def test_arrays_are_shared_between_graphs():
    network, table = NETWORKS["chain"], DependencyTable(NETWORKS["chain"])
    layers = {
        layer.name: ChipLayer.of(
            list_chip_options(layer, BitWidths(4, 4), ACCELERATOR, MappingModel.BEST)[0], ACCELERATOR
        )
        for layer in derive_layer_table(network)
    }
    first, second = (table.graph(layers).layers[1].needs[0] for _ in range(2))
    assert np.shares_memory(first.windows, second.windows)
