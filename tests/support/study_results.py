"""Results of studies for tests of what is made of them."""

from __future__ import annotations

from mho.evaluation.confidence import find_band
from mho.report.study_document import StudyResult

SAMPLES, EXACT = 100, 0.975


def point(values, correct, sweep=None):
    band, worst = find_band(correct, SAMPLES), min(correct)
    return {
        "sweep": sweep, "values": values, "correct": correct, "mean": band.mean, "std": band.std, "low": band.low,
        "high": band.high, "worst": worst / SAMPLES, "worst_seed": correct.index(worst),
    }  # fmt: skip


def make_result(sweeps, points, *, seeds=3, design="one-at-a-time"):
    return StudyResult.model_validate(
        {
            "name": "<study> & more", "version": "0", "design": design,
            "program": {"name": "p", "source": "p.mho", "sha256": "ab" * 32, "accelerator": "x"},
            "samples": {"source": "digits", "count": SAMPLES, "sha256": "cd" * 32},
            "seeds": list(range(seeds)), "base": {}, "exact_accuracy": EXACT, "confidence": 0.95,
            "sweeps": [{"key": key, "values": values, "scale": scale} for key, values, scale in sweeps],
            "points": points,
        }
    )  # fmt: skip
