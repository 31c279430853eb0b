"""Workers of a Ray cluster: a stand-in tells what is asked of Ray; the slow test takes a node of a real one away."""

import os
import signal
import sys
import time
from contextlib import suppress

import pytest
from fake_ray import FakeRay
from pool_tasks import MakeSquares, Square

from mho import ray_pool
from mho.errors import MhoError, MissingExtraError
from mho.ray_pool import RayPool
from mho.worker_pool import GivenUp


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


@pytest.fixture
def made(tmp_path):
    return tmp_path / "made"


def squares(pool, numbers, **options):
    return {n: a if isinstance(a, GivenUp) else a[0] for n, a in pool.answers([Square(n, **options) for n in numbers])}


def test_every_task_has_one_answer_and_workers_are_used_again(ray, made):
    with RayPool("local", MakeSquares(made), 2) as pool:
        assert squares(pool, range(5)) == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
        assert squares(pool, [7]) == {0: 49}
    assert (ray.made, ray.busiest, len(made.read_text().splitlines())) == (2, 2, 2)
    assert ray.calls[-1] == "shutdown"
    assert ray.options == {"num_cpus": 1}


@pytest.mark.parametrize("address", ["local", "auto"])
def test_whoever_ends_on_a_termination_still_does(ray, made, address):
    """Else a search would exit without giving its claims back; "auto" finds no cluster."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(MhoError), RayPool(address, MakeSquares(made), 1):
            pass
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_no_more_workers_than_processors_and_as_many_as_a_cluster_grows_to(ray, made):
    ray.processors = [1, 1, 3]
    with RayPool("local", MakeSquares(made)) as pool:
        assert len(squares(pool, range(8))) == 8
    assert ray.made == ray.busiest == 3


def test_workers_that_take_gpus_are_no_more_than_these(ray, made):
    ray.processors, ray.gpus = [4], 2
    with RayPool("local", MakeSquares(made), gpus=1) as pool:
        assert len(squares(pool, range(8))) == 8
    assert ray.options == {"num_cpus": 1, "num_gpus": 1}
    assert ray.made == ray.busiest == 2


def test_a_lost_worker_is_replaced_as_far_as_there_are_processors(ray, made):
    ray.lost = {2, 4}
    ray.processors = [2, 1]
    with RayPool("local", MakeSquares(made), attempts=3) as pool:
        assert squares(pool, range(4)) == {0: 0, 1: 1, 2: 4, 3: 9}
    assert ray.asked == 6
    with RayPool("local", MakeSquares(made), attempts=1) as pool:
        ray.lost = {7}
        assert squares(pool, range(2)) == {0: GivenUp("a process of the cluster failed: The actor died."), 1: 1}


def test_workers_that_are_lost_with_a_node_cost_no_task_an_attempt(ray, made):
    with RayPool("local", MakeSquares(made), attempts=1) as pool:
        assert len(squares(pool, range(3))) == 3
        ray.node_lost = {4}  # the first of the next tasks: all three workers are gone, two of them idle
        assert squares(pool, [5, 6]) == {0: 25, 1: 36}
    assert ray.asked <= 3 + 2 + 2
    assert ray.made == 3 + 1, "who comes for the first does the second, too"


def test_a_worker_that_waits_for_a_processor_for_ever_holds_up_no_task(ray, made, monkeypatch):
    ray.never_started = {2, 3}
    with RayPool("local", MakeSquares(made)) as pool:
        assert len(squares(pool, range(6))) == 6
        assert ray.busiest == 1
        ray.lost = {7}
        ray.processors = [2, 2, 2, 0]
        with pytest.raises(MhoError, match="no processors"):
            squares(pool, range(2))
        ray.processors = [2]
        monkeypatch.setattr(ray_pool, "START_S", 0.0)
        with pytest.raises(MhoError, match=r"local: the cluster started no process within 0 s\n  hint: wait until"):
            squares(pool, range(2))


def test_workers_that_cannot_be_started_are_one_clear_error(ray, made):
    ray.stillborn = True
    message = r"local: a process of the cluster cannot be started: No module named mho.\n  hint: is mho installed"
    with RayPool("local", MakeSquares(made)) as pool, pytest.raises(MhoError, match=message):
        squares(pool, range(6))


def test_a_cluster_without_processors_is_waited_for_but_not_for_ever(ray, made, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    ray.processors = [0, 0, 1]
    with RayPool("local", MakeSquares(made)) as pool:
        assert squares(pool, [3]) == {0: 9}
    ray.processors = [0]
    monkeypatch.setattr(ray_pool, "WAIT_FOR_NODES_S", 0.0)
    with (
        pytest.raises(MhoError, match=r"local: the cluster has no processors\n  hint"),
        RayPool("local", MakeSquares(made)) as pool,
    ):
        squares(pool, [3])


def test_what_a_task_raises_is_raised_here(ray, made):
    with RayPool("local", MakeSquares(made)) as pool, pytest.raises(MhoError, match="number 2: no"):
        squares(pool, [2], fails="mho")


def test_without_ray_the_extra_is_named(monkeypatch, made):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[ray\]', or leave --ray out"):
        RayPool("local", MakeSquares(made))


@pytest.mark.slow
def test_a_node_that_is_taken_from_a_real_cluster_loses_nothing(made, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # nodes know the modules that this process knows
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        found, removed = {}, False
        with RayPool(cluster.address, MakeSquares(made), attempts=2) as pool:
            for number, answer in pool.answers([Square(n, seconds=0.3) for n in range(60)]):
                assert number not in found
                assert not isinstance(answer, GivenUp), answer.reason
                found[number] = answer
                if not removed and len({process for _, process in found.values()}) == 2:  # both nodes work
                    cluster.remove_node(second, allow_graceful=False)
                    removed = True
            third = cluster.add_node(num_cpus=2)
            cluster.wait_for_nodes()
            assert len(list(pool.answers([Square(n, seconds=0.3) for n in range(60)]))) == 60
            assert len(pool._workers) == 3
            cluster.remove_node(third, allow_graceful=False)  # while its workers have nothing to do
            again = dict(pool.answers([Square(n) for n in range(6)]))
            assert not [answer.reason for answer in again.values() if isinstance(answer, GivenUp)]
        assert removed
        assert {number: square for number, (square, _) in found.items()} == {n: n * n for n in range(60)}
    finally:
        cluster.shutdown()
