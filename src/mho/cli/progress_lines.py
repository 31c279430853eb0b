"""Lines of progress on standard error: one that changes on a terminal, a few elsewhere, none for --quiet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mho.terminal import Verbosity, current_verbosity, echo, echo_over, is_terminal

if TYPE_CHECKING:
    from mho.progress import OnProgress, Progress

_LINES = 10
"""Of a command that knows how much it has to do, where lines stay."""
_FIRST_S, _EVERY_S, _EVERY_IN_PLACE_S = 5.0, 15.0, 1.0
"""Of a command that does not: after how long it first says what it does, and how often then."""

Tell = Callable[[str], None]
"""Takes what a command does now, in a few words."""


def chip_progress() -> OnProgress | None:
    """Return what prints how many chips are done and the time left; None for --quiet."""
    if current_verbosity() is Verbosity.QUIET:
        return None
    in_place, start, shown = is_terminal(err=True), time.monotonic(), -1

    def show(progress: Progress) -> None:
        nonlocal shown
        seconds, left = time.monotonic() - start, progress.seconds_left
        rest = "" if left is None or progress.is_finished else f", {left:,.0f} s left"
        line = f"{progress.detail}, {seconds:,.0f} s{rest}"
        if in_place:
            echo_over(line, is_last=progress.is_finished)
        elif progress.is_finished or int(progress.fraction * _LINES) > shown:
            shown = int(progress.fraction * _LINES)
            echo(line, err=True)

    return show


@contextmanager
def shown_work(words: str) -> Iterator[Tell]:
    """Say now and then what the block does and for how long, once it takes a while; not for --quiet.

    Args:
        words: what it does first; what is yielded takes what it does later.
    """
    now = [words]
    if current_verbosity() is Verbosity.QUIET:
        yield now.append
        return
    in_place, is_done, start = is_terminal(err=True), threading.Event(), time.monotonic()

    def show() -> None:
        pause, has_printed = _FIRST_S, False
        while not is_done.wait(pause):
            line, has_printed = f"{now[-1]}, {time.monotonic() - start:,.0f} s", True
            pause = _EVERY_IN_PLACE_S if in_place else _EVERY_S
            echo_over(line, is_last=False) if in_place else echo(line, err=True)
        if in_place and has_printed:
            echo_over("", is_last=False)

    thread = threading.Thread(target=show, name="progress", daemon=True)
    thread.start()
    try:
        yield now.append
    finally:
        is_done.set()
        thread.join()
