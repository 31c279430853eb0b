"""Does in this process what a Ray cluster would, with copies as pickle makes them; newest answers come first."""

from __future__ import annotations

import pickle
import signal
import sys
from types import ModuleType, SimpleNamespace


class RayError(Exception):
    pass


NODE_DIED = RayError("The actor died unexpectedly.\nThe actor died because its node has died.")


class FakeRay(ModuleType):
    def __init__(self):
        super().__init__("ray")
        self.gone: set[int] = set()
        self.never_started: set[int] = set()
        """Workers, by number from 1, that wait for a processor for ever."""
        self.pending, self.busy, self.stillborn = set(), set(), False
        self.calls, self.made, self.busiest, self.asked, self.answers = [], 0, 0, 0, {}
        self.lost: set[int] = set()
        """Of all that is asked, in order, what workers die of."""
        self.node_lost: set[int] = set()
        """The same, of what workers are lost with their node: the idle ones of that node, too."""
        self.processors = [3]
        """How many the cluster has, each time that it is asked for them; the last number stays."""
        self.gpus = 0
        self.options: dict[str, int] = {}
        """What the last workers were to take."""
        self.exceptions = SimpleNamespace(RayError=RayError)

    def init(self, **options):
        self.calls.append(options)
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))  # as Ray does
        if options["address"] == "auto":
            raise ConnectionError("Could not find any running Ray instance.\nmore")

    def shutdown(self):
        self.calls.append("shutdown")

    def cluster_resources(self):
        number = self.processors.pop(0) if len(self.processors) > 1 else self.processors[0]
        found = {"CPU": float(number)} if number else {}
        return found | ({"GPU": float(self.gpus)} if self.gpus else {})

    def put(self, value):
        return pickle.dumps(value)

    def remote(self, **options):
        self.options = options

        def wrap(kind):
            return SimpleNamespace(remote=lambda *arguments: self._make(kind, arguments))

        return wrap

    def _make(self, kind, arguments):
        self.made += 1
        worker = kind(*arguments)
        number = self.made
        return SimpleNamespace(
            do=SimpleNamespace(remote=lambda task: self._do(number, worker, pickle.dumps(task))),
            is_there=SimpleNamespace(remote=lambda: self._is_there(number, worker)),
        )

    def _is_there(self, number, worker):
        reference = object()
        self.answers[reference] = NODE_DIED if number in self.gone else worker.is_there()
        if self.stillborn:
            self.answers[reference] = RayError("No module named mho.\nlong story")
        if number in self.never_started:
            self.pending.add(reference)
        return reference

    def _do(self, number, worker, task):
        reference = object()
        self.asked += 1
        if self.asked in self.node_lost:
            self.gone = set(range(1, self.made + 1))
        if number in self.gone:
            self.answers[reference] = NODE_DIED
        elif self.asked in self.lost:
            self.answers[reference] = RayError("The actor died.\nlong story")
        else:
            self.answers[reference] = pickle.loads(pickle.dumps(worker.do(pickle.loads(task))))
        self.busy.add(reference)
        self.busiest = max(self.busiest, len(self.busy))
        return reference

    def wait(self, references, num_returns, timeout=None):
        ready = [one for one in references if one not in self.pending]
        assert ready or timeout is not None, "this would wait for ever"
        return ready[-num_returns:], [one for one in references if one not in ready[-num_returns:]]

    def get(self, reference):
        if isinstance(reference, bytes):
            return pickle.loads(reference)
        self.busy.discard(reference)
        answer = self.answers.pop(reference)
        if isinstance(answer, RayError):
            raise answer
        return answer
