"""A search and a study on a real Ray cluster of this machine, whose workers are killed, end as they do alone."""

import contextlib
import os
import sys

import kills
import pytest

from mho.cli.main import main
from mho.ray_pool import RayPool

ray = pytest.importorskip("ray")


@pytest.fixture
def address(monkeypatch):
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def killed(monkeypatch):
    """Kill a worker after the first answer; return a list of the killed ones."""
    import psutil

    answers, killed = RayPool.answers, []

    def answer_and_kill(pool, tasks):
        for answer in answers(pool, tasks):
            workers = [one for one in psutil.Process().children(recursive=True) if "ray::_RayWorker" in one.name()]
            if workers and not killed:
                killed.append(workers[0].pid)
                with contextlib.suppress(psutil.NoSuchProcess):
                    workers[0].kill()
            yield answer

    monkeypatch.setattr(RayPool, "answers", answer_and_kill)
    return killed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["study", "search"])
def test_a_cluster_whose_workers_are_killed_finds_what_one_process_finds(name, address, killed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kills.write_inputs(tmp_path)
    command = kills.COMMANDS[name]
    assert main([*command.arguments, "--directory", "alone"]) == 0
    assert main([*command.arguments, "--directory", "cluster", "--ray", address]) == 0
    assert len(killed) == 1
    assert not kills.differences(command.results(tmp_path / "alone"), command.results(tmp_path / "cluster"))
