"""Workers on a Ray cluster that do tasks, one each at a time; one that is lost is replaced and its task done again.

Machines of the cluster need mho, the same version, and nothing of this one's files. Ray moves tasks and answers between
processes by pickle, as any of its users must trust it to.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic

from mho.errors import MhoError, MissingExtraError
from mho.worker_pool import A, Failure, GivenUp, T, Work, attempt

_CONNECT_SECONDS, _PING_SECONDS = 5.0, 5.0
_MAX_FAILED_STARTS = 3
"""So many workers in a row that cannot be started are an error."""
_NODE_DIED = "node has died"
"""In Ray's error for a worker that was lost with its machine."""
WAIT_FOR_NODES_S, START_S = 60.0, 300.0
"""For how long a cluster may have no processor at all, or start no process on those that it has, before that is an
error."""


class RayPool(Generic[T, A]):
    """Workers of a cluster, one processor each, to be used as a context: they end with it.

    Args:
        address: of the cluster, as `ray.init` takes it: ``host:port``, ``ray://host:port``, ``auto``, or ``local`` for
            one that is started on this machine and ends with the pool.
        make: called in each worker before its first task, it returns what does tasks; picklable.
        processes: at most so many workers; None: one a processor of the cluster.
        attempts: how often a task may cost a worker its life before it is given up; lost machines do not count.
        gpus: GPUs that each worker takes, beside its processor.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(
        self,
        address: str,
        make: Callable[[], Work[T, A]],
        processes: int | None = None,
        *,
        attempts: int = 1,
        gpus: int = 0,
    ) -> None:
        self._ray = import_ray()
        self._address, self._make, self._processes, self._attempts = address, make, processes, attempts
        self._takes = {"CPU": 1, **({"GPU": gpus} if gpus else {})}
        self._workers: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._failed_starts = 0
        self._start: Callable[[], Any] | None = None

    def __enter__(self) -> RayPool[T, A]:
        """Connect. Raises `MhoError`: there is no such cluster."""
        connect(self._ray, self._address)
        shared = self._ray.put(self._make)
        kind = self._ray.remote(**{f"num_{name.lower()}s": count for name, count in self._takes.items()})(_RayWorker)
        self._start = lambda: kind.remote([shared])  # in a list, it is fetched for the first task
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.clear()
        self._starting.clear()
        self._ray.shutdown()

    def answers(self, tasks: Sequence[T]) -> Iterator[tuple[int, A | GivenUp]]:
        """Yield the number of each task with its answer, in the order in which they come.

        Raises:
            MhoError: a task failed with one, no worker can be started, or the cluster has lost all its processors.
        """
        waiting, deaths = deque(range(len(tasks))), Counter[int]()
        at_work: dict[Any, tuple[Any, int]] = {}
        while waiting or at_work:
            self._start_workers(len(waiting) + len(at_work))
            busy = {id(worker) for worker, _ in at_work.values()}
            for worker in [one for one in self._workers if id(one) not in busy][: len(waiting)]:
                number = waiting.popleft()
                at_work[worker.do.remote(tasks[number])] = worker, number
            done = self._wait_for(at_work)
            if done in self._starting:
                self._add_started(done)
                continue
            worker, number = at_work.pop(done)
            try:
                outcome: Any = self._ray.get(done)
            except self._ray.exceptions.RayError as error:
                self._workers = [one for one in self._workers if one is not worker]
                self._forget_dead({id(one) for one, _ in at_work.values()})
                deaths[number] += _NODE_DIED not in str(error)  # which is no task's fault
                if deaths[number] < self._attempts:
                    waiting.appendleft(number)
                else:
                    yield number, GivenUp(f"a process of the cluster failed: {str(error).splitlines()[0]}")
                continue
            if isinstance(outcome, Failure):
                outcome.raise_again()
            yield number, outcome

    def _start_workers(self, wanted: int) -> None:
        """Start workers for so many tasks, as far as the cluster has processors: it may have lost some, or got more.

        They get tasks when they have said that they are there: one that waits for a processor may wait for ever.
        """
        assert self._start is not None, "a pool is used as a context"
        deadline = time.monotonic() + WAIT_FOR_NODES_S
        while True:
            most = min(wanted, self._processes or wanted)
            if len(self._workers) + len(self._starting) >= most:
                return
            room = min(most, self._room())
            for _ in range(room - len(self._workers) - len(self._starting)):
                worker = self._start()
                self._starting[worker.is_there.remote()] = worker
            if self._workers or self._starting:
                return
            if time.monotonic() > deadline:
                raise self._no_processors()
            time.sleep(0.5)

    def _room(self) -> int:
        """Return how many workers the processors of the cluster are enough for."""
        found = self._ray.cluster_resources()
        return min(int(found.get(name, 0)) // count for name, count in self._takes.items())

    def _wait_for(self, at_work: Mapping[Any, Any]) -> Any:
        """Return the next answer to a task or sign of life that comes."""
        deadline = time.monotonic() + START_S
        while True:
            patience = None if at_work else WAIT_FOR_NODES_S
            done, _ = self._ray.wait([*at_work, *self._starting], num_returns=1, timeout=patience)
            if done:
                return done[0]
            if not self._room():
                raise self._no_processors()
            if time.monotonic() > deadline:
                raise MhoError(
                    f"the cluster started no process within {START_S:.0f} s",
                    where=self._address,
                    hint="wait until others have left it a processor, and give the same command again",
                )

    def _add_started(self, sign: Any) -> None:
        """Take in a worker that has been started."""
        worker = self._starting.pop(sign)
        try:
            self._ray.get(sign)
        except self._ray.exceptions.RayError as error:
            self._failed_starts += 1
            if self._failed_starts == _MAX_FAILED_STARTS:
                raise MhoError(
                    f"a process of the cluster cannot be started: {str(error).splitlines()[0]}",
                    where=self._address,
                    hint="is mho installed on all machines, in one version?",
                ) from error
        else:
            self._failed_starts = 0
            self._workers.append(worker)

    def _forget_dead(self, busy: set[int]) -> None:
        """Forget idle workers that died, such as all of a lost node: tasks must not go from one to the next."""
        pings = {worker.is_there.remote(): worker for worker in self._workers if id(worker) not in busy}
        if not pings:
            return
        answered, silent = self._ray.wait(list(pings), num_returns=len(pings), timeout=_PING_SECONDS)
        gone = [pings[sign] for sign in silent]
        for sign in answered:
            try:
                self._ray.get(sign)
            except self._ray.exceptions.RayError:
                gone.append(pings[sign])
        self._workers = [one for one in self._workers if all(one is not other for other in gone)]

    def _no_processors(self) -> MhoError:
        return MhoError(
            "the cluster has no processors",
            where=self._address,
            hint="add a node, and give the same command again: it goes on where it was",
        )


class _RayWorker:
    """Does tasks on a machine of the cluster."""

    def __init__(self, shared: list[Any]) -> None:
        self._shared = shared
        self._work: Work[Any, Any] | None = None

    def is_there(self) -> bool:
        """Tell that it lives."""
        return True

    def do(self, task: Any) -> Any:
        """Return the answer of a task, or how it failed."""
        return attempt(lambda: self._do(task))

    def _do(self, task: Any) -> Any:
        if self._work is None:
            make: Callable[[], Work[Any, Any]] = import_ray().get(self._shared[0])
            self._work = make()
        return self._work(task)


def connect(ray: Any, address: str) -> None:
    """Connect to a cluster. Raises `MhoError` where there is none."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon and port.isdecimal():  # Ray itself tries for minutes
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
        with _kept_handler(signal.SIGTERM):  # Ray sets its own, which exits without clearing up
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, OverflowError, AssertionError) as error:
        raise MhoError(
            f"there is no Ray cluster: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=address,
            expected="host:port, ray://host:port, auto, or local for one on this machine alone",
        ) from error


@contextmanager
def _kept_handler(number: signal.Signals) -> Iterator[None]:
    """Give a signal back to who had it."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(number, before)


def import_ray() -> Any:
    """Return the module ray. Raises `MissingExtraError`."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("Ray is not installed", "ray", otherwise="leave --ray out") from error
    return ray
