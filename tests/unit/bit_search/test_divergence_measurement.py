"""How far the widths of single layers move answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cached_decoder import CachedDecoder
from chip_networks import make_chain

import mho
from mho.bit_search.divergences import Probe, probe_divergences
from mho.errors import MhoError
from mho.quantization.calibration import calibrate
from mho.quantization.joint_inputs import as_inputs
from mho.quantization.smoothing import smooth

PLACES = 12
NARROW = mho.BitWidths(4, 8)


@pytest.fixture(scope="module")
def decoder():
    """A language model of whole sequences whose first layer's weights have a large outlier, and sequences."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = CachedDecoder(layers=1)
    with torch.no_grad():
        module.layers[0].up.weight.mul_(4.0)
    tokens = np.random.default_rng(0).integers(0, 29, (6, PLACES))
    network = mho.load_decoder(module, context=PLACES, block=PLACES)
    return network, mho.first_inputs(network, tokens)


def _divergence(network, inputs, layer, bits):
    """Mean Kullback-Leibler divergence of the probabilities of next tokens where one layer alone has integers."""
    trainable = mho.trainable(network, bits, inputs).eval()
    for name, module in trainable.mvm_modules.items():
        module.quantized = name == layer
    batch = as_inputs(network, inputs)
    with torch.no_grad():
        found = torch.log_softmax(trainable(batch)[0].double(), -1)
        with trainable.in_float():
            expected = torch.log_softmax(trainable(batch)[0].double(), -1)
    return float((expected.exp() * (expected - found)).sum(-1).mean())


def test_divergences_are_those_of_answers_of_one_layer_alone(decoder):
    network, inputs = decoder
    name = network.layer_names[0]
    found = mho.measure_divergences(network, inputs, widths=("8/8", "3/8"), layers=[name])
    assert [str(bits) for bits in found.layers[name]] == ["3/8", "8/8"]
    for bits, measured in found.layers[name].items():
        assert measured == pytest.approx(_divergence(network, inputs, name, bits), rel=1e-3)
    assert (list(found.layers), found.samples, found.effort) == ([name], 6, "fast")


def test_a_smoothed_network_is_measured_where_it_will_be_smoothed(decoder):
    network, inputs = decoder
    found = [mho.measure_divergences(network, inputs, effort=effort) for effort in ("fast", "good")]
    assert found[0].layers != found[1].layers
    smoothed = smooth(network, mho.Policy.uniform(network.layer_names, "8/8"), as_inputs(network, inputs))
    assert mho.measure_divergences(smoothed, inputs).layers == found[1].layers


def test_probed_samples_are_spread_over_all(decoder):
    network, inputs = decoder
    name = network.layer_names[0]
    reports = []
    found = mho.measure_divergences(network, inputs, probed_samples=3, layers=[name], on_progress=reports.append)
    trainable = mho.trainable(network)
    batch = as_inputs(network, inputs)
    trainable.set_calibration(calibrate(trainable, batch))
    divergence = probe_divergences(
        trainable, [batch[torch.tensor([0, 2, 4])]], [Probe(name, NARROW)], mho.Task("language-modelling"),
        reference=None, samples=3,
    )  # fmt: skip
    assert found.layers[name][NARROW] == pytest.approx(float(divergence[0]))
    assert found.samples == 3
    assert reports[-1].is_finished
    assert reports[-1].fraction == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": ["4/8"]}, "two or more"),
        ({"widths": "4/8"}, "a list of pairs"),
        ({"widths": ["4/8", "16/8"]}, r"1\.\.8"),
        ({"widths": ["4/8/5", "8/8"]}, r"1\.\.8"),
        ({"layers": ["frist"]}, "frist"),
        ({"layers": "frist"}, "a list of names"),
        ({"layers": []}, "no layer"),
        ({"task": None}, "name the task"),
        ({"probed_samples": 0}, "1 or more"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, message):
    given = {"task": mho.Task("regression"), **change}
    with pytest.raises(MhoError, match=message):
        mho.measure_divergences(make_chain(), np.zeros((2, 1, 6, 6), np.float32), **given)


def test_a_quantized_network_is_refused():
    samples = np.random.default_rng(0).normal(size=(4, 1, 6, 6)).astype(np.float32)
    with pytest.raises(MhoError, match="quantized"):
        mho.measure_divergences(mho.quantize(make_chain(), "8/8", samples), samples)
