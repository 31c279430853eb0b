"""What other widths of one layer alone do to a network's answers, measured by forward passes.

The divergence of answers is the mean Kullback-Leibler divergence of the classes' probabilities from those of a
reference, in nats; of tasks without classes, that of normal distributions of variance 1, half the squared distance. It
is never negative, needs no labels, and is far less noisy than a difference of losses. All that lies before the layer is
the same for every width, and is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.quantization.joint_inputs import Inputs
from mho.quantization.qat import TrainableNetwork
from mho.task.task import Task

OnShare = Callable[[float], None]


@dataclass(frozen=True)
class Probe:
    """One layer with other widths than the reference's."""

    layer: str
    widths: BitWidths


@torch.no_grad()
def probe_divergences(
    trainable: TrainableNetwork,
    batches: Iterable[Inputs],
    probes: Sequence[Probe],
    task: Task,
    *,
    reference: Policy | None,
    samples: int,
    on_progress: OnShare | None = None,
) -> NDArray[np.float64]:
    """Return the mean divergence of the answers with each probe from those without, float64 [probes], >= 0.

    Args:
        trainable: with float weights, calibrated; its policy and mode are put back.
        batches: of samples.
        probes: layers and widths, at 1..8 or 16 bits; layers in execution order.
        task: whether answers have classes, and along which axis; the mean is over samples, and positions of classes.
        reference: widths of all layers; None: float.
        samples: of all batches, for the progress.
        on_progress: called with the share done, 0..1.
    """
    by_layer: dict[str, list[int]] = {}
    for number, probe in enumerate(probes):
        by_layer.setdefault(probe.layer, []).append(number)
    totals, rows, done = np.zeros(len(probes)), 0, 0
    before, was_training = trainable.policy, trainable.training
    trainable.eval()
    try:
        trainable.set_policy(reference)
        for batch in batches:
            tensors = trainable.take_inputs((batch,))
            expected = _answer(trainable, 0, dict(tensors), task)
            rows += len(expected)
            for number, step in enumerate(trainable.steps):
                for place in by_layer.get(step.name, ()):
                    with trainable.layer_at(step.name, probes[place].widths):
                        found = _answer(trainable, number, dict(tensors), task)
                    totals[place] += _divergence(found, expected, task)
                    done += len(batch)
                    if on_progress is not None:
                        on_progress(done / (samples * len(probes)))
                trainable.run((step,), tensors)
    finally:
        trainable.set_policy(before)
        trainable.train(was_training)
    return np.maximum(totals / max(1, rows), 0.0)


def _answer(trainable: TrainableNetwork, start: int, tensors: dict[str, Tensor], task: Task) -> Tensor:
    """Run the steps from number `start` on; return logarithms of probabilities, or numbers, float64 [rows, ...]."""
    trainable.run(trainable.steps[start:], tensors)
    outputs = trainable.output_of(tensors, answer_of(trainable.network)).double()
    return functional.log_softmax(task.class_rows(outputs), dim=1) if task.has_classes else outputs


def _divergence(found: Tensor, expected: Tensor, task: Task) -> float:
    """Return the sum of the rows' divergences."""
    if task.has_classes:
        return float(functional.kl_div(found, expected, reduction="sum", log_target=True))
    return float((found - expected).square().sum()) / 2.0


def answer_of(network: Network) -> str:
    """Return the name of the first output that is no state."""
    states = {state.output for state in network.states}
    return next(tensor.name for tensor in network.outputs if tensor.name not in states)
