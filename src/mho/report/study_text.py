"""The result of a study as text: a table of points for each sweep, on a terminal, in a file, or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from mho.formats import format_share
from mho.report.columns import Column, print_columns
from mho.report.study_document import Design, StudyPoint, StudyResult, Value
from mho.terminal import Console, Text

_DISPENSABLE = ("std of a chip", "95 % band")
_NONE = "-"


def format_value(value: Value) -> str:
    """Return a value of a parameter as text; one number a level is joined by slashes."""
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)


def describe_band(point: StudyPoint) -> str:
    """Return the band of a point as ``95.10 .. 97.30 %``; a dash for one chip."""
    if point.low is None or point.high is None:
        return _NONE
    return f"{100 * point.low:.2f} .. {100 * point.high:.2f} %"


def describe_chips(seeds: Sequence[int]) -> str:
    """Return how many chips there are, and their seeds: ``8 chips (seeds 0..7)``."""
    if len(seeds) == 1:
        return f"1 chip (seed {seeds[0]})"
    are_in_a_row = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    few = seeds if len(seeds) <= 6 else (*seeds[:5], "...")
    span = f"{seeds[0]}..{seeds[-1]}" if are_in_a_row else ", ".join(map(str, few))
    return f"{len(seeds):,} chips (seeds {span})"


def swept_keys(result: StudyResult) -> list[str | None]:
    """Return the key of each sweep, in order; for a grid, and where nothing is swept, None alone."""
    return [None] if result.design is Design.GRID or not result.sweeps else [one.key for one in result.sweeps]


def print_study(console: Console, result: StudyResult) -> None:
    """Print a study: what was evaluated, then a table for each sweep (for a grid: one table).

    Args:
        console: where to.
        result: what to tell.
    """
    console.print(
        Text.assemble(
            (result.name, "bold"),
            f": {result.program.source}; {describe_chips(result.seeds)} a point, {result.samples.count:,} samples of "
            f"{result.samples.source}",
        ),
        soft_wrap=True,
    )
    console.print(f"integer-reference accuracy {format_share(result.exact_accuracy, 2)}", soft_wrap=True)
    if result.base:
        settings = ", ".join(f"{key} = {format_value(value)}" for key, value in result.base.items())
        console.print(f"at every point that does not say otherwise: {settings}", soft_wrap=True)
    left_out: set[str] = set()
    for key in swept_keys(result):
        console.print()
        left_out |= set(print_columns(console, _columns(result, key), _DISPENSABLE))
    if len(result.seeds) > 1:
        console.print(
            f"band: {result.confidence:.0%} of the mean over chips (Student's t); std: standard deviation of a chip",
            style="dim",
            soft_wrap=True,
        )
    if left_out:
        console.print(f"too narrow for {', '.join(sorted(left_out))}; --format json has all", style="dim")


def write_text(result: StudyResult) -> str:
    """Return what `print_study` prints where there is no terminal, without blanks at the ends of lines."""
    file = io.StringIO()
    print_study(Console(file=file, color_system=None), result)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def write_csv(result: StudyResult) -> str:
    """Return one line a point: the swept key (empty in a grid), values, and results of chips there, as shares."""
    keys = [one.key for one in result.sweeps]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["sweep", *keys, "chips", "samples", "mean", "low", "high", "std", "worst", "worst_seed", "exact_accuracy"]
    )
    for point in result.points:
        values = [format_value(point.values[key]) if key in point.values else "" for key in keys]
        figures = [point.mean, point.low, point.high, point.std, point.worst]
        texts = ["" if figure is None else repr(figure) for figure in figures]
        writer.writerow(
            [
                point.sweep or "",
                *values,
                len(result.seeds),
                result.samples.count,
                *texts,
                point.worst_seed,
                repr(result.exact_accuracy),
            ]
        )
    return file.getvalue()


def _columns(result: StudyResult, key: str | None) -> list[Column]:
    points = result.points_of(key)
    keys = [one.key for one in result.sweeps] if key is None else [key]

    def of_points(title: str, tell: Callable[[StudyPoint], str]) -> Column:
        return Column(title, tuple(map(tell, points)))

    return [
        *(Column(one, tuple(format_value(point.values[one]) for point in points)) for one in keys),
        of_points("mean", lambda point: format_share(point.mean, 2)),
        of_points(f"{result.confidence:.0%} band".replace("%", " %"), describe_band),
        of_points("std of a chip", lambda point: _NONE if point.std is None else f"{100 * point.std:.2f}"),
        of_points("worst", lambda point: format_share(point.worst, 2)),
        of_points("its seed", lambda point: str(point.worst_seed)),
    ]
