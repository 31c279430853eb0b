"""Does in this process what a Ray cluster would, with copies as pickle makes them; newest answers come first."""

from __future__ import annotations

import pickle
from types import ModuleType, SimpleNamespace


class RayError(Exception):
    pass


class FakeRay(ModuleType):
    def __init__(self):
        super().__init__("ray")
        self.calls, self.made, self.busiest, self.asked, self.answers = [], 0, 0, 0, {}
        self.lost: set[int] = set()
        """Of all that is asked, in order, what workers die of."""
        self.processors = [3]
        """How many the cluster has, each time that it is asked for them; the last number stays."""
        self.exceptions = SimpleNamespace(RayError=RayError)

    def init(self, **options):
        self.calls.append(options)
        if options["address"] == "auto":
            raise ConnectionError("Could not find any running Ray instance.\nmore")

    def shutdown(self):
        self.calls.append("shutdown")

    def cluster_resources(self):
        number = self.processors.pop(0) if len(self.processors) > 1 else self.processors[0]
        return {"CPU": float(number)} if number else {}

    def put(self, value):
        return pickle.dumps(value)

    def remote(self, **options):
        assert options == {"num_cpus": 1}

        def wrap(kind):
            return SimpleNamespace(remote=lambda *shared: self._make(kind, [pickle.loads(one) for one in shared]))

        return wrap

    def _make(self, kind, arguments):
        self.made += 1
        worker = kind(*arguments)
        return SimpleNamespace(do=SimpleNamespace(remote=lambda task: self._do(worker, pickle.dumps(task))))

    def _do(self, worker, task):
        reference = object()
        self.asked += 1
        if self.asked in self.lost:
            self.answers[reference] = RayError("The actor died.\nlong story")
        else:
            self.answers[reference] = pickle.loads(pickle.dumps(worker.do(pickle.loads(task))))
        self.busiest = max(self.busiest, len(self.answers))
        return reference

    def wait(self, references, num_returns):
        assert num_returns == 1
        return [references[-1]], references[:-1]

    def get(self, reference):
        answer = self.answers.pop(reference)
        if isinstance(answer, RayError):
            raise answer
        return answer
