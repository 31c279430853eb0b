"""Studies on a Ray cluster: a stand-in tells what is asked of Ray; the slow test runs a cluster of this machine."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from studies import STUDY, write_study

from mho.cli.main import main
from mho.errors import MhoError, MissingExtraError
from mho.workflow.study import run_study
from mho.workflow.study_config import load_study


class RayError(Exception):
    pass


class FakeRay(ModuleType):
    """Does in this process what a cluster would, with copies as pickle makes them; newest answers come first."""

    def __init__(self):
        super().__init__("ray")
        self.calls, self.made, self.busiest, self.answers = [], 0, 0, {}
        self.dies_at: int | None = None
        self.exceptions = SimpleNamespace(RayError=RayError)

    def init(self, **options):
        self.calls.append(options)
        if options["address"] == "auto":
            raise ConnectionError("Could not find any running Ray instance.\nmore")

    def shutdown(self):
        self.calls.append("shutdown")

    def cluster_resources(self):
        return {"CPU": 3.0}

    def put(self, value):
        return pickle.dumps(value)

    def remote(self, **options):
        assert options == {"num_cpus": 1}

        def wrap(kind):
            return SimpleNamespace(remote=lambda *shared: self._make(kind, [pickle.loads(one) for one in shared]))

        return wrap

    def _make(self, kind, arguments):
        self.made += 1
        examiner = kind(*arguments)
        return SimpleNamespace(ask=SimpleNamespace(remote=lambda task: self._ask(examiner, pickle.dumps(task))))

    def _ask(self, examiner, task):
        reference = object()
        self.answers[reference] = pickle.loads(pickle.dumps(examiner.ask(pickle.loads(task))))
        self.busiest = max(self.busiest, len(self.answers))
        return reference

    def wait(self, references, num_returns):
        assert num_returns == 1
        return [references[-1]], references[:-1]

    def get(self, reference):
        if self.dies_at is not None and len(self.answers) == self.dies_at:
            raise RayError("The actor died.\nlong story")
        return self.answers.pop(reference)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    return tmp_path


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr("mho.models.runtime.use_threads", lambda _: None)
    return fake


def run(directory, **options):
    return run_study(load_study("small.toml"), directory=Path(directory), **options)


def test_a_cluster_finds_what_one_process_finds(folder, ray):
    assert run("cluster", ray="local").result == run("alone").result
    assert (ray.made, ray.busiest) == (3, 3)
    assert ray.calls[0]["address"] == "local"
    assert ray.calls[1:] == ["shutdown"]
    for name in ("result.json", "study.html"):
        assert Path("cluster", name).read_bytes() == Path("alone", name).read_bytes()


def test_as_many_processes_as_asked_for_and_none_without_work(folder, ray):
    run("cluster", ray="local", processes=2)
    assert (ray.made, ray.busiest) == (2, 2)
    assert run("cluster", ray="local").asked == 0
    assert ray.made == 2


def test_a_process_of_the_cluster_that_dies_is_told_and_the_rest_is_kept(folder, ray):
    ray.dies_at = 2  # at the end, when the last of ten chips but one comes back
    with pytest.raises(MhoError, match=r"chip \d at .*: a process of the cluster failed: The actor died.\n  hint"):
        run("cluster", ray="local")
    assert ray.calls[-1] == "shutdown"
    ray.dies_at = None
    assert run("cluster").asked == 2


def test_what_a_chip_cannot_do_is_told(folder, ray, monkeypatch):
    def refuse(*arguments, **options):
        raise MhoError("no", expected="yes")

    monkeypatch.setattr("mho.workflow.study_workers.ChipExaminer._count_right", refuse)
    with pytest.raises(MhoError, match=r"chip \d at array.programming_error = .*: no\n  expected: yes"):
        run("cluster", ray="local")


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_one_clear_error(folder, ray, capsys, address):
    assert main(["study", "small.toml", "--ray", address]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {address}: there is no Ray cluster: ")
    assert "Traceback" not in told
    assert "more" not in told


def test_without_ray_the_extra_is_named_before_anything_starts(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mho\[ray\]'"):
        run("cluster", ray="local")
    assert not Path("cluster").exists()


@pytest.mark.slow
def test_a_real_cluster_finds_what_one_process_finds(folder):
    pytest.importorskip("ray")
    (folder / "small.toml").write_text(STUDY)
    assert run("cluster", ray="local", processes=2).result == run("alone").result
    assert Path("cluster/result.json").read_bytes() == Path("alone/result.json").read_bytes()
