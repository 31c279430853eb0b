"""The average of a network before and after a training: most of what was learned, with less of what was lost.

Both lie in one valley of the loss where the training was short, and the mean of their weights is often better than
either (Wortsman et al. 2022, arXiv 2109.01903). Steps are averaged as their logarithms, as they are learned.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mho.quantization.qat import TrainableNetwork


def copy_state(module: TrainableNetwork) -> dict[str, Tensor]:
    """Return copies of a network's parameters, statistics and grids, by name."""
    return {name: tensor.detach().clone() for name, tensor in module.state_tensors().items()}


@torch.no_grad()
def average_with(module: TrainableNetwork, before: Mapping[str, Tensor], share: float = 0.5) -> None:
    """Move `module` back towards an earlier state of its own, in place.

    Args:
        module: trained since; its widths are the same.
        before: what `copy_state` returned before.
        share: 0..1, of the earlier state in the average.
    """
    for name, tensor in module.state_tensors().items():
        if tensor.is_floating_point():
            tensor.lerp_(before[name], share)
