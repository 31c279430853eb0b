"""Stopping trainings that are hopeless: halfway they are no better than guessing.

Candidates start from trained weights, so a network whose loss is still that of a guess after half of a short training
was destroyed by its widths. The rule knows nothing of other policies, so a measurement depends on its policy alone.
"""

from __future__ import annotations

import math

from mho.quantization.training import TrainingProgress


class StoppedTrainingError(Exception):
    """Ends a training from within; never leaves the evaluator.

    Attributes:
        note: what was found.
    """

    def __init__(self, note: str) -> None:
        super().__init__(note)
        self.note = note


class ChanceLevelTest:
    """Told of every step of a training, it raises `StoppedTrainingError` halfway where that is due.

    The mean loss of the second quarter of the steps is compared with that of a uniform guess.

    Args:
        classes: how many there are to guess.
    """

    def __init__(self, classes: int) -> None:
        self._limit = math.log(classes)
        self._losses: list[float] = []
        self._epoch, self._first, self._total = 0, 0, 0.0

    def __call__(self, progress: TrainingProgress) -> None:
        """Count a step."""
        if progress.epoch != self._epoch:
            self._epoch, self._first, self._total = progress.epoch, progress.step - 1, 0.0
        total = progress.loss * (progress.step - self._first)  # the mean is over the epoch so far
        self._losses.append(total - self._total)
        self._total = total
        half = progress.steps // 2
        if progress.step != half or half < 2:
            return
        quarter = self._losses[half // 2 : half]
        mean = sum(quarter) / len(quarter)
        if mean >= self._limit:
            raise StoppedTrainingError(
                f"stopped after {half} of {progress.steps} steps: a loss of {mean:.3f}, and guessing has"
                f" {self._limit:.3f}"
            )
