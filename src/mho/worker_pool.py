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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
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
class GivenUp:
    """Stands for the answer of a task that was given up: its worker died, as often as it was tried.

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

    def answers(self, tasks: Sequence[T]) -> Iterator[tuple[int, A | GivenUp]]:
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
                    code = self._forget(ours)
                    deaths[number] += 1
                    if deaths[number] < self._attempts:
                        waiting.appendleft(number)
                    else:
                        yield number, GivenUp(f"a process ended with code {code}")
                    continue
                self._idle.append(ours)
                if isinstance(outcome, Failure):
                    outcome.raise_again()
                yield number, outcome

    def _give(self, task: T) -> Connection:
        """Give a task to an idle worker, or to a new one."""
        while self._idle:
            ours = self._idle.pop()
            try:
                ours.send(task)
                return ours
            except OSError:  # it died while it had nothing to do
                self._forget(ours)
        process, ours = start_process(_work, f"{_NAME}{next(self._numbers)}")
        self._workers[ours] = process
        with suppress(OSError):  # one that died at once is found when its answer is waited for
            ours.send(self._make)
            ours.send(task)
        return ours

    def _forget(self, ours: Connection) -> int | None:
        """Forget a worker that died; return its exit code."""
        process = self._workers.pop(ours)
        ours.close()
        process.join()
        return process.exitcode


def _work(theirs: Connection) -> None:
    """Do the tasks that come through a pipe, until it ends."""
    work: Work[Any, Any] | None = None
    with suppress(EOFError, OSError):
        make = theirs.recv()

        def do(task: Any) -> Any:
            nonlocal work
            work = work or make()
            return work(task)

        while True:
            task = theirs.recv()
            theirs.send(attempt(lambda task=task: do(task)))  # type: ignore[misc]


def start_process(work: Callable[[Connection], None], name: str) -> tuple[BaseProcess, Connection]:
    """Start a process that ends with this one, and return it with this end of a pipe.

    What it needs goes through the pipe: arguments are read by Python itself, which prints a traceback where this
    process ends meanwhile. An interrupt from the keyboard goes to all processes of a terminal; those that are started
    here ignore it from their first instruction on, as this one ends them.

    Args:
        work: is called in the process with its end of the pipe; a function of a module.
        name: of the process.
    """
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_begin, args=(work, theirs), name=name, daemon=True)
    with _interrupts_later():
        process.start()
    theirs.close()  # so that ours ends when the process does
    return process, ours


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Let interrupts of this process wait until the block ends; processes that are started in it inherit their block.

    Half a start would leave a process that reads half of what it needs.
    """
    came: list[tuple[int, Any]] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # the only one that gets any
        found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        handlers = {number: handler for number, handler in found.items() if callable(handler)}
        for number in handlers:
            signal.signal(number, lambda *call: came.append(call))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        resource_tracker.ensure_running()  # now, as its start ends the block
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number, frame in came[:1]:
        handlers[number](number, frame)


def _begin(work: Callable[[Connection], None], theirs: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(theirs)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
