"""What workers of a pool do in tests: numbers are squared, and whoever meets some of them dies or fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mho.errors import MhoError


@dataclass(frozen=True)
class Square:
    number: int
    deadly_until: Path | None = None
    """Kills its worker as long as this file lacks a second line; each try adds one."""
    fails: str = ""
    seconds: float = 0.0

    @property
    def place(self) -> str:
        return f"number {self.number}"


@dataclass(frozen=True)
class MakeSquares:
    made: Path
    """A line is added whenever a worker is made."""
    padding: bytes = b""
    """More than a pipe holds."""

    def __call__(self) -> Callable[[Square], tuple[int, int]]:
        with self.made.open("a", encoding="utf-8") as file:
            file.write("made\n")
        return _square


def _square(task: Square) -> tuple[int, int]:
    time.sleep(task.seconds)
    if task.deadly_until is not None:
        with task.deadly_until.open("a", encoding="utf-8") as file:
            file.write("tried\n")
        if len(task.deadly_until.read_text(encoding="utf-8").splitlines()) < 2:
            os.kill(os.getpid(), signal.SIGKILL)
    if task.fails == "mho":
        raise MhoError("no", where=task.place, expected="yes")
    if task.fails:
        raise ZeroDivisionError(task.fails)
    return task.number**2, os.getpid()
