"""Workers on a Ray cluster that do tasks, one each at a time; one that is lost is replaced and its task done again.

Machines of the cluster need mho, the same version, and nothing of this one's files. Ray moves tasks and answers between
processes by pickle, as any of its users must trust it to.
"""

from __future__ import annotations

import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic

from mho.errors import MhoError, MissingExtraError
from mho.worker_pool import A, Failure, Lost, T, Work, attempt

_CONNECT_SECONDS = 5.0
WAIT_FOR_NODES_S = 60.0
"""For how long a cluster may have no processor at all before that is an error."""


class RayPool(Generic[T, A]):
    """Workers of a cluster, one processor each, to be used as a context: they end with it.

    Args:
        address: of the cluster, as `ray.init` takes it: ``host:port``, ``ray://host:port``, ``auto``, or ``local`` for
            one that is started on this machine and ends with the pool.
        make: called in each worker before its first task, it returns what does tasks; picklable.
        processes: at most so many workers; None: one a processor of the cluster.
        attempts: how often a task may cost a worker its life before it is given up.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(
        self, address: str, make: Callable[[], Work[T, A]], processes: int | None = None, *, attempts: int = 1
    ) -> None:
        self._ray = import_ray()
        self._address, self._make, self._processes, self._attempts = address, make, processes, attempts
        self._workers: list[Any] = []
        self._start: Callable[[], Any] | None = None

    def __enter__(self) -> RayPool[T, A]:
        """Connect. Raises `MhoError`: there is no such cluster."""
        connect(self._ray, self._address)
        shared = self._ray.put(self._make)
        kind = self._ray.remote(num_cpus=1)(_RayWorker)
        self._start = lambda: kind.remote(shared)
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.clear()
        self._ray.shutdown()

    def answers(self, tasks: Sequence[T]) -> Iterator[tuple[int, A | Lost]]:
        """Yield the number of each task with its answer, in the order in which they come.

        Raises:
            MhoError: a task failed with one, or the cluster has lost all its processors.
        """
        waiting, deaths = deque(range(len(tasks))), Counter[int]()
        at_work: dict[Any, tuple[Any, int]] = {}
        while waiting or at_work:
            self._hire(len(waiting) + len(at_work))
            busy = {id(worker) for worker, _ in at_work.values()}
            for worker in [one for one in self._workers if id(one) not in busy][: len(waiting)]:
                number = waiting.popleft()
                at_work[worker.do.remote(tasks[number])] = worker, number
            (done,), _ = self._ray.wait(list(at_work), num_returns=1)
            worker, number = at_work.pop(done)
            try:
                outcome: Any = self._ray.get(done)
            except self._ray.exceptions.RayError as error:
                self._workers = [one for one in self._workers if one is not worker]
                deaths[number] += 1
                if deaths[number] < self._attempts:
                    waiting.appendleft(number)
                else:
                    yield number, Lost(f"a process of the cluster failed: {str(error).splitlines()[0]}")
                continue
            if isinstance(outcome, Failure):
                outcome.raise_again()
            yield number, outcome

    def _hire(self, wanted: int) -> None:
        """Start workers for so many tasks, as far as the cluster has processors: it may have lost some, or got more."""
        assert self._start is not None, "a pool is used as a context"
        if len(self._workers) >= min(wanted, self._processes or wanted):
            return
        deadline = time.monotonic() + WAIT_FOR_NODES_S
        while True:
            room = min(wanted, self._processes or wanted, int(self._ray.cluster_resources().get("CPU", 0)))
            while len(self._workers) < room:
                self._workers.append(self._start())
            if self._workers:
                return
            if time.monotonic() > deadline:
                raise MhoError(
                    "the cluster has no processors",
                    where=self._address,
                    hint="add a node, and give the same command again: it goes on where it was",
                )
            time.sleep(0.5)


class _RayWorker:
    """Does tasks on a machine of the cluster."""

    def __init__(self, make: Callable[[], Work[Any, Any]]) -> None:
        self._make = make
        self._work: Work[Any, Any] | None = None

    def do(self, task: Any) -> Any:
        """Return the answer of a task, or how it failed."""
        return attempt(lambda: self._do(task))

    def _do(self, task: Any) -> Any:
        self._work = self._work or self._make()
        return self._work(task)


def connect(ray: Any, address: str) -> None:
    """Connect to a cluster. Raises `MhoError` where there is none."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon and port.isdecimal():  # Ray itself tries for minutes
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, OverflowError, AssertionError) as error:
        raise MhoError(
            f"there is no Ray cluster: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=address,
            expected="host:port, ray://host:port, auto, or local for one on this machine alone",
        ) from error


def import_ray() -> Any:
    """Return the module ray. Raises `MissingExtraError`."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "Ray is not installed", expected="the extra ray", hint="pip install 'mho[ray]', or leave --ray out"
        ) from error
    return ray
