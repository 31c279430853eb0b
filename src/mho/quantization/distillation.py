"""Distillation: a quantized network learns what its float network answers, beside the labels (arXiv 1503.02531).

Answers to augmented samples are computed as they come: no sample is augmented alike twice, so none could be kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mho.errors import ConfigError
from mho.network.graph import Network
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training_options import TrainingOptions
from mho.task.task import Task


class Teacher:
    """Mixes the loss of a training with the divergence from a network's answers.

    Args:
        network: float, trained, of the same inputs and outputs as what is trained.
        share: 0..1, of the divergence in the loss.
        device: of torch, where the training runs.
    """

    def __init__(self, network: Network, share: float, device: torch.device) -> None:
        self._module: nn.Module = TrainableNetwork(network).to(device).eval().requires_grad_(False)
        self._share = share

    def mix(self, loss: Tensor, inputs: Tensor, outputs: Tensor, task: Task) -> Tensor:
        """Return the loss with the mean divergence of outputs [n, ...] from the teacher's.

        Of scores of classes that of Kullback and Leibler for each sample or position, of others their mean squared
        difference.
        """
        with torch.no_grad():
            wanted = self._module(inputs)
        if task.has_classes:
            wanted, outputs = (functional.log_softmax(task.class_rows(one), 1) for one in (wanted, outputs))
            divergence = functional.kl_div(outputs, wanted, log_target=True, reduction="batchmean")
        else:
            divergence = functional.mse_loss(outputs, wanted)
        return (1 - self._share) * loss + self._share * divergence


def find_teacher(network: Network | None, options: TrainingOptions, device: torch.device) -> Teacher | None:
    """Return the teacher of a training; None where there is none.

    Raises:
        ConfigError: the options want one and there is none, or there is one that would do nothing.
    """
    if (network is None) != (options.distillation == 0):
        raise ConfigError(
            f"distillation is {options.distillation:g}, and {'no' if network is None else 'a'} teacher is given",
            where="training",
            expected="a share above 0 and the float network to learn from, or neither",
        )
    return None if network is None else Teacher(network, options.distillation, device)
