"""The result of a run as text: its sentences, and its networks in a table."""

from __future__ import annotations

from collections.abc import Sequence

from mho.bit_search.methods import GIVEN
from mho.formats import TIMES, format_cost, format_percent, format_points, format_share, format_time, plural
from mho.report.columns import Column, print_columns
from mho.report.result import EXACT, RunResult
from mho.report.result_figures import Candidate, ChipAccuracies
from mho.report.result_search import SearchFigures
from mho.terminal import Console, Text


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


def describe_result(
    found: Candidate,
    reference: Candidate,
    in_float: Candidate,
    *,
    network: str,
    chip: str,
    data: str,
    tested_on: str,
    widths: str = "the bit widths found for it",
) -> str:
    """Return the result of a run: speedup, accuracy, and what is lost against uniform 8/8 and float.

    Args:
        found, reference, in_float: the networks that are compared.
        network, chip, data: names of what was mapped, onto what, and tested on what.
        tested_on: what test accuracies are of; see `mho.report.result.RunResult`.
        widths: what the bit widths are (`describe_widths`).
    """
    assert found.latency_us is not None, "the found policy has a latency"
    assert reference.latency_us is not None, "the reference has a latency"
    compared = " and ".join(
        compare_accuracy(100 * (other.test.accuracy - found.test.accuracy), other.test.accuracy, name)
        for other, name in ((reference, "uniform 8/8"), (in_float, "float32"))
    )
    speedup = reference.latency_us / found.latency_us
    time, before = (format_time(one, page=True) for one in (found.latency_us, reference.latency_us))
    times = f"{time} instead of {before} an inference"
    exact = "" if found.integer_reference is None else format_percent(found.integer_reference.accuracy)
    share = f"{format_percent(found.test.accuracy)}, {compared}"
    accuracy = (
        f"Its integer-reference accuracy on the test samples of {data} is {share}."
        if tested_on == EXACT
        else f"Its accuracy on the test samples of {data} is {share}, on {tested_on}; its integer-reference accuracy "
        f"is {exact}."
    )
    return (
        f"With {widths}, {network} answers {speedup:.2f}{TIMES} as fast on {chip} as at uniform 8/8 "
        f"({times}). {accuracy}"
    )


def describe_widths(search: SearchFigures) -> str:
    """Return what the bit widths of the found policy are, for `describe_result`."""
    if search.method == GIVEN:
        return "the bit widths that were given"
    return "the nearest bit widths that were found" if search.missed else "the bit widths found for it"


def describe_miss(search: SearchFigures) -> str:
    """Return why the search ended without what was wanted, to begin the result of a run; mostly nothing."""
    failed = f"The search failed ({' '.join(search.failed.split())}); what it had evaluated before counts. "
    return (failed if search.failed else "") + (f"{search.missed} " if search.missed else "")


def describe_chips(answers: Sequence[ChipAccuracies], unsampled: str, accelerator: str) -> str:
    """Return the accuracies of programs on sampled chips, why none were sampled, or that chips are ideal.

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
    more = "".join(f"; {one.label}: {describe_spread(one)}" for one in others)
    return f"On {found.chips}, {found.images} test samples each: {describe_spread(found)}{more}."


def describe_spread(answers: ChipAccuracies) -> str:
    """Return mean, least and most accuracy: ``mean 43.50 % (40.10 to 50.20)``; of one chip, its own."""
    if len(answers.accuracies) == 1:
        return format_percent(answers.mean)
    least, most = 100 * min(answers.accuracies), 100 * max(answers.accuracies)
    return f"mean {format_percent(answers.mean)} ({least:.2f} to {most:.2f})"


def describe_objective(search: SearchFigures) -> str:
    """Describe what the search minimized, and how much that is; nothing for latency, which the result has anyway.

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


def print_result(console: Console, result: RunResult) -> None:
    """Print a run in short: its sentence, its networks, notes and checks.

    Args:
        console: where to.
        result: of the run.
    """
    console.print(Text.assemble((result.name, "bold"), f"  {result.network.source}, {result.data.name}"))
    console.print(result.sentence, soft_wrap=True)
    networks = result.candidates
    exact = [one.integer_reference or one.test for one in networks]
    print_columns(
        console,
        [
            Column("network", tuple(one.label for one in networks), most=40),
            Column("bits", tuple(f"{one.weight_bits:.2f}/{one.act_bits:.2f}" for one in networks)),
            Column("accuracy, test", tuple(format_share(score.accuracy, 2) for score in exact)),
            Column(
                "latency", tuple("-" if one.latency_us is None else format_time(one.latency_us) for one in networks)
            ),
            Column("speedup", tuple("-" if one.speedup is None else f"{one.speedup:.2f}x" for one in networks)),
        ],
    )
    for note in result.notes:
        console.print(f"note: {note}", style="dim", soft_wrap=True)
    console.print(tell_checks(result))


def tell_checks(result: RunResult) -> str:
    """Return how many checks passed, and which did not."""
    broken = [check.name for check in result.checks if not check.passed]
    passed = len(result.checks) - len(broken)
    return f"{passed} of {plural(len(result.checks), 'check')} passed" + "".join(f"; broken: {one}" for one in broken)
