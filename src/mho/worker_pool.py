"""Worker processes of this machine that do tasks, one each at a time; who dies is replaced, and its task done again.

Workers only compute: whoever gave the tasks keeps the answers. A worker ends with the process that started it, even
where that one was killed.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Protocol, TypeVar

from mho.errors import MhoError

_NAME = "mho-worker-"


def worker_number() -> int:
    """Return which worker of its pool this process is, from 0; 0 where it is none."""
    found = re.fullmatch(rf"{_NAME}(\d+)", multiprocessing.current_process().name)
    return int(found[1]) if found else 0


class Task(Protocol):
    """What a worker is given; it goes through a pipe by pickle, as its answer does."""

    @property
    def place(self) -> str:
        """What it is about, for messages."""
        ...


T = TypeVar("T", bound=Task)
A = TypeVar("A")
Work = Callable[[T], A]


@dataclass(frozen=True)
class Lost:
    """Stands for the answer of a task whose worker died, as often as it was tried.

    Attributes:
        reason: how it died.
    """

    reason: str


@dataclass(frozen=True)
class Failure:
    """Stands for the answer of a task that raised; exceptions themselves may not survive pickle.

    Attributes:
        message: of the error, or the whole traceback where it is not one of mho.
        is_ours: whether it is one of mho.
    """

    message: str
    is_ours: bool

    def raise_again(self) -> None:
        """Raise it here."""
        raise MhoError(self.message) if self.is_ours else RuntimeError(self.message)


def attempt(work: Callable[[], A]) -> A | Failure:
    """Return what `work` returns, or how it failed."""
    try:
        return work()
    except MhoError as error:
        return Failure(str(error), True)
    except Exception:
        return Failure(traceback.format_exc(), False)


class ProcessPool(Generic[T, A]):
    """Processes of this machine, to be used as a context: they end with it.

    Args:
        make: called in each worker before its first task, it returns what does tasks; picklable.
        processes: how many, at least 1; they are started when there is work for them.
        attempts: how often a task may cost a worker its life before it is given up.
    """

    def __init__(self, make: Callable[[], Work[T, A]], processes: int, *, attempts: int = 1) -> None:
        self._make, self._count, self._attempts = make, processes, attempts
        self._numbers = itertools.count()
        self._idle: list[Connection] = []
        self._workers: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> ProcessPool[T, A]:
        return self

    def __exit__(self, *_: object) -> None:
        for ours, process in self._workers.items():
            ours.close()
            process.terminate()
        for process in self._workers.values():
            process.join()
        self._workers.clear()
        self._idle.clear()

    def answers(self, tasks: Sequence[T]) -> Iterator[tuple[int, A | Lost]]:
        """Yield the number of each task with its answer, in the order in which they come.

        Raises:
            MhoError: a task failed with one.
        """
        waiting, deaths = deque(range(len(tasks))), Counter[int]()
        at_work: dict[Connection, int] = {}
        while waiting or at_work:
            while waiting and len(at_work) < self._count:
                number = waiting.popleft()
                at_work[self._give(tasks[number])] = number
            ready = wait(list(at_work))
            for ours in [one for one in at_work if one in ready]:
                number = at_work.pop(ours)
                try:
                    outcome: Any = ours.recv()
                except (EOFError, OSError):
                    code = self._bury(ours)
                    deaths[number] += 1
                    if deaths[number] < self._attempts:
                        waiting.appendleft(number)
                    else:
                        yield number, Lost(f"a process ended with code {code}")
                    continue
                self._idle.append(ours)
                if isinstance(outcome, Failure):
                    outcome.raise_again()
                yield number, outcome

    def _give(self, task: T) -> Connection:
        """Give a task to an idle worker, or to a new one."""
        while True:
            ours = self._idle.pop() if self._idle else self._start()
            try:
                ours.send(task)
            except OSError:  # it died while it had nothing to do
                self._bury(ours)
                continue
            return ours

    def _start(self) -> Connection:
        # Spawned, not forked: torch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        name = f"{_NAME}{next(self._numbers)}"
        process = context.Process(target=_work, args=(theirs, self._make), name=name, daemon=True)
        process.start()
        theirs.close()  # so that ours ends when the worker does
        self._workers[ours] = process
        return ours

    def _bury(self, ours: Connection) -> int | None:
        """Forget a worker that died; return its exit code."""
        process = self._workers.pop(ours)
        ours.close()
        process.join()
        return process.exitcode


def _work(theirs: Connection, make: Callable[[], Work[Any, Any]]) -> None:
    """Do the tasks that come through a pipe, until it ends."""
    end_with_parent()
    work: Work[Any, Any] | None = None

    def do(task: Any) -> Any:
        nonlocal work
        work = work or make()
        return work(task)

    try:
        while True:
            task = theirs.recv()
            theirs.send(attempt(lambda task=task: do(task)))  # type: ignore[misc]
    except (EOFError, OSError):
        return


def end_with_parent() -> None:
    """Let this process end as soon as the one that started it is gone, and by nothing that is typed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
