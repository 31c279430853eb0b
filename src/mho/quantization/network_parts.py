"""A network in parts: where it can be cut, and what samples give at each cut, in float and on integer grids.

Two streams of the same samples run through the network part by part: one in float, one quantized as far as the parts
before it are. Only the tensors at the current cut are kept, so memory does not grow with depth.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mho.quantization.batches import samples_within
from mho.quantization.joint_inputs import Inputs
from mho.quantization.modules import MvmModule
from mho.quantization.qat import Step, TrainableNetwork

MEMORY_BYTES = 1 << 30
"""What both streams may take."""

_BYTES_EACH = 24
"""For a value at a cut: float32 in both streams, before a part and behind it, and before its block."""

_BATCH_VALUES = 1 << 23
"""Of the largest tensor of a batch."""

_MOST_SAMPLES_AT_ONCE = 64

Tensors = dict[str, Tensor]
Look = Callable[[Step, list[Tensor], int], None]


@dataclass(frozen=True)
class Part:
    """Consecutive steps that start at a cut.

    Attributes:
        steps: of the network.
        crossing: how many tensors the cut before it has.
    """

    steps: tuple[Step, ...]
    crossing: int

    @property
    def layers(self) -> list[tuple[int, str, MvmModule]]:
        """Its MVM layers: place among the steps, name and module."""
        return [(i, s.name, s.module) for i, s in enumerate(self.steps) if isinstance(s.module, MvmModule)]


def samples_that_fit(trainable: TrainableNetwork, samples: int) -> int:
    """Return how many samples both streams can hold within `MEMORY_BYTES`, at least 1."""
    network = trainable.network
    values = sum(math.prod(tensor.shape) for tensor in network.inputs)
    return max(1, min(samples, MEMORY_BYTES // (_BYTES_EACH * max(1, values))))


def find_parts(trainable: TrainableNetwork, samples: int) -> list[Part]:
    """Cut the network before each MVM layer where what crosses the cut fits into memory for that many samples.

    Each part but the first starts with an MVM layer; nodes before the first one belong to the first part.
    """
    network, steps = trainable.network, trainable.steps
    limit = MEMORY_BYTES // (_BYTES_EACH * max(1, samples))
    live = {tensor.name for tensor in network.inputs}
    parts: list[Part] = []
    begun: list[Step] = []
    crossing = len(live)
    for step in steps:
        is_cut = isinstance(step.module, MvmModule) and any(isinstance(s.module, MvmModule) for s in begun)
        if is_cut and sum(math.prod(network.shapes[name]) for name in live) <= limit:
            parts.append(Part(tuple(begun), crossing))
            begun, crossing = [], len(live)
        begun.append(step)
        live = (live | {step.output}) - set(step.finished)
    parts.append(Part(tuple(begun), crossing))
    return parts


def join_blocks(parts: Sequence[Part]) -> list[list[Part]]:
    """Group parts into blocks: each starts where a single tensor crosses."""
    blocks: list[list[Part]] = []
    for part in parts:
        if not blocks or part.crossing == 1:
            blocks.append([])
        blocks[-1].append(part)
    return blocks


class Streams:
    """Samples at a cut of the network, in batches: `exact` as the float network has them, `rounded` as the other."""

    def __init__(self, trainable: TrainableNetwork, inputs: Inputs) -> None:
        at_once = samples_within(trainable.network, _BATCH_VALUES, _MOST_SAMPLES_AT_ONCE)
        batches = [trainable.take_inputs((batch,)) for batch in inputs.split(at_once)]
        self._trainable = trainable
        self.samples = len(inputs)
        self.exact: list[Tensors] = batches
        self.rounded: list[Tensors] = [dict(batch) for batch in batches]

    def copy(self) -> Streams:
        """Return streams at the same cut, which share tensors with these."""
        other = copy.copy(self)
        other.exact, other.rounded = ([dict(batch) for batch in one] for one in (self.exact, self.rounded))
        return other

    def advance_exact(self, steps: Sequence[Step], look: Look | None = None) -> None:
        """Run the float stream; `look` is called with each step, its operands and the number of their first sample."""
        with self._trainable.in_float():
            for first, batch in self._numbered(self.exact):
                for step in steps:
                    if look is not None:
                        look(step, step.take(batch), first)
                    self._trainable.run((step,), batch)

    def advance_rounded(self, steps: Sequence[Step]) -> None:
        """Run the quantized stream."""
        for batch in self.rounded:
            self._trainable.run(steps, batch)

    def look_rounded(self, steps: Sequence[Step], place: int, look: Look) -> None:
        """Call `look` with the operands that the quantized stream gives a step; the stream stays where it is."""
        for first, batch in self._numbered(self.rounded):
            tensors = dict(batch)
            self._trainable.run(steps[:place], tensors)
            look(steps[place], steps[place].take(tensors), first)

    @staticmethod
    def _numbered(batches: Sequence[Tensors]) -> Iterator[tuple[int, Tensors]]:
        first = 0
        for batch in batches:
            count = len(next(iter(batch.values())))
            yield first, batch
            first += count


def mean_square_error(given: Sequence[Tensors], wanted: Sequence[Tensors]) -> float:
    """Return the mean square difference over all tensors of all batches, as a share of their mean square."""
    lost = scale = 0.0
    for one, other in zip(given, wanted, strict=True):
        for name, values in other.items():
            lost += float((one[name] - values).square().sum(dtype=torch.float64))
            scale += float(values.square().sum(dtype=torch.float64))
    return lost / scale if scale else lost
