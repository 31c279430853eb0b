"""The digital units of cores while a chip is simulated: each does the digital work of one window at a time."""

from __future__ import annotations

from collections import deque

from mho.simulation.chip_state import CopyState

Turn = tuple[CopyState, int]
"""A copy, and its window over all inputs."""


class DigitalQueue:
    """Who has the digital unit of each core, and who waits for it: first come first served."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[Turn]] = {}

    def take(self, copy: CopyState, item: int) -> bool:
        """Let a window have the unit of its copy's core; False where it must wait."""
        core = copy.place.home
        if core not in self._waiting:
            self._waiting[core] = deque()
            return True
        self._waiting[core].append((copy, item))
        return False

    def give(self, copy: CopyState) -> Turn | None:
        """A copy leaves the unit of its core: return who has it next."""
        core = copy.place.home
        if self._waiting[core]:
            return self._waiting[core].popleft()
        del self._waiting[core]
        return None
