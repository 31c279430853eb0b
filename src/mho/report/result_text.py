"""The result of a run as text: its sentences, and its networks in a table."""

from __future__ import annotations

from mho.bit_search.methods import GIVEN
from mho.formats import NO_WRITES, TIMES, format_cost, format_time, join_first, plural
from mho.report.columns import Column, print_columns
from mho.report.result import RunResult
from mho.report.result_chips import ErrorSources
from mho.report.result_figures import Candidate, ChipAccuracies, ChipFigures
from mho.report.result_search import SearchFigures
from mho.scheduling.regime import Regime
from mho.task.metrics import Metric
from mho.terminal import Console, Text


def compare_accuracy(metric: Metric, lost: float, accuracy: float, other: str) -> str:
    """Say how an accuracy compares with that of `other`.

    Args:
        metric: what accuracies are.
        lost: accuracy lost against it.
        accuracy: of the other.
        other: its name.
    """
    share, drop = f"{other} ({metric.format(accuracy, page=True)})", metric.scale * lost
    if abs(drop) < 0.005 and metric.digits is not None:
        return f"as accurate as {share}"
    return f"{metric.format_drop(abs(drop))} {metric.tell_side(drop)} {share}" if drop else f"that of {share}"


def describe_speed(
    found: Candidate, reference: Candidate, *, network: str, chip: str, widths: str = "the bit widths found for it"
) -> str:
    """Return how fast a network answers with the found policy, against uniform 8/8.

    Args:
        found, reference: the networks that are compared.
        network, chip: names of what was mapped, and onto what.
        widths: what the bit widths are (`describe_widths`).
    """
    assert found.latency_us is not None, "the found policy has a latency"
    assert reference.latency_us is not None, "the reference has a latency"
    speedup = reference.latency_us / found.latency_us
    time, before = (format_time(one, page=True) for one in (found.latency_us, reference.latency_us))
    return (
        f"With {widths}, {network} answers {speedup:.2f}{TIMES} as fast on {chip} as at uniform 8/8 "
        f"({time} instead of {before} an inference)."
    )


def describe_widths(search: SearchFigures) -> str:
    """Return what the bit widths of the found policy are, for `describe_speed`."""
    if search.method == GIVEN:
        return "the bit widths that were given"
    return "the nearest bit widths that were found" if search.missed else "the bit widths found for it"


def describe_miss(result: RunResult) -> str:
    """Return why the search ended without what was wanted, to begin the result of a run; mostly nothing.

    On chips, what is missing after full training tells more (`describe_target`).
    """
    search = result.search
    failed = f"The search failed ({' '.join(search.failed.split())}); what it had evaluated before counts. "
    follows = bool(result.chip_accuracies) and bool(describe_target(result))
    return (failed if search.failed else "") + (f"{search.missed} " if search.missed and not follows else "")


def describe_machine(figures: ChipFigures, crossbars: int) -> str:
    """Return what becomes of tiles on a machine of several crossbars, and how long its cells last; begins with a blank.

    Args:
        figures: of the found policy.
        crossbars: of the machine.
    """
    wears = "" if figures.lifetime_inputs is None else f"; its cells last {figures.lifetime_inputs:,} inferences"
    if figures.regime is Regime.ONE_CROSSBAR:
        return f" Its crossbar is written {figures.writes or 0:,} times an inference{wears}." if wears else ""
    used, most = f"{figures.used_crossbars or 0:,}", f"{plural(crossbars, 'crossbar')}"
    if figures.regime is Regime.TIME_MULTIPLEXED and figures.writes:
        return f" Its tiles are rewritten on {used} of {most}, {figures.writes:,} writes an inference{wears}."
    return f" Its weights stay in {used} of {most}{wears}."


def describe_accuracy(result: RunResult) -> str:
    """Return how accurate a run's network is: on sampled chips and with ideal integers, or why with these alone."""
    in_float, reference, found = (result.candidate(name) for name in ("float", "reference", "found"))
    exact, before = (one.integer_reference or one.test for one in (found, reference))
    accelerator, data, metric = str(result.accelerator["name"]), result.data.name, result.task.judged_by
    if result.chip_accuracies:
        *others, own = result.chip_accuracies
        lost = compare_accuracy(
            metric, before.accuracy - own.mean, before.accuracy, "uniform 8/8 with ideal integers"
        )  # fmt: skip
        more = "".join(f"; {one.label} gets {describe_spread(one)} on these chips" for one in others)
        samples = f"{plural(own.images, 'test sample')} of {data}"
        what = (
            f"{describe_spread(own)} of {samples} right"
            if result.task.is_classification
            else f"a {metric.words} of {describe_spread(own)} on {samples}"
        )
        return (
            f"On {own.chips}, it gets {what}, {lost}{more}. With ideal integers it gets "
            f"{metric.format(exact.accuracy, page=True)}, float32 {metric.format(in_float.test.accuracy, page=True)}."
        )
    compared = " and ".join(
        compare_accuracy(metric, other.accuracy - exact.accuracy, other.accuracy, name)
        for other, name in ((before, "uniform 8/8"), (in_float.test, "float32"))
    )
    sentence = (
        f"Its integer-reference {metric.words} on the test samples of {data} is "
        f"{metric.format(exact.accuracy, page=True)}, {compared}."
    )
    if result.unsampled:
        return (
            f"{sentence} No chips of {accelerator} were sampled, although cells, wires or converters are not ideal: "
            f"{result.unsampled}."
        )
    return f"{sentence} Chips of {accelerator} compute these integers exactly."


def describe_target(result: RunResult) -> str:
    """Return by how much the found policy misses the allowed drop after full training; nothing where it keeps it."""
    target = result.target
    if target is None or target.is_reached:
        return ""
    metric = result.task.judged_by
    return (
        f" It misses the {metric.format(target.accuracy, page=True)} that the allowed drop asks for on validation data "
        f"by {metric.format_drop(metric.scale * target.missing)}."
    )


def describe_errors(errors: ErrorSources, metric: Metric) -> str:
    """Return what costs accuracy on chips, that which costs most first."""
    losses = [f"{metric.format(one.accuracy, page=True)} without {one.name}" for one in errors.sources]
    return (
        f"errors: on validation data {metric.format(errors.accuracy, page=True)} on {plural(errors.chips, 'chip')}, "
        f"{metric.format(errors.exact_accuracy, page=True)} without any error{''.join(f', {one}' for one in losses)}; "
        "stages/errors/study.toml is a study of how small errors must be (mho study)"
    )


def tell_chips(result: RunResult) -> list[str]:
    """Return what the terminal says of errors of chips, of the mapping's bound and of the statistical model, if any."""
    metric = result.task.judged_by
    lines = [] if result.error_sources is None else [describe_errors(result.error_sources, metric)]
    if (choice := result.mapping_choice) is not None:
        chosen, cheapest = choice.tried[choice.chosen], min(one.cost for one in choice.tried)
        lines.append(
            f"mapping: max_error {chosen.max_error} of {plural(len(choice.tried), 'bound')}: "
            f"{metric.format(chosen.accuracy, page=True)} on chips at 8/8, "
            f"{chosen.cost / cheapest:.2f}x the cost of the cheapest"
        )
    if above := describe_above_bound(result):
        lines.append(above)
    if (agreement := result.agreement) is not None:
        found = agreement.rank_correlation
        lines.append(
            f"statistical model: {'no rank correlation' if found is None else f'rank correlation {found:.2f}'} with "
            f"sampled chips over {plural(len(agreement.policies), 'policy', 'policies')}"
        )
    return lines


def describe_above_bound(result: RunResult) -> str:
    """Return which layers do not keep the bound on errors under the found policy; nothing where all do."""
    above = [layer for layer in result.layers if layer.found.is_above_bound]
    if not above:
        return ""
    listed = join_first([f"{layer.name} {layer.found.error:.3f}" for layer in above])
    return (
        f"above the mapping's bound on errors (max_error {above[0].found.max_error:g}), where keeping it is not "
        f"possible: {listed}"
    )


def describe_spread(answers: ChipAccuracies) -> str:
    """Return the mean accuracy over chips with its interval: ``43.50 % (40.10 to 46.90)``; of one chip, its own."""
    band, metric = answers.band, answers.task.judged_by
    if band.low is None or band.high is None:
        return metric.format(answers.mean, page=True)
    return f"{metric.format(answers.mean, page=True)} ({metric.format_range(band.low, band.high)})"


def describe_objective(search: SearchFigures) -> str:
    """Describe what the search minimized, and how much that is; nothing for latency, which the result has anyway.

    Where the cost was limited, tell the limit.
    """
    if search.objective == "latency" and search.cost_budget is None:
        return ""
    reference, found = search.evaluations[0], search.evaluations[search.best]
    costs = f"{format_cost(found.cost, search.unit)} instead of {format_cost(reference.cost, search.unit)}"
    less = "" if format_cost(found.cost, search.unit) == NO_WRITES else f", {found.gain:.2f}{TIMES} less"
    if search.cost_budget is not None:
        return (
            f" They were searched for accuracy within {format_cost(search.cost_budget, search.unit)} of "
            f"{search.objective_words}: {costs} at uniform 8/8{less}."
        )
    return f" They were searched for the {search.objective_words}: {costs} at uniform 8/8{less}."


def print_result(console: Console, result: RunResult) -> None:
    """Print a run in short: its sentence, its networks, notes and checks.

    Args:
        console: where to.
        result: of the run.
    """
    console.print(Text.assemble((result.name, "bold"), f"  {result.network.source}, {result.data.name}"))
    console.print(result.sentence, soft_wrap=True)
    networks, metric = result.candidates, result.task.judged_by
    exact = [one.integer_reference or one.test for one in networks]
    on_chips = {one.name: describe_spread(one) for one in result.chip_accuracies}
    chips = [Column("on chips, test", tuple(on_chips.get(one.name, "-") for one in networks))] if on_chips else []
    print_columns(
        console,
        [
            Column("network", tuple(one.label for one in networks), most=40),
            Column("bits", tuple(f"{one.weight_bits:.2f}/{one.act_bits:.2f}" for one in networks)),
            *chips,
            Column(
                "ideal, test" if chips else f"{metric.words}, test",
                tuple(metric.format(score.accuracy) for score in exact),
            ),
            Column(
                "latency", tuple("-" if one.latency_us is None else format_time(one.latency_us) for one in networks)
            ),
            Column("speedup", tuple("-" if one.speedup is None else f"{one.speedup:.2f}x" for one in networks)),
        ],
    )
    for line in tell_chips(result):
        console.print(line, soft_wrap=True)
    for note in result.notes:
        console.print(f"note: {note}", style="dim", soft_wrap=True)
    console.print(tell_checks(result))


def tell_checks(result: RunResult) -> str:
    """Return how many checks passed, and which did not."""
    broken = [check.name for check in result.checks if not check.passed]
    passed = len(result.checks) - len(broken)
    return f"{passed} of {plural(len(result.checks), 'check')} passed" + "".join(f"; broken: {one}" for one in broken)
