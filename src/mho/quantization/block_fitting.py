"""Fits a block of layers, on their integer grids, to what the float network's block gives.

Block reconstruction (BRECQ, Li et al. 2021, arXiv 2102.05426): weights, biases and the steps of weights and inputs move
together along the gradient of the mean square difference of the block's outputs, straight through the rounding, as in
quantization-aware training, but without labels and a block at a time. Half of the block's inputs, drawn anew in every
step, are those of the float network: so the block does not learn the errors of a few samples (QDrop, Wei et al. 2022,
arXiv 2203.05740); the last steps see the quantized inputs alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mho.quantization.modules import MvmModule
from mho.quantization.network_parts import Streams, Tensors
from mho.quantization.qat import Step, TrainableNetwork

_PURE_SHARE = 0.25
"""Of the steps, the last ones, that mix no inputs of the float network in."""

_WEIGHT_RATE, _BIAS_RATE, _STEP_RATE = 0.02, 0.001, 0.002
"""Highest rates of Adam: of weights, in steps of their grid; of biases, in norms of their weights; of logarithms of
steps."""

_MOST_SAMPLES, _VALUES = 32, 1 << 21
"""Of a batch, bounded by the values of the block's largest tensor."""


def fit_block(
    trainable: TrainableNetwork,
    steps: Sequence[Step],
    layers: Sequence[MvmModule],
    start: Streams,
    wanted: Sequence[Tensors],
    descent_steps: int,
    generator: torch.Generator,
) -> None:
    """Move the layers of a block so that its outputs come near the float network's.

    Args:
        trainable: in evaluation mode, quantized.
        steps: of the block.
        layers: of the block that may change.
        start: samples at the cut before it; both streams stay there.
        wanted: what the float network gives behind it, batch by batch.
        descent_steps: of gradient descent.
        generator: draws batches and which inputs are mixed.
    """
    groups = list(_parameter_groups(layers))
    were_learned = [[one.requires_grad for one in group["params"]] for group in groups]
    optimizer = torch.optim.Adam(
        [{**group, "params": [p.requires_grad_(True) for p in group["params"]]} for group in groups]
    )
    highest, scale = [group["lr"] for group in groups], _mean_square(wanted)
    together = _batches_at_once(trainable, steps, wanted)
    try:
        for number in range(descent_steps):
            for group, rate in zip(optimizer.param_groups, highest, strict=True):
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * number / descent_steps))
            chosen = torch.randperm(len(wanted), generator=generator)[:together].tolist()
            tensors, targets = _join(start.rounded, chosen), _join(wanted, chosen)
            if number < (1 - _PURE_SHARE) * descent_steps:
                tensors = _mix(_join(start.exact, chosen), tensors, generator)
            with torch.enable_grad():
                trainable.run(steps, tensors)
                lost = [(tensors[name] - values).square().mean() for name, values in targets.items()]
                optimizer.zero_grad()
                (torch.stack(lost).sum() / scale).backward()
            optimizer.step()
    finally:
        for group, flags in zip(groups, were_learned, strict=True):
            for parameter, is_learned in zip(group["params"], flags, strict=True):
                parameter.requires_grad_(is_learned)
                parameter.grad = None
        for layer in layers:
            _finish(layer)


def _parameter_groups(layers: Iterable[MvmModule]) -> Iterator[dict[str, Any]]:
    for layer in layers:
        yield {"params": [layer.input_quantizer.log_ratio, layer.weight_quantizer.log_ratio], "lr": _STEP_RATE}
        if layer.weight is None or layer.bias_correction is None:
            continue
        step = float(layer.weight_quantizer.step().detach().abs().mean())
        norm = float(layer.weight.detach().flatten(1).norm(dim=1).mean())
        yield {"params": [layer.weight], "lr": _WEIGHT_RATE * step}
        yield {"params": [layer.bias_correction], "lr": _BIAS_RATE * norm}


def _batches_at_once(trainable: TrainableNetwork, steps: Sequence[Step], batches: Sequence[Tensors]) -> int:
    """Return how many stored batches make one of gradient descent."""
    largest = max(math.prod(trainable.network.shapes[step.output]) for step in steps)
    samples = max(1, min(_MOST_SAMPLES, _VALUES // max(1, largest)))
    return max(1, min(len(batches), samples // len(next(iter(batches[0].values())))))


def _join(batches: Sequence[Tensors], chosen: Sequence[int]) -> Tensors:
    if len(chosen) == 1:
        return dict(batches[chosen[0]])
    return {name: torch.cat([batches[one][name] for one in chosen]) for name in batches[chosen[0]]}


@torch.no_grad()
def _finish(module: MvmModule) -> None:
    """Make learned steps those of the grids, and the weights the rounded ones."""
    for quantizer in (module.input_quantizer, module.weight_quantizer):
        quantizer.base_step.copy_(quantizer.step())
        quantizer.log_ratio.zero_()
    if module.weight is not None:
        module.weight.copy_(module.weight_quantizer(module.weight))


def _mix(exact: Tensors, rounded: Tensors, generator: torch.Generator) -> Tensors:
    """Return inputs of which half are the float network's."""
    mixed = {}
    for name, values in rounded.items():
        is_exact = torch.rand(values.shape, generator=generator) < 0.5
        mixed[name] = torch.where(is_exact, exact[name], values)
    return mixed


def _mean_square(batches: Sequence[Tensors]) -> float:
    squares = [values.square().mean() for batch in batches for values in batch.values()]
    mean: Tensor = torch.stack(squares).mean()
    return max(float(mean), torch.finfo(torch.float32).tiny)
