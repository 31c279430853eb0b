"""Two finished runs, compared: settings, policies, figures, and whether their accuracies differ by more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mho.evaluation.significance import (
    SIGNIFICANCE,
    Difference,
    PairedCounts,
    compare_independent,
    compare_means,
    compare_normal,
    compare_paired,
    estimate_share,
    interval_of,
)
from mho.report.page import flatten
from mho.report.result import RunResult
from mho.report.result_figures import Candidate, ChipAccuracies, Score
from mho.report.run_comparison_document import (
    AccuracyInterval,
    ComparedAccuracy,
    ComparedMeasure,
    ComparedPolicyLayer,
    ComparedSide,
    RunComparison,
    SettingDifference,
    Side,
)
from mho.report.run_comparison_text import describe_verdict
from mho.workflow.finished_runs import FinishedRunFiles

_UNCOMPARED = ("run.name", "run.directory", "hardware.sources")
"""Settings that say nothing of a run."""
_FOUND = "found"


def compare_runs(first: FinishedRunFiles, second: FinishedRunFiles) -> RunComparison:
    """Compare the found policies of two runs."""
    one, other = first.result, second.result
    measures, accuracies = _compare_measures(one, other), _compare_accuracies(first, second)
    better = decide(measures[0], accuracies[0])
    return RunComparison(
        first=_describe(first),
        second=_describe(second),
        settings=compare_settings(_settings(one), _settings(other)),
        measures=measures,
        accuracies=accuracies,
        layers=_compare_layers(one, other),
        better=better,
        verdict=describe_verdict(measures[0], accuracies[0], better),
        notes=_notes(one, other),
    )


def decide(latency: ComparedMeasure, accuracy: ComparedAccuracy) -> Side | None:
    """Return the run that is better in one and no worse in the other; None where there is none, or nothing to tell by.

    Args:
        latency: of one inference.
        accuracy: which counts as worse only by more than chance.
    """
    if accuracy.p_value is None or latency.ratio is None:
        return None
    if None in (latency.better, accuracy.better) or latency.better == accuracy.better:
        return latency.better or accuracy.better
    return None


def compare_settings(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[SettingDifference, ...]:
    """Return the settings that differ, those of the first run first.

    Args:
        first, second: settings as text, by dotted key.
    """
    keys = [key for key in dict.fromkeys((*first, *second)) if not key.startswith(_UNCOMPARED)]
    return tuple(
        SettingDifference(key=key, first=first.get(key), second=second.get(key))
        for key in keys
        if first.get(key) != second.get(key)
    )


def _settings(result: RunResult) -> dict[str, str]:
    return dict(flatten(result.settings)) | dict(flatten({"hardware": result.accelerator}))


def _describe(files: FinishedRunFiles) -> ComparedSide:
    result = files.result
    return ComparedSide(
        run=files.given, name=result.name, network=result.network.source, data=result.data.name,
        accelerator=str(result.accelerator.get("name", "")), version=result.versions.get("mho", "unknown"),
        sentence=result.sentence,
    )  # fmt: skip


def _notes(first: RunResult, second: RunResult) -> tuple[str, ...]:
    notes = [
        f"{what} differ: {one} and {other}."
        for what, one, other in (
            ("Networks", first.network.source, second.network.source),
            ("Data", first.data.name, second.data.name),
            ("Accelerators", first.accelerator.get("name"), second.accelerator.get("name")),
        )
        if one != other
    ]
    notes.append(
        "Chance is which test samples were drawn. Each run is one search and one training; other seeds may differ more."
    )
    return tuple(notes)


def _compare_measures(first: RunResult, second: RunResult) -> tuple[ComparedMeasure, ...]:
    ours, theirs = _measures(first), _measures(second)
    return tuple(
        _measure(name, unit, least, ours.get(name), theirs.get(name))
        for name, (unit, least) in _KINDS.items()
        if ours.get(name) is not None or theirs.get(name) is not None
    )


_KINDS: Mapping[str, tuple[str, bool | None]] = {
    "latency of one inference": ("us", True),
    "speedup over its own uniform 8/8": ("x", False),
    "time between inferences": ("us", True),
    "energy of one inference": ("pJ", True),
    "inferences until cells may fail": ("", False),
    "crossbar writes": ("", True),
    "crossbar reads (MVMs)": ("", True),
    "mean bits of weights": ("bits", None),
    "mean bits of activations": ("bits", None),
    "bits of all weights": ("", True),
    "program file": ("B", True),
}
"""Figures by name: their unit, and whether the least is best, the most, or neither."""


def _measures(result: RunResult) -> dict[str, float | None]:
    found = result.candidate(_FOUND)
    split = next((one for one in result.splits if one.name == _FOUND), None)
    size = next((one for one in result.sizes if one.name == _FOUND), None)
    chip = next((one for one in result.chip if one.name == _FOUND), None)
    values = (
        found.latency_us,
        found.speedup,
        None if chip is None else chip.interval_us,
        None if split is None else split.total_energy_pj,
        None if chip is None else chip.lifetime_inputs,
        found.tiles,
        found.mvms,
        found.weight_bits,
        found.act_bits,
        None if size is None else size.weight_bits,
        None if size is None else size.program_bytes,
    )
    return dict(zip(_KINDS, values, strict=True))


def _measure(name: str, unit: str, least: bool | None, first: float | None, second: float | None) -> ComparedMeasure:
    better: Side | None = None
    if first is not None and second is not None and first != second and least is not None:
        better = "first" if (first < second) == least else "second"
    ratio = second / first if first and second is not None else None
    return ComparedMeasure(name=name, unit=unit, first=first, second=second, ratio=ratio, better=better)


def _compare_accuracies(first: FinishedRunFiles, second: FinishedRunFiles) -> tuple[ComparedAccuracy, ...]:
    """Return accuracies on chips, where some run sampled any, then integer-reference accuracies."""
    one, other = first.result, second.result
    exact = _compare_exactly(one, other, _count_pairs(first, second))
    return (_compare_chips(one, other), exact) if one.chip_accuracies or other.chip_accuracies else (exact,)


def _exact(candidate: Candidate) -> Score:
    return candidate.integer_reference or candidate.test


def _compare_exactly(first: RunResult, second: RunResult, pairs: PairedCounts | None) -> ComparedAccuracy:
    one, other = (_exact(run.candidate(_FOUND)) for run in (first, second))
    sides: dict[str, Any] = {
        "name": f"integer-reference {first.task.words}", "task": first.task, "first": _interval(one),
        "second": _interval(other),
    }  # fmt: skip
    if reason := _why_incomparable(first, second):
        return ComparedAccuracy(**sides, test=reason)
    if one.correct is None or other.correct is None:
        errors = one.standard_error, other.standard_error
        if not errors[0] or not errors[1]:
            difference = other.accuracy - one.accuracy
            return ComparedAccuracy(**sides, difference=difference, test="the metric's own uncertainty is unknown")
        found = compare_normal((one.accuracy, errors[0]), (other.accuracy, errors[1]))
        test = "normal distributions of the metric by the jackknife, as of different samples"
    elif pairs is None:
        found = compare_independent((one.correct, one.count), (other.correct, other.count))
        test = "Fisher's exact test, as of different samples"
    else:
        found, test = compare_paired(pairs), f"McNemar's exact test on the same {pairs.total:,} samples"
    return ComparedAccuracy(
        **sides, difference=found.value, low=found.low, high=found.high, p_value=found.p_value, test=test,
        better=_winner(found),
    )  # fmt: skip


def _winner(found: Difference) -> Side | None:
    if not found.is_significant:
        return None
    return "second" if found.value > 0 else "first"


def _interval(score: Score) -> AccuracyInterval:
    if score.correct is not None:
        share = estimate_share(score.correct, score.count)
        return AccuracyInterval(accuracy=share.value, low=share.low, high=share.high, count=score.count)
    band = interval_of(score.accuracy, score.standard_error) if score.standard_error else (None, None)
    return AccuracyInterval(accuracy=score.accuracy, low=band[0], high=band[1], count=score.count)


def _why_incomparable(first: RunResult, second: RunResult) -> str:
    """Return why accuracies cannot be compared; empty where they can."""
    if first.task != second.task:
        return f"tasks differ: {first.task.kind} by {first.task.words}, {second.task.kind} by {second.task.words}"
    if first.data.classes != second.data.classes or first.data.name != second.data.name:
        return "test data differ, so accuracies cannot be compared"
    return ""


def _count_pairs(first: FinishedRunFiles, second: FinishedRunFiles) -> PairedCounts | None:
    """Return on which samples each is right, where both predicted the same ones; else None."""
    ours, theirs = first.result.data.test_sha256, second.result.data.test_sha256
    if ours is None or ours != theirs or first.predictions is None or second.predictions is None:
        return None
    (labels, one), (others, other) = first.predictions, second.predictions
    if not np.array_equal(labels, others):
        return None
    right, theirs_right = one.classes == labels, other.classes == labels
    return PairedCounts(
        both=int((right & theirs_right).sum()),
        first=int((right & ~theirs_right).sum()),
        second=int((~right & theirs_right).sum()),
        neither=int((~right & ~theirs_right).sum()),
    )


def _compare_chips(first: RunResult, second: RunResult) -> ComparedAccuracy:
    """Return how accurate both are on their chips; those of ideal hardware answer as exact integers do."""
    name = f"{first.task.words} on sampled chips"
    one, other = (next((c for c in r.chip_accuracies if c.name == _FOUND), None) for r in (first, second))
    first_interval, second_interval = _chips_interval(one, first), _chips_interval(other, second)

    def without(reason: str) -> ComparedAccuracy:
        return ComparedAccuracy(name=name, test=reason, first=first_interval, second=second_interval, task=first.task)

    if first_interval is None or second_interval is None:
        return without("only one run sampled chips")
    if reason := _why_incomparable(first, second):
        return without(reason)
    difference = second_interval.accuracy - first_interval.accuracy
    p_value = None if one is None or other is None else compare_means(one.accuracies, other.accuracies)
    if p_value is not None:
        test = "Welch's t test over chips"
    elif not first.task.is_classification:
        return without("one chip alone, so chance cannot be estimated")
    else:  # of a single chip, or of ideal ones, only samples are a matter of chance
        test = "Fisher's exact test of the samples of a chip"
        counts = [_count_right(chips, run) for chips, run in ((one, first), (other, second))]
        p_value = compare_independent(*counts).p_value
    return ComparedAccuracy(
        name=name, difference=difference, p_value=p_value, first=first_interval, second=second_interval, test=test,
        better=None if p_value >= SIGNIFICANCE else "second" if difference > 0 else "first",
    )  # fmt: skip


def _count_right(chips: ChipAccuracies | None, result: RunResult) -> tuple[int, int]:
    """Return how many samples a run's chip classifies correctly, or ideal ones do, and of how many."""
    if chips is not None:
        return round(chips.mean * chips.images), chips.images
    score = _exact(result.candidate(_FOUND))
    return score.correct or 0, score.count


def _chips_interval(chips: ChipAccuracies | None, result: RunResult) -> AccuracyInterval | None:
    """Return the accuracy of a run's found policy on its chips; None where they are not ideal and none were sampled."""
    if chips is None:
        return None if result.unsampled else _interval(_exact(result.candidate(_FOUND)))
    return AccuracyInterval(accuracy=chips.mean, low=chips.band.low, high=chips.band.high, count=len(chips.accuracies))


def _compare_layers(first: RunResult, second: RunResult) -> tuple[ComparedPolicyLayer, ...]:
    ours, theirs = ({layer.name: layer.found for layer in result.layers} for result in (first, second))
    layers = []
    for name in dict.fromkeys((*ours, *theirs)):
        one, other = ours.get(name), theirs.get(name)
        layers.append(
            ComparedPolicyLayer(
                layer=name,
                first_bits=None if one is None else one.bits,
                second_bits=None if other is None else other.bits,
                first_latency_us=None if one is None else one.latency_us,
                second_latency_us=None if other is None else other.latency_us,
            )
        )
    return tuple(layers)
