"""How far a run is: a bar with the time left in a terminal, plain lines elsewhere, and events for callers.

Stages report how far they are in units of their own; the run adds them up by the work that each was estimated to be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType

from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from mho.formats import format_seconds
from mho.progress import OnProgress, Progress
from mho.terminal import Console, Text, echo, escape, is_terminal

LEAST_SHARE = 0.03
"""Share of the work that is done before the time left is estimated: the first steps wait for what is loaded once."""


class RunProgress:
    """What the run tells about its stages; this one shows nothing, others show it."""

    def begin(self, stage: str, title: str) -> None:
        """A stage starts."""

    def update(self, fraction: float, detail: str) -> None:
        """The stage has done `fraction` (0..1) of its work."""

    def end(self, note: str, *, is_new: bool) -> None:
        """The stage is finished: just now (`is_new`), or by an earlier run."""

    def say(self, line: str) -> None:
        """Show something that is worth a line."""


ProgressFactory = Callable[[dict[str, float]], RunProgress]
"""Given the estimated work of each stage, makes what shows how far they are."""


class WorkMeter:
    """Adds up the work of stages and estimates the time left from the speed so far.

    Args:
        work: estimated work of each stage, in any one unit, in order.
    """

    def __init__(self, work: Mapping[str, float]) -> None:
        self._work = dict(work)
        self._done: dict[str, float] = {}
        self._skipped = 0.0
        self._start = time.monotonic()

    @property
    def total(self) -> float:
        """All work, at least a little."""
        return sum(self._work.values()) or 1.0

    @property
    def done(self) -> float:
        """Work done so far, what was found finished included."""
        return sum(self._work.get(stage, 0.0) * fraction for stage, fraction in self._done.items())

    def update(self, stage: str, fraction: float) -> None:
        """Set how far a stage is, 0..1."""
        self._done[stage] = min(max(fraction, self._done.get(stage, 0.0)), 1.0)

    def finish(self, stage: str, *, is_new: bool) -> None:
        """A stage is finished; one that was found finished tells nothing about speed."""
        before = self._done.get(stage, 0.0)
        self.update(stage, 1.0)
        if not is_new:
            self._skipped += self._work.get(stage, 0.0) * (1.0 - before)

    def seconds_left(self) -> float | None:
        """Return an estimate, or None before there is a measured speed."""
        worked = self.done - self._skipped
        elapsed = time.monotonic() - self._start
        if worked <= LEAST_SHARE * self.total or elapsed < 1.0:
            return None
        return (self.total - self.done) * elapsed / worked


class StageClock:
    """Estimates how long the current stage still takes, from its speed since it began or was gone on with."""

    def __init__(self) -> None:
        self._start, self._first, self._fraction = time.monotonic(), 0.0, 0.0

    def update(self, fraction: float) -> None:
        """Set how far it is, 0..1: what an interrupted attempt had done comes with the first."""
        if not self._fraction:
            self._first = fraction if fraction < 1 and time.monotonic() - self._start < 1.0 else 0.0
        self._fraction = fraction

    def seconds_left(self) -> float | None:
        """Return an estimate, or None before there is a measured speed."""
        done, elapsed = self._fraction - self._first, time.monotonic() - self._start
        if done <= LEAST_SHARE * (1 - self._first) or elapsed < 1.0:
            return None
        return (1 - self._fraction) * elapsed / done


class TerminalProgress(RunProgress):
    """A bar for the whole run with time spent and left, and a line for each finished stage."""

    def __init__(self, console: Console) -> None:
        self._meter = WorkMeter({})
        self._console = console
        self._progress = Bars(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            TextColumn("{task.fields[detail]}", style="dim", markup=False),
            console=console,
            transient=True,
        )
        self._stage, self._title, self._begun = "", "", 0.0
        self._task: TaskID = self._progress.add_task("Load data", total=1.0, left="", detail="")

    def measured_by(self, meter: WorkMeter) -> TerminalProgress:
        """Take what adds up the work, once it is known, and return itself."""
        self._meter = meter
        self._progress.update(self._task, total=meter.total)
        return self

    def __enter__(self) -> TerminalProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, stage: str, title: str) -> None:
        """Show the stage."""
        self._stage, self._title, self._begun = stage, title, time.monotonic()
        self._show("")

    def update(self, fraction: float, detail: str) -> None:
        """Move the bar."""
        self._meter.update(self._stage, fraction)
        self._show(detail)

    def end(self, note: str, *, is_new: bool) -> None:
        """Leave a line for the stage."""
        seconds = format_seconds(time.monotonic() - self._begun) if is_new else ""
        self._meter.finish(self._stage, is_new=is_new)
        self._console.print(
            Text.assemble(("✓", "green"), f" {self._title:<36} ", (f"{seconds:>12}", "dim"), f"  {note}")
        )
        self._show("")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line)

    def _show(self, detail: str) -> None:
        left = self._meter.seconds_left()
        self._progress.update(
            self._task,
            description=escape(self._title),
            completed=self._meter.done,
            left="" if left is None else f"{format_seconds(left)} left",
            detail=escape(detail),
        )


class PlainProgress(RunProgress):
    """Lines for logs and pipes: a stage's end, and about every quarter minute how far it and the run are."""

    _EVERY_SECONDS = 15.0

    def __init__(self, meter: WorkMeter) -> None:
        self._meter = meter
        self._stage, self._title, self._clock = "", "", StageClock()
        self._begun = self._reported = time.monotonic()

    def begin(self, stage: str, title: str) -> None:
        """Remember the stage."""
        self._stage, self._title, self._clock = stage, title, StageClock()
        self._begun = self._reported = time.monotonic()

    def update(self, fraction: float, detail: str) -> None:
        """Tell how far it is, and how far the run is, now and then."""
        self._meter.update(self._stage, fraction)
        self._clock.update(fraction)
        if time.monotonic() - self._reported >= self._EVERY_SECONDS:
            self._reported = time.monotonic()
            stage = _tell_share(fraction, self._clock.seconds_left())
            run = _tell_share(self._meter.done / self._meter.total, self._meter.seconds_left())
            self.say(f"  {self._title}: {stage}; run {run}  {detail}")

    def end(self, note: str, *, is_new: bool) -> None:
        """Tell that it is finished."""
        self._meter.finish(self._stage, is_new=is_new)
        seconds = f", {format_seconds(time.monotonic() - self._begun)}" if is_new else ""
        self.say(f"{self._title}{seconds}: {note}")

    def say(self, line: str) -> None:
        """Print a line."""
        echo(line)


def _tell_share(fraction: float, left: float | None) -> str:
    """Return how far something is, and its own time left where that is known."""
    share = f"{100 * fraction:.0f} %"
    return share if left is None else f"{share}, {format_seconds(left)} left"


@contextmanager
def show_progress() -> Iterator[ProgressFactory]:
    """Yield what shows, on standard output, how far work is: a bar in a terminal, plain lines elsewhere."""
    if not is_terminal():
        yield lambda work: PlainProgress(WorkMeter(work))
        return
    with TerminalProgress(Console()) as progress:
        yield lambda work: progress.measured_by(WorkMeter(work))


class CallbackProgress(RunProgress):
    """Calls a function of the caller's as stages begin, go on and end."""

    def __init__(self, meter: WorkMeter, on_progress: OnProgress) -> None:
        self._meter, self._on_progress = meter, on_progress
        self._stage, self._title = "", ""

    def begin(self, stage: str, title: str) -> None:
        """Report the stage."""
        self._stage, self._title = stage, title
        self._report(0.0, "")

    def update(self, fraction: float, detail: str) -> None:
        """Report how far it is."""
        self._meter.update(self._stage, fraction)
        self._report(fraction, detail)

    def end(self, note: str, *, is_new: bool) -> None:
        """Report that it is finished."""
        self._meter.finish(self._stage, is_new=is_new)
        self._report(1.0, note, is_finished=True)

    def _report(self, fraction: float, detail: str, *, is_finished: bool = False) -> None:
        meter = self._meter
        total, left = meter.done / meter.total, meter.seconds_left()
        self._on_progress(Progress(self._stage, self._title, fraction, detail, total, left, is_finished))


class _Together(RunProgress):
    """Passes on to several what one receives."""

    def __init__(self, parts: Sequence[RunProgress]) -> None:
        self._parts = parts

    def begin(self, stage: str, title: str) -> None:
        for part in self._parts:
            part.begin(stage, title)

    def update(self, fraction: float, detail: str) -> None:
        for part in self._parts:
            part.update(fraction, detail)

    def end(self, note: str, *, is_new: bool) -> None:
        for part in self._parts:
            part.end(note, is_new=is_new)

    def say(self, line: str) -> None:
        for part in self._parts:
            part.say(line)


@contextmanager
def follow_progress(on_progress: OnProgress | None, *, is_shown: bool) -> Iterator[ProgressFactory | None]:
    """Yield what reports to a function, prints, or both; None where it is neither."""
    with ExitStack() as stack:
        factories: list[ProgressFactory] = []
        if is_shown:
            factories.append(stack.enter_context(show_progress()))
        if on_progress is not None:
            call = on_progress
            factories.append(lambda work: CallbackProgress(WorkMeter(work), call))
        yield (lambda work: _Together([make(work) for make in factories])) if factories else None
