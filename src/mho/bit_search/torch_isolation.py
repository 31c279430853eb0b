"""Keeps an agent's small networks apart from the rest of the process: its random state and its threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def isolated(seed: int | None = None) -> Iterator[None]:
    """Run torch on one thread, with random state that is put back afterwards.

    An agent's products are so small that handing them to more threads costs more than it saves (many times more where
    other processes compete for the cores), and one thread gives the same sums on every machine.

    Args:
        seed: seeds torch meanwhile; None leaves it as it is.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
