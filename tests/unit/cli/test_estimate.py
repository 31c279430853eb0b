"""``mho estimate`` and `mho.estimate`: the accuracy on chips by the statistical model, beside sampled chips."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from commands import run as run_command

import mho
from mho.hardware.loading import accelerator_from_json

HARDWARE = make_accelerator(32, 32, 2, array={"programming_error": 0.2})


@pytest.fixture(scope="module")
def network():
    model = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            values = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            parameter.copy_(values / parameter.shape[-1] ** 0.5)
    inputs = np.random.default_rng(0).standard_normal((60, 12)).astype(np.float32)
    return mho.quantize(mho.load(model, torch.zeros(1, 12)), "4/4", inputs), inputs


@pytest.fixture(scope="module")
def samples(network):
    """Return inputs and what the integers answer: their accuracy is 1."""
    quantized, inputs = network
    (outputs,) = mho.simulate(mho.compile(quantized, HARDWARE), inputs).values()
    return inputs, outputs.argmax(axis=1)


def test_integers_the_estimate_and_sampled_chips_stand_beside_each_other(network, samples):
    found = mho.estimate(network[0], HARDWARE, samples, chips=4, mapping="paper", seed=2)
    assert found.samples == 60
    assert found.exact == 1
    assert found.chips == 4
    assert 0.3 < found.estimated < 1
    assert abs(found.estimated - found.sampled) < 0.25
    alone = mho.estimate(network[0], HARDWARE, samples, mapping="paper", seed=2)
    assert alone.estimated == found.estimated
    assert alone.sampled is None


def test_the_command_prints_the_same(network, samples, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    quantized, _ = network
    mho.save(quantized, "q.onnx")
    np.savez("x.npz", **{quantized.inputs[0].name: samples[0]}, labels=samples[1])
    arguments = ["q.onnx", "--accelerator", "neurram", "--data", "x.npz", "--chips", "1"]
    content = json.loads(run_command(capsys, "estimate", *arguments, "--json"))
    own = mho.estimate(mho.load("q.onnx"), "neurram", "x.npz", chips=1)
    for key in ("exact", "estimated", "sampled", "chips", "samples"):
        assert content[key] == getattr(own, key)
    text = run_command(capsys, "estimate", *arguments)
    assert f"{own.estimated:.2%}" in text
    assert f"{own.sampled:.2%}" in text


def test_what_cannot_be_estimated_is_refused(network, samples):
    content = HARDWARE.to_json()
    content["array"] |= {"stuck_on_rate": 0.01, "placement": "fault-aware"}
    faulty = accelerator_from_json(content, where="faulty")
    with pytest.raises(mho.MhoError, match="stuck cells of each chip"):
        mho.estimate(network[0], faulty, samples)
    with pytest.raises(mho.MhoError, match="in float"):
        mho.estimate(mho.load(torch.nn.Linear(12, 4), torch.zeros(1, 12)), HARDWARE, samples)
    with pytest.raises(mho.MhoError, match="chips is -1"):
        mho.estimate(network[0], HARDWARE, samples, chips=-1)
