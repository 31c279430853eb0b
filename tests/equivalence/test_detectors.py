"""Detectors: branches, routes, upsampling and two outputs, from torch to integers on a crossbar."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bits import assert_same_bits
from quantized_models import quantize_by_range
from random_networks import random_inputs

from mho.hardware.loading import load_accelerator
from mho.models import build_model
from mho.network.reference import run_float, run_quantized
from mho.network.torch_reader import read_torch
from mho.program.lowering import compile_network
from mho.simulation.executor import Executor

SHAPE = (3, 32, 64)


@pytest.fixture(scope="module", params=["tinyyolov3", "tinyyolov4"])
def detector(request):
    module = build_model(request.param, 2, SHAPE, torch.Generator().manual_seed(1)).eval()
    return module, read_torch(module, (1, *SHAPE))


def test_what_is_read_computes_what_torch_computes(detector):
    module, network = detector
    inputs = random_inputs(network, 2)
    ours = run_float(network, inputs)
    with torch.no_grad():
        theirs = module(torch.from_numpy(next(iter(inputs.values()))[:, 0]))
    for tensor, expected in zip(network.outputs, theirs, strict=True):
        assert np.allclose(ours[tensor.name], expected.numpy(), rtol=1e-4, atol=1e-5)
    assert [tensor.shape for tensor in network.outputs] == [(1, 21, 1, 2), (1, 21, 2, 4)]


def test_programs_give_the_integers_on_both_grids(detector):
    network = quantize_by_range(detector[1], 4, 4)
    inputs = random_inputs(network, 2)
    program = compile_network(network, load_accelerator("pelke2026-4bit"))
    assert_same_bits(Executor(program).run(inputs), run_quantized(network, inputs))
