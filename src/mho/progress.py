"""How far a long call is, for who called it: what it reports, and what takes the reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a long call is.

    Attributes:
        stage: what it does now: "float", "search", "chips", ...
        title: the same for people.
        fraction: how much of the stage is done, 0..1.
        detail: what is done now; of a finished stage, what came out.
        total_fraction: how much of all stages is done, 0..1, by their estimated work.
        seconds_left: estimate for all stages, s; None before there is one.
        is_finished: whether the stage is finished.
    """

    stage: str
    title: str
    fraction: float
    detail: str
    total_fraction: float
    seconds_left: float | None
    is_finished: bool = False


OnProgress = Callable[[Progress], None]
"""Called as a long call goes on, in its thread. What it raises ends the call; results so far are kept."""
