"""What becomes of tiles: the one vocabulary of schedules, programs, results and the command line."""

from __future__ import annotations

from enum import StrEnum


class Regime(StrEnum):
    """What becomes of tiles.

    Attributes:
        ONE_CROSSBAR: one crossbar is written with every tile, one after the other.
        WEIGHT_STATIONARY: all tiles have crossbars of their own, or digital units compute their layers; weights are
            written once.
        TIME_MULTIPLEXED: tiles outnumber crossbars and are written for every input; layers follow each other.
    """

    ONE_CROSSBAR = "one-crossbar"
    WEIGHT_STATIONARY = "weight-stationary"
    TIME_MULTIPLEXED = "time-multiplexed"
