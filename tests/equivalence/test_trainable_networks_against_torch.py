"""Architectures read from torch run, train and quantize as a `TrainableNetwork` without a class of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer, mobilenet_v2

from mho.network.reference import run_quantized
from mho.network.torch_reader import read_torch
from mho.policy import BitWidths, Policy
from mho.quantization.calibration import calibrate
from mho.quantization.qat import TrainableNetwork


def _mobile() -> nn.Module:
    stages = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 2]]  # expansion, channels, blocks, stride
    return mobilenet_v2(num_classes=7, width_mult=0.25, inverted_residual_setting=stages)


def _transformer() -> nn.Module:
    model = VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=7
    )
    nn.init.normal_(model.heads.head.weight, std=0.2)  # torchvision starts from zero
    return model


@pytest.mark.parametrize("build", [_mobile, _transformer])
def test_it_runs_trains_and_quantizes(build: object) -> None:
    torch.manual_seed(0)
    model = build().eval()  # type: ignore[operator]
    x = torch.randn(12, 3, 32, 32)
    trainable = TrainableNetwork(read_torch(model, (1, 3, 32, 32))).eval()
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(trainable(x), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    calibrate(trainable, x)
    trainable.set_policy(Policy.uniform(trainable.mvm_modules, BitWidths(8, 8)))
    with torch.no_grad():
        ours = trainable(x[:4]).numpy()
    (integers,) = run_quantized(trainable.to_quantized_network(), x[:4].numpy()).values()
    assert (np.abs(ours - integers) <= 0.02 * np.abs(integers).max()).mean() > 0.95
    trainable.train()
    torch.nn.functional.cross_entropy(trainable(x), torch.arange(12) % 7).backward()
    trained = [p for p in trainable.parameters() if p.requires_grad]
    assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in trained)
