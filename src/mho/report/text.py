"""Numbers for people: units that fit, digits that mean something, and the sentence that tells the result."""

from __future__ import annotations

from collections.abc import Sequence

from mho.report.result import EXACT, ChipAnswers, Contender, SearchFigures

TIMES = "\u00d7"
_THIN = "\u202f"


def format_latency(microseconds: float) -> str:
    """Return a time with the unit that keeps it between 1 and 1000: ``613 µs``, ``4.21 ms``, ``12.4 s``."""
    for limit, unit, factor in ((1e3, "µs", 1.0), (1e6, "ms", 1e-3)):
        if microseconds < limit:
            return f"{_significant(microseconds * factor)}{_THIN}{unit}"
    return f"{_significant(microseconds * 1e-6)}{_THIN}s"


def format_cost(cost: float, unit: str) -> str:
    """Return a cost of a policy in the unit that suits it.

    Args:
        cost: in `unit`.
        unit: "ps", "aJ", "aJ ps" (an energy times a time) or "crossbars".
    """
    if unit == "ps":
        return format_latency(cost * 1e-6)
    if unit == "crossbars":
        return f"{cost:,.0f} crossbars"
    if unit == "aJ ps":
        return f"{_significant(cost * 1e-18)}{_THIN}µJ µs"
    for limit, name, factor in ((1e9, "pJ", 1e-6), (1e12, "nJ", 1e-9), (1e15, "µJ", 1e-12)):
        if cost < limit:
            return f"{_significant(cost * factor)}{_THIN}{name}"
    return f"{_significant(cost * 1e-15)}{_THIN}mJ"


def format_percent(share: float, digits: int = 2) -> str:
    """Return a fraction as ``98.40 %``."""
    return f"{100 * share:.{digits}f}{_THIN}%"


def format_points(points: float) -> str:
    """Return a difference of accuracies as ``0.20 points``."""
    return f"{points:.2f} points"


def format_count(number: int) -> str:
    """Return a whole number with groups of three digits."""
    return f"{number:,}".replace(",", _THIN)


def format_bytes(size: int) -> str:
    """Return a size as ``312 KiB``."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f}{_THIN}{unit}" if unit == "B" else f"{_significant(size)}{_THIN}{unit}"
        size /= 1024  # type: ignore[assignment]
    return f"{_significant(size)}{_THIN}GiB"


def format_seconds(seconds: float) -> str:
    """Return a duration: ``4.2 s``, ``58 s``, ``3 min 05 s``, ``1 h 02 min``."""
    if seconds < 59.5:
        return f"{seconds:.1f}{_THIN}s" if seconds < 9.95 else f"{seconds:.0f}{_THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{_THIN}min {rest:02d}{_THIN}s"
    return f"{minutes // 60}{_THIN}h {minutes % 60:02d}{_THIN}min"


def compare_accuracy(points: float, accuracy: float, other: str) -> str:
    """Say how an accuracy compares with that of `other`.

    Args:
        points: of accuracy lost against it.
        accuracy: of the other, 0..1.
        other: its name.
    """
    share = f"{other} ({format_percent(accuracy)})"
    if abs(points) < 0.005:
        return f"as accurate as {share}"
    return f"{format_points(abs(points))} {'below' if points > 0 else 'above'} {share}"


def tell_result(
    found: Contender, reference: Contender, in_float: Contender, *, network: str, chip: str, data: str, tested_on: str
) -> str:
    """Return the result of a run: speedup, accuracy, and what is lost against uniform 8/8 and float.

    Args:
        found, reference, in_float: the networks that are compared.
        network, chip, data: names of what was mapped, onto what, and tested on what.
        tested_on: what test accuracies are of; see `mho.report.result.RunResult`.
    """
    assert found.latency_us is not None, "the found policy has a latency"
    assert reference.latency_us is not None, "the reference has a latency"
    compared = " and ".join(
        compare_accuracy(100 * (other.test.accuracy - found.test.accuracy), other.test.accuracy, name)
        for other, name in ((reference, "uniform 8/8"), (in_float, "float32"))
    )
    speedup = reference.latency_us / found.latency_us
    times = f"{format_latency(found.latency_us)} instead of {format_latency(reference.latency_us)} an inference"
    exact = "" if found.integer_reference is None else format_percent(found.integer_reference.accuracy)
    share = f"{format_percent(found.test.accuracy)}, {compared}"
    accuracy = (
        f"Its integer-reference accuracy on the test samples of {data} is {share}."
        if tested_on == EXACT
        else f"Its accuracy on the test samples of {data} is {share}, on {tested_on}; its integer-reference accuracy "
        f"is {exact}."
    )
    return (
        f"With the bit widths found for it, {network} answers {speedup:.2f}{TIMES} as fast on {chip} as at uniform 8/8 "
        f"({times}). {accuracy}"
    )


def tell_chips(answers: Sequence[ChipAnswers], unsampled: str, accelerator: str) -> str:
    """Return what programs answer on sampled chips, why none were sampled, or that chips are ideal.

    Args:
        answers: of uniform 8/8 and the found policy; empty where no chips were sampled.
        unsampled: why not; empty where that is because hardware is ideal.
        accelerator: its name.
    """
    if unsampled:
        told = f"No chips of {accelerator} were sampled, although cells, wires or converters are not ideal"
        return f"{told}: {unsampled}."
    if not answers:
        return f"Cells, wires and converters of {accelerator} are ideal: its chips answer the same."
    *others, found = answers
    more = "".join(f"; {one.label}: {tell_spread(one)}" for one in others)
    return f"On {found.chips}, {found.images} test samples each: {tell_spread(found)}{more}."


def tell_spread(answers: ChipAnswers) -> str:
    """Return mean, least and most accuracy: ``mean 43.50 % (40.10 to 50.20)``; of one chip, its own."""
    if len(answers.accuracies) == 1:
        return format_percent(answers.mean)
    least, most = 100 * min(answers.accuracies), 100 * max(answers.accuracies)
    return f"mean {format_percent(answers.mean)} ({least:.2f} to {most:.2f})"


def tell_objective(search: SearchFigures) -> str:
    """Tell what the search made least, and how much that is; nothing where it is the latency that is told anyway.

    Where the cost was limited, tell the limit.
    """
    if search.objective == "latency" and search.cost_budget is None:
        return ""
    reference, found = search.evaluations[0], search.evaluations[search.best]
    costs = f"{format_cost(found.cost, search.unit)} instead of {format_cost(reference.cost, search.unit)}"
    if search.cost_budget is not None:
        return (
            f" They were searched for accuracy within {format_cost(search.cost_budget, search.unit)} of "
            f"{search.objective_words}: {costs} at uniform 8/8, {found.gain:.2f}{TIMES} less."
        )
    return (
        f" They were searched for the {search.objective_words}: {costs} at uniform 8/8, {found.gain:.2f}{TIMES} less."
    )


def _significant(number: float) -> str:
    if number >= 100:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"
