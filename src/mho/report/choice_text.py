"""Why the found policy was chosen, in sentences, and what became of each other one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from mho.bit_search.verdicts import Verdict
from mho.formats import TIMES, format_cost, plural
from mho.report.result import RunResult
from mho.report.result_search import EvaluationFigures, SearchFigures

MOST_ROWS = 400
"""Policies in the table of the page; result.json has all."""

_OUTCOMES = {
    Verdict.FOUND: "chosen",
    Verdict.REFERENCE: "reference",
    Verdict.FAILED: "failed",
    Verdict.SCREENED: "dropped after a shorter training",
    Verdict.OVER_BUDGET: "costs too much",
    Verdict.INACCURATE: "loses too much",
    Verdict.SMOOTHED: "loses too much, smoothed",
    Verdict.FINALIST: "trained fully, not taken",
    Verdict.FEW_SEEDS: "too few seeds",
    Verdict.COSTLIER: "costs more",
    Verdict.HIGHER_LOSS: "higher loss",
    Verdict.NOT_TRAINED: "no finalist",
}
_REASONS = {
    Verdict.REFERENCE: "{} is uniform 8/8",
    Verdict.FAILED: "{} failed",
    Verdict.SCREENED: "{} promised too little after a shorter training",
    Verdict.OVER_BUDGET: "{} over the budget",
    Verdict.INACCURATE: "{} below the accepted accuracy as measured",
    Verdict.SMOOTHED: "{} below it once smoothed, so probably accurate by luck",
    Verdict.FINALIST: "{} trained fully and not taken",
    Verdict.FEW_SEEDS: "{} measured with fewer seeds than a policy needs to win",
    Verdict.COSTLIER: "{} more expensive",
    Verdict.HIGHER_LOSS: "{} of higher loss on the calibration split",
    Verdict.NOT_TRAINED: "{} not among the finalists",
}
"""After a number of policies; in the order of the checks."""


def describe_outcome(entry: EvaluationFigures) -> str:
    """Return what became of a policy, in a few words."""
    return "\u2014" if entry.verdict is None else _OUTCOMES[entry.verdict]


def list_tried(search: SearchFigures) -> tuple[EvaluationFigures, ...]:
    """Return the policies for the table, the cheapest first; the found one and uniform 8/8 are always there."""
    ranked = sorted(search.evaluations, key=lambda entry: (entry.cost, entry.score is None, entry.score or 0.0))
    kept = {entry.index for entry in ranked[: MOST_ROWS - 2]} | {0, search.best}
    return tuple(entry for entry in ranked if entry.index in kept)


def explain_choice(result: RunResult) -> tuple[str, ...]:
    """Return sentences: what was chosen, by which rule, and why not a faster or a more accurate one."""
    search = result.search
    found = search.evaluations[search.best]
    if found.verdict is None:
        return ()
    sentences = [_describe_found(search, found), _describe_rule(search)]
    if len(search.finalists) > 1:
        last = "the first that keeps what may be lost" if search.cost_budget is None else "the most accurate"
        sentences.append(
            f"{len(search.finalists)} finalists were trained fully; this one is {last}, or the best of them."
        )
    others = [entry for entry in search.evaluations if entry.index != search.best]
    cheap = [entry for entry in others if entry.cost <= found.cost]
    sentences.append(
        _count("cost no more" if len(cheap) > 1 else "costs no more", cheap)
        if cheap
        else "No other policy that was tried costs as little."
    )
    better = [
        entry for entry in others if entry.cost > found.cost and (entry.accuracy or 0.0) > (found.accuracy or 0.0)
    ]
    if better and search.cost_budget is not None:
        sentences.append(_count("are more accurate and cost more", better))
    elif better:
        sentences.append(f"{plural(len(better), 'policy is', 'policies are')} more accurate, and more expensive.")
    return tuple(sentences)


def _describe_found(search: SearchFigures, found: EvaluationFigures) -> str:
    interval, tell = "", search.task.judged_by.format
    if found.low is not None and found.high is not None:
        interval = f", 95 % interval {tell(found.low, page=True)} to {tell(found.high, page=True)}"
    mean = f" (mean of {found.seeds} seeds{interval})" if found.seeds > 1 else " (one measurement)"
    return (
        f"The star is policy {found.index + 1}: {format_cost(found.cost, search.unit)}, {found.gain:.2f}{TIMES}, "
        f"{tell(found.accuracy, page=True)} on validation data{mean}."
    )


def _describe_rule(search: SearchFigures) -> str:
    reference = search.evaluations[0]
    seeds = f" It must be measured with {reference.seeds} seeds." if reference.seeds > 1 else ""
    if search.cost_budget is not None:
        limit = format_cost(search.cost_budget, search.unit)
        return f"What wins is the lowest loss on the calibration split at no more than {limit}.{seeds}"
    metric = search.task.judged_by
    target, drop = metric.format(search.target_accuracy, page=True), search.allowed_drop or 0.0
    smoothed = (
        "" if search.smoothed_target is None else f" (then from {metric.format(search.smoothed_target, page=True)})"
    )
    least, side = ("least", "below") if metric.is_more_better else ("most", "above")
    return (
        f"What wins is the cheapest policy with at {least} {target}: {metric.format_drop(drop)} {side} "
        f"{_describe_full(search, reference)}, {plural(reference.seeds, 'seed')}). It must reach "
        f"that as measured, and once accuracies are smoothed along the loss{smoothed}: of many single measurements the "
        f"fastest that seems accurate enough is a lucky one.{seeds}"
    )


def _describe_full(search: SearchFigures, reference: EvaluationFigures) -> str:
    """Return what drops count from: uniform 8/8, by exact integers where policies were evaluated on chips."""
    accuracy, metric = reference.accuracy or 0.0, search.task.judged_by
    full = (search.target_accuracy or 0.0) + metric.allowed(search.allowed_drop or 0.0)
    own = metric.format(accuracy, page=True)
    if abs(full - accuracy) < 1e-9 or search.target_accuracy in (None, metric.worst):
        return f"uniform 8/8 ({own}"
    return f"uniform 8/8 with exact integers ({metric.format(full, page=True)}, and {own} on chips"


def _count(what: str, entries: Iterable[EvaluationFigures]) -> str:
    """Return how many policies there are, and why none of them was taken."""
    counts = Counter(entry.verdict for entry in entries)
    reasons = [text.format(counts[verdict]) for verdict, text in _REASONS.items() if counts[verdict]]
    return f"Of the other policies, {counts.total():,} {what}: {', '.join(reasons)}."
