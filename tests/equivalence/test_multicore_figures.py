"""The networks of CLSA-CIM (arXiv 2401.07671) on its architecture, convolutions only: crossbars and steps."""

from __future__ import annotations

import pytest

from mho.hardware.loading import load_accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import derive_layer_table
from mho.network.loading import load_network
from mho.policy import BitWidths, Policy
from mho.scheduling.dependencies import build_work_graph
from mho.scheduling.options import list_network_options

pytestmark = pytest.mark.figures

ACCELERATOR = load_accelerator("clsa-256")
STEP_PS = 1_400_000


@pytest.mark.parametrize(
    ("network", "convolutions", "crossbars", "steps"),
    [
        ("tinyyolov3", 13, 142, 232_882),
        pytest.param("tinyyolov4", 21, 117, 113_061, marks=pytest.mark.slow),
        pytest.param("torchvision:vgg16", 13, 233, 137_788, marks=pytest.mark.slow),
        ("resnet50v1", 53, 390, 58_310),
        pytest.param("resnet152v1", 155, 936, 85_358, marks=pytest.mark.slow),
    ],
)
def test_minimal_crossbars_and_steps_of_layers_one_after_the_other(network, convolutions, crossbars, steps):
    loaded = load_network(network)
    layers = [layer for layer in derive_layer_table(loaded) if layer.kind == "conv"]
    policy = Policy.uniform((layer.name for layer in layers), BitWidths(8, 8))
    options = list_network_options(layers, policy, ACCELERATOR, MappingModel.BEST)
    assert all(len(found) == 1 for found in options.values())
    graph = build_work_graph(loaded, {name: found[0] for name, found in options.items()}, ACCELERATOR)
    assert len(graph.layers) == convolutions
    assert graph.minimal_crossbars == crossbars
    assert graph.layer_by_layer_ps == steps * STEP_PS
    assert all(layer.needs for layer in graph.layers[1:])
    assert all(int(need.windows[-1]) == graph[need.producer].windows for need in graph.layers[-1].needs)
