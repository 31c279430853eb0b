"""What mapping alone adds to the paper's speedups, on layer tables derived from torchvision's own networks."""

import time

import pytest

from mho.cost_model.bounds import bound_layer
from mho.cost_model.latency import cost_network
from mho.cost_model.latency_table import LatencyTable
from mho.hardware.loading import load_accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy

pytestmark = pytest.mark.figures

ACCELERATOR = load_accelerator("pelke2026-4bit")
PUBLISHED_VGG16_POLICY = "8/8 4/7 4/6 4/3 4/5 4/4 4/4 4/6 4/4 4/2 4/6 4/3 4/7 8/8 4/7 8/8"


def milliseconds(layers, policy, model):
    return cost_network(layers, policy, ACCELERATOR, model=model).latency_ps / 1e9


def uniform(layers):
    return Policy.uniform((layer.name for layer in layers), BitWidths(8, 8))


def plausible_policy(layers):
    names = [layer.name for layer in layers]
    policy = Policy({name: BitWidths(4, (4, 5, 6, 3, 7)[number % 5]) for number, name in enumerate(names)})
    return policy.replace({names[0]: BitWidths(8, 8), names[-1]: BitWidths(8, 8)})


def test_vgg16_with_the_published_policy_is_six_point_four_times_faster(layers_of):
    layers = layers_of("vgg16")
    widths = map(BitWidths.parse, PUBLISHED_VGG16_POLICY.split())
    policy = Policy(dict(zip((layer.name for layer in layers), widths, strict=True)))
    paper = milliseconds(layers, uniform(layers), MappingModel.PAPER)
    assert paper / milliseconds(layers, policy, MappingModel.BEST) > 6.4


@pytest.mark.parametrize(
    ("network", "factor", "gap"), [("vgg16", 2.05, 1.1), ("resnet18", 2, 1.25), ("vit_b_32", 2, 1.02)]
)
def test_at_8_8_mapping_alone_doubles_the_speed_and_is_near_the_bound(layers_of, network, factor, gap):
    layers = layers_of(network)
    best = milliseconds(layers, uniform(layers), MappingModel.BEST)
    assert milliseconds(layers, uniform(layers), MappingModel.PAPER) / best > factor
    assert best <= gap * sum(bound_layer(layer, BitWidths(8, 8), ACCELERATOR).latency_ps for layer in layers) / 1e9


@pytest.mark.parametrize(("network", "speedup"), [("resnet18", 5.1), ("vit_b_32", 5.7)])
def test_fewer_bits_add_to_what_mapping_gains(layers_of, network, speedup):
    layers = layers_of(network)
    paper = milliseconds(layers, uniform(layers), MappingModel.PAPER)
    assert paper / milliseconds(layers, plausible_policy(layers), MappingModel.BEST) > speedup


def test_depthwise_layers_gain_over_one_channel_a_tile(layers_of):
    layers = layers_of("mobilenet_v2")
    depthwise = [layer for layer in layers if layer.repeat > 1]
    assert len(depthwise) == 17
    for part, gain in ((depthwise, 90), (layers, 50)):
        paper, best = (milliseconds(part, uniform(part), model) for model in (MappingModel.PAPER, MappingModel.BEST))
        assert paper / best > gain


@pytest.mark.parametrize(("network", "seconds"), [("resnet18", 1.0), ("vit_b_32", 3.0)])
def test_a_whole_table_is_quick(layers_of, network, seconds):
    layers = layers_of(network)
    start = time.process_time()
    LatencyTable.build(layers, ACCELERATOR, model=MappingModel.BEST)
    assert time.process_time() - start < seconds
