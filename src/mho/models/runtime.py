"""What a run sets in torch itself: its seeds and its threads, for callers that hold no torch of their own."""

from __future__ import annotations

import torch


def torch_generator(seed: int) -> torch.Generator:
    """Return a generator on the processor with that seed, 0..2^63 - 1."""
    return torch.Generator().manual_seed(seed)


def default_threads() -> int:
    """Return with how many threads torch computes in this process."""
    return torch.get_num_threads()


def use_threads(count: int) -> None:
    """Let torch compute with `count` threads in this process."""
    torch.set_num_threads(count)
