"""What layers save that are written at once, for thousands of policies: what the sum of the layers' own times lacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mho.hardware.spec import Accelerator
from mho.mapping.stacks import StackSpace, StackTimes, saved_times_ps

Array = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SharedWrites:
    """What every layer takes in a stack, at all pairs of widths.

    Attributes:
        stack_times: of all layers in execution order, [weight widths, activation widths] each.
        write_ps: time of one write.
        space: of the crossbar.
        runs: layers start .. stop - 1 that may share; no write is shared across their ends.
    """

    stack_times: tuple[StackTimes, ...]
    write_ps: int
    space: StackSpace
    runs: tuple[range, ...]

    @classmethod
    def of(cls, stack_times: tuple[StackTimes, ...], accelerator: Accelerator) -> SharedWrites | None:
        """Return what may be saved; None where nothing can.

        Args:
            stack_times: of all layers in execution order, [weight widths, activation widths] each.
            accelerator: whose crossbar and rules are meant.
        """
        runs = tuple(find_sharing_runs(stack_times)) if accelerator.mapping.allowed.shared_writes else ()
        if not runs:
            return None
        return cls(stack_times, accelerator.write_latency_ps, StackSpace(accelerator.crossbar), runs)

    def saved_ps(self, weight_index: Array, act_index: Array) -> Array:
        """Return what policies save of the sum of their layers' own times.

        Args:
            weight_index, act_index: int64 [..., layers], numbers of the widths in the axes of `stack_times`.

        Returns:
            int64 [...], ps, at least 0.
        """
        weights, acts = (index.reshape(-1, len(self.stack_times)) for index in (weight_index, act_index))
        saved = np.zeros(len(weights), dtype=np.int64)
        for run in self.runs:
            chosen = [(weights[:, layer], acts[:, layer]) for layer in run]
            saved += saved_times_ps([self.stack_times[layer] for layer in run], chosen, self.write_ps, self.space)
        return saved.reshape(weight_index.shape[:-1])

    def demands(self, layer: int, weight_index: Array, act_index: Array, alone_ps: Array) -> Array:
        """Return what a layer takes of a policy's time in every place that it may have in a crossbar.

        A layer that would take longer in a stack than by itself and another write does that instead.

        Args:
            layer: its number.
            weight_index, act_index: int64 [N], numbers of the widths.
            alone_ps: int64 [N, 1], time of the layer by itself.

        Returns:
            int64 [N, demands]; where all are no more at some widths than at others, no policy with these is slower.
        """
        own = self.stack_times[layer]
        extra, is_transparent = own.extra_ps[weight_index, act_index], own.is_transparent[weight_index, act_index]
        within = alone_ps + np.minimum(extra, self.write_ps).reshape(len(alone_ps), -1)
        return np.concatenate([within, 1 - is_transparent[:, None]], axis=1)

    def holds(self, layer: int) -> bool:
        """Tell whether a layer may share a write, or lie between layers that do."""
        return any(layer in run for run in self.runs)


def find_sharing_runs(stack_times: Sequence[StackTimes]) -> Iterator[range]:
    """Yield the longest runs of layers that may share or do not disturb, from one that may share to another.

    No write is shared across their ends: the best stacks of a network are those of its runs.
    """
    able: list[int] = []
    for number, layer in enumerate(stack_times):
        if layer.can_share:
            able.append(number)
        elif not layer.is_transparent.any():
            if len(able) > 1:
                yield range(able[0], able[-1] + 1)
            able = []
    if len(able) > 1:
        yield range(able[0], able[-1] + 1)
