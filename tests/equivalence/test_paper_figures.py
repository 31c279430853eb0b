"""The figures of arXiv 2601.21737, to the digit, from layer tables that are derived from torchvision's own networks."""

import json
import os
import subprocess
import sys
import time

import pytest

from mho.cost_model.latency import cost_network
from mho.cost_model.latency_table import LatencyTable
from mho.hardware.loading import load_accelerator, override
from mho.hardware.spec import Encoding
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy

pytestmark = pytest.mark.figures

PAPER = MappingModel.PAPER

PUBLISHED_VGG16_POLICY = "8/8 4/7 4/6 4/3 4/5 4/4 4/4 4/6 4/4 4/2 4/6 4/3 4/7 8/8 4/7 8/8"

VGG16 = [
    *[(64, 27, 50176), (64, 576, 50176), (128, 576, 12544), (128, 1152, 12544)],
    *[(256, 1152, 3136), (256, 2304, 3136), (256, 2304, 3136)],
    *[(512, 2304, 784), (512, 4608, 784), (512, 4608, 784)],
    *[(512, 4608, 196), (512, 4608, 196), (512, 4608, 196)],
    *[(4096, 25088, 1), (4096, 4096, 1), (1000, 4096, 1)],
]
"""Outputs, inputs and positions, checked by hand."""

RESNET18 = [
    (64, 147, 12544),
    *[(64, 576, 3136)] * 4,
    *[(128, 576, 784), (128, 1152, 784), (128, 64, 784), (128, 1152, 784), (128, 1152, 784)],
    *[(256, 1152, 196), (256, 2304, 196), (256, 128, 196), (256, 2304, 196), (256, 2304, 196)],
    *[(512, 2304, 49), (512, 4608, 49), (512, 256, 49), (512, 4608, 49), (512, 4608, 49)],
    (1000, 512, 1),
]

ENCODER_BLOCK = [
    *[(2304, 768, 50, 1), (50, 64, 50, 12), (64, 50, 50, 12), (768, 768, 50, 1)],
    *[(3072, 768, 50, 1), (768, 3072, 50, 1)],
]


def uniform(layers, bits="8/8"):
    return Policy.uniform((layer.name for layer in layers), BitWidths.parse(bits))


def milliseconds(layers, policy, *, cell_bits=4, encoding=Encoding.DIFFERENTIAL_COLUMNS):
    accelerator = override(load_accelerator(f"pelke2026-{cell_bits}bit"), encoding=encoding)
    picoseconds = cost_network(layers, policy, accelerator, model=PAPER).latency_ps
    assert LatencyTable.build(layers, accelerator, model=PAPER).policy_latency_ps(policy) == picoseconds
    return f"{picoseconds / 1e9:.1f}"


@pytest.mark.parametrize(
    ("network", "cell_bits", "encoding", "figure"),
    [
        ("vgg16", 4, Encoding.DIFFERENTIAL_COLUMNS, "12394.6"),
        ("vgg16", 4, Encoding.DIFFERENTIAL_ROWS, "13167.2"),
        ("vgg16", 4, Encoding.OFFSET, "9781.8"),
        ("resnet18", 4, Encoding.DIFFERENTIAL_COLUMNS, "1507.5"),
        ("resnet18", 2, Encoding.DIFFERENTIAL_COLUMNS, "3014.9"),
        ("vit_b_32", 4, Encoding.DIFFERENTIAL_COLUMNS, "3461.1"),
    ],
)
def test_uniform_8_8_takes_what_the_paper_says(layers_of, network, cell_bits, encoding, figure):
    layers = layers_of(network)
    assert milliseconds(layers, uniform(layers), cell_bits=cell_bits, encoding=encoding) == figure


def test_the_published_policy_of_vgg16_has_the_papers_headline_speedup(layers_of):
    layers = layers_of("vgg16")
    widths = map(BitWidths.parse, PUBLISHED_VGG16_POLICY.split())
    policy = Policy(dict(zip((layer.name for layer in layers), widths, strict=True)))
    accelerator = load_accelerator("pelke2026-4bit")
    reference = cost_network(layers, uniform(layers), accelerator, model=PAPER).latency_ps
    assert milliseconds(layers, policy) == "4993.6"
    assert f"{reference / cost_network(layers, policy, accelerator, model=PAPER).latency_ps:.3f}" == "2.482"


@pytest.mark.parametrize(("network", "count"), [("vgg16", 16), ("resnet18", 21), ("vit_b_32", 74)])
def test_a_network_has_the_papers_number_of_mvm_layers(layers_of, network, count):
    assert len(layers_of(network)) == count


@pytest.mark.parametrize(("network", "expected"), [("vgg16", VGG16), ("resnet18", RESNET18)])
def test_the_derived_table_of_a_convolutional_network_is_the_one_checked_by_hand(layers_of, network, expected):
    layers = layers_of(network)
    assert [(layer.outputs, layer.inputs, layer.positions) for layer in layers] == expected
    assert {layer.repeat for layer in layers} == {1}


def test_the_derived_table_of_the_transformer_is_the_one_checked_by_hand(layers_of):
    derived = [(layer.outputs, layer.inputs, layer.positions, layer.repeat) for layer in layers_of("vit_b_32")]
    assert derived == [(768, 3072, 49, 1), *ENCODER_BLOCK * 12, (1000, 768, 1, 1)]


@pytest.mark.slow
def test_costing_takes_30_seconds_cold_and_2_seconds_warm(tmp_path):
    command = [sys.executable, "-m", "mho", "cost", "torchvision:vgg16", "--accelerator", "pelke2026-4bit"]
    command += ["--mapping", "paper"]
    environment = {**os.environ, "MHO_CACHE_DIR": str(tmp_path)}
    answers, seconds = [], []
    for _ in range(2):
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "--format", "json"], env=environment, capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - start)
        answers.append(json.loads(done.stdout))
    assert answers[0] == answers[1]
    assert f"{answers[0]['latency_us'] / 1e3:.1f}" == "12394.6"
    assert seconds[0] < 30
    assert seconds[1] < 2


def test_a_kept_table_needs_no_framework(layers_of, table_cache):
    layers_of("resnet18")
    code = (
        "import sys; from mho.cli.main import main; "
        "options = ['--accelerator', 'pelke2026-4bit', '--mapping', 'paper']; "
        "assert main(['cost', 'torchvision:resnet18', *options]) == 0; "
        "assert not {'torch', 'onnx'} & set(sys.modules)"
    )
    environment = {**os.environ, "MHO_CACHE_DIR": str(table_cache)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "latency 1507.5 ms" in done.stdout
