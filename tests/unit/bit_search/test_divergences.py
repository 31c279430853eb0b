"""Divergences are those of whole passes, whatever the task's answers are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mho.bit_search.divergences import Probe, answer_of, probe_divergences
from mho.bit_search.sensitivity_probes import probe_layers
from mho.data.dataset import Split
from mho.network.torch_reader import read_torch
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork
from mho.task.task import Task

SAMPLES, CLASS_AXIS = 12, {"segmentation": 1, "sequence-labelling": -1, "regression": None}


def _network(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "segmentation":
            layers = torch.nn.Conv2d(2, 6, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(6, 3, 1)
        else:
            layers = torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    inputs = torch.from_numpy(np.random.default_rng(1).normal(size=(SAMPLES, 2, 5, 4)).astype(np.float32))
    inputs = inputs if kind == "segmentation" else inputs[:, 0]
    network = TrainableNetwork(read_torch(torch.nn.Sequential(*layers), (1, *inputs.shape[1:]))).eval()
    network.set_calibration(calibrate(network, inputs))
    return network, inputs


def _mean_divergence(found, expected, kind):
    """Of outputs [N, ...], by the definition."""
    if (axis := CLASS_AXIS[kind]) is None:
        return (found - expected).square().sum().item() / 2 / len(found)
    found, expected = (torch.softmax(scores.double(), dim=axis) for scores in (found, expected))
    return (expected * (expected / found).log()).sum(axis).mean().item()


@pytest.mark.parametrize("kind", CLASS_AXIS)
@pytest.mark.parametrize("in_float", [True, False])
def test_a_divergence_is_that_of_whole_passes(kind, in_float):
    trainable, inputs = _network(kind)
    names = tuple(trainable.mvm_modules)
    reference = None if in_float else Policy.uniform(names, BitWidths(8, 8))
    probes = [Probe(name, BitWidths(w, a)) for name in names for w, a in ((3, 8), (8, 2), (4, 4))]
    shares = []
    found = probe_divergences(
        trainable, inputs.split(5), probes, Task(kind), reference=reference, samples=SAMPLES, on_progress=shares.append
    )
    trainable.set_policy(reference)
    expected = trainable(inputs).detach()
    for probe, divergence in zip(probes, found, strict=True):
        with trainable.layer_at(probe.layer, probe.widths):
            other = trainable(inputs).detach()
        assert divergence == pytest.approx(_mean_divergence(other, expected, kind), rel=1e-4)
        assert divergence > 1e-6
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["segmentation", "sequence-labelling"])
def test_probes_of_positions_compare_probabilities_of_classes(kind):
    trainable, inputs = _network(kind)
    targets = np.zeros((SAMPLES, 5, 4) if kind == "segmentation" else (SAMPLES, 5), np.int64)
    split = Split(inputs.numpy(), targets, None, None, Task(kind))
    probes = probe_layers(trainable, split, bits=(3,))
    name = probes.layer_names[0]
    trainable.set_policy(Policy.uniform(probes.layer_names, BitWidths(8, 8)))
    expected = trainable(inputs).detach()
    with trainable.layer_at(name, BitWidths(3, 8)):
        other = trainable(inputs).detach()
    assert probes.divergences[0, 0, 0] == pytest.approx(_mean_divergence(other, expected, kind), rel=1e-4)


def test_the_policy_and_the_mode_come_back():
    trainable, inputs = _network("sequence-labelling")
    policy = Policy.uniform(tuple(trainable.mvm_modules), BitWidths(5, 6))
    trainable.set_policy(policy)
    trainable.train()
    probes = [Probe(name, BitWidths(2, 8)) for name in trainable.mvm_modules]
    probe_divergences(trainable, [inputs], probes, Task("sequence-labelling"), reference=None, samples=SAMPLES)
    assert trainable.policy == policy
    assert trainable.training
    assert answer_of(trainable.network) == trainable.network.outputs[0].name
