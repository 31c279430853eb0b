"""What a simulated schedule did, small enough to look at: stretches of work, and how many crossbars worked when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mho.simulation.chip_timing import Span

_Chain = tuple[str, int, int, bool]
"""A layer, a copy, an input, and whether it reads: it is written before."""


@dataclass(frozen=True)
class Stretch:
    """A copy that works on one input, with pauses too short to be shown.

    Attributes:
        layer, copy, index: whose windows, on which copy, of which input.
        start_ps, finish_ps: from when to when.
        busy_ps: time of its windows, without the pauses.
        windows: how many; 0 for a write.
        is_write: True where the copy is written with the operand of that input.
    """

    layer: str
    copy: int
    index: int
    start_ps: int
    finish_ps: int
    busy_ps: int
    windows: int
    is_write: bool = False

    @property
    def busy(self) -> float:
        """Share of the time in which the copy reads, or is written."""
        return self.busy_ps / (self.finish_ps - self.start_ps) if self.finish_ps > self.start_ps else 1.0


def merge_spans(spans: Sequence[Span], limit: int) -> tuple[Stretch, ...]:
    """Join spans of the same copy and input across the shortest pauses, until about `limit` stretches are left.

    Args:
        spans: those of each copy in order of time.
        limit: stretches that are wanted; there are more where there are more inputs times copies.

    Returns:
        In order of layers, copies, inputs and time, as `spans` first name them. Writes are joined with nothing.
    """
    chains: dict[_Chain, list[Span]] = {}
    for span in spans:
        chains.setdefault((span.layer, span.copy, span.index, not span.is_write), []).append(span)
    longest = _find_pause(chains, len(spans) - limit)
    order = {name: number for number, name in enumerate(dict.fromkeys(span.layer for span in spans))}
    found = []
    for key in sorted(chains, key=lambda key: (order[key[0]], *key[1:])):
        joined: list[Span] = []
        for span in chains[key]:
            if joined and span.start_ps - joined[-1].finish_ps > longest:
                found.append(_join(joined))
                joined = []
            joined.append(span)
        found.append(_join(joined))
    return tuple(found)


def measure_activity(
    spans: Sequence[Span], crossbars: Mapping[str, int], total_ps: int, bins: int
) -> NDArray[np.float64]:
    """Return how many crossbars work on average in each of `bins` equal parts of the time, float64 [bins].

    Args:
        spans: when copies work, between 0 and `total_ps`.
        crossbars: of one copy of each layer.
        total_ps: of the whole schedule, above 0.
        bins: 1 or more.
    """
    weights = np.array([crossbars[span.layer] for span in spans], np.float64)
    times = np.array([(span.start_ps, span.finish_ps) for span in spans], np.int64).reshape(-1, 2)
    return measure_levels(times, weights, total_ps, bins)


def measure_levels(
    times: NDArray[np.int64], weights: NDArray[np.float64], total_ps: int, bins: int
) -> NDArray[np.float64]:
    """Return the sum of the weights of what is under way, on average in each of `bins` equal parts of a time.

    Args:
        times: int64 [things, 2], start and end of each, ps.
        weights: float64 [things].
        total_ps: the whole time, above 0.
        bins: 1 or more.
    """
    moments = np.concatenate([times[:, 0], times[:, 1]])
    changes = np.concatenate([weights, -weights])
    order = np.argsort(moments, kind="stable")
    moments, working = moments[order], np.cumsum(changes[order])
    # Crossbars times time, up to each moment; linear between moments, so that edges may lie anywhere.
    done = np.concatenate([[0.0], np.cumsum(working[:-1] * np.diff(moments).astype(np.float64))])[: len(moments)]
    edges = np.linspace(0.0, total_ps, bins + 1)
    if not len(moments):
        return np.zeros(bins)
    return np.diff(np.interp(edges, moments, done)) / (total_ps / bins)


def _find_pause(chains: Mapping[_Chain, Sequence[Span]], surplus: int) -> int:
    """Return the longest pause that is joined over so that there are `surplus` stretches fewer, ps; -1 for none."""
    if surplus <= 0:
        return -1
    pauses = [later.start_ps - earlier.finish_ps for chain in chains.values() for earlier, later in pairwise(chain)]
    return sorted(pauses)[min(surplus, len(pauses)) - 1] if pauses else -1


def _join(spans: Sequence[Span]) -> Stretch:
    first, last = spans[0], spans[-1]
    return Stretch(
        first.layer,
        first.copy,
        first.index,
        first.start_ps,
        last.finish_ps,
        sum(span.finish_ps - span.start_ps for span in spans),
        sum(span.windows for span in spans),
        first.is_write,
    )
