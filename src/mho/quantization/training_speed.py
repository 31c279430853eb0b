"""How quick training is here, measured on a few steps."""

from __future__ import annotations

import time

import torch

from mho.data.dataset import Split
from mho.network.graph import Network
from mho.quantization.qat import TrainableNetwork
from mho.task.losses import mean_loss

_STEPS = 3
"""Steps that are measured, after one that is not."""


def measure_training_step(network: Network, split: Split, batch_size: int, device: str = "cpu") -> float:
    """Return the time of a training step for each sample, s: forward and backward passes in float.

    Args:
        network: float; it stays as it is.
        split: samples; the first of them are taken.
        batch_size: samples of a step, at least 1.
        device: of torch.
    """
    module = TrainableNetwork(network).to(device).train()
    count = min(batch_size, len(split))
    inputs = torch.from_numpy(split.inputs(slice(0, count))).to(device)
    labels = torch.from_numpy(split.labels[:count].copy()).to(device)
    start = 0.0
    for step in range(_STEPS + 1):
        if step == 1:
            start = time.perf_counter()
        mean_loss(split.task, module(inputs), labels).backward()
        if device != "cpu":
            torch.cuda.synchronize()
    return (time.perf_counter() - start) / (_STEPS * count)
