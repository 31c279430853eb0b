"""One training for all policies: in every step each layer has other widths, and all share their weights.

After it a policy only needs a calibration: the weights have learned to be rounded to any of the widths (weight sharing
as in one-shot mixed-precision search, arXiv 2401.01543, 2502.01199). Batch normalizations keep their statistics, which
would be those of no policy, and steps are calibrated, not learned.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from mho.data.dataset import Split
from mho.network.graph import Network
from mho.policy import BitWidths, Policy
from mho.quantization.calibration_table import CalibrationTable
from mho.quantization.compilation import unwrap
from mho.quantization.qat import TrainableNetwork
from mho.quantization.training import ProgressCallback, train
from mho.quantization.training_options import TrainingOptions

SPREAD = 2.0
"""Bits by which the widths of one policy differ from its level, at most."""


@dataclass(frozen=True)
class SharedWidths:
    """Draws a policy for every step: a level common to all layers, and widths of each operand near it.

    Widths drawn for each layer by itself would leave some layer at the fewest bits in nearly every step, and no step
    would be of a policy that keeps its accuracy.

    Attributes:
        choices: of each layer, what it may have: one or more.
    """

    choices: Mapping[str, Sequence[BitWidths]]

    def draw(self, generator: torch.Generator) -> Policy:
        """Return a policy."""
        every = [
            bits for options in self.choices.values() for one in options for bits in (one.weight_bits, one.act_bits)
        ]
        noise = torch.rand(1 + 2 * len(self.choices), generator=generator).tolist()
        level = min(every) + (max(every) - min(every)) * noise[0]
        around = [level + SPREAD * (2 * one - 1) for one in noise[1:]]
        near = zip(self.choices.items(), around[::2], around[1::2], strict=True)
        return Policy({name: _nearest(options, weight, act) for (name, options), weight, act in near})


def train_shared(
    runnable: nn.Module,
    table: CalibrationTable,
    widths: SharedWidths,
    split: Split,
    options: TrainingOptions,
    generator: torch.Generator,
    *,
    teacher: Network | None = None,
    checkpoint: Path | None = None,
    on_progress: ProgressCallback | None = None,
) -> None:
    """Train the float weights of a network for all policies that `widths` draws; it is in float before and after.

    Calibrate it anew afterwards: its weights are others.

    Args:
        runnable: a `TrainableNetwork` with float weights, or its compiled form.
        table: its calibration.
        widths: draws policies.
        split, options, generator, checkpoint, on_progress, teacher: as for `mho.quantization.training.train`; of the
            options `fixed_norm_share` and `scale_learning_rate` do not count.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    trainable = unwrap(runnable)
    assert isinstance(trainable, TrainableNetwork), "what is trained has widths"
    fixed = dataclasses.replace(options, fixed_norm_share=1.0, scale_learning_rate=0.0)
    trainable.set_calibration(table.complete())
    trainable.set_policy(Policy({name: max(options) for name, options in widths.choices.items()}))

    def vary(generator: torch.Generator) -> None:
        trainable.set_policy(widths.draw(generator))

    train(runnable, split, fixed, generator, checkpoint, on_progress, teacher=teacher, before_step=vary)
    trainable.set_policy(None)


def _nearest(options: Sequence[BitWidths], weight_bits: float, act_bits: float) -> BitWidths:
    return min(options, key=lambda one: abs(one.weight_bits - weight_bits) + abs(one.act_bits - act_bits))
