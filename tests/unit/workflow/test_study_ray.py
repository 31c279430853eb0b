"""Studies on a Ray cluster: a stand-in tells what is asked of Ray; the slow test runs a cluster of this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_ray import FakeRay
from studies import STUDY, write_study

from mho.cli.main import main
from mho.errors import MhoError, MissingExtraError
from mho.workflow.study import run_study
from mho.workflow.study_config import load_study


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
    assert run("cluster", ray="local").evaluated == 0
    assert ray.made == 2


def test_a_process_of_the_cluster_that_dies_is_replaced_and_a_chip_that_all_die_of_is_reported(folder, ray):
    ray.lost = {6}
    assert run("alone").result == run("cluster", ray="local").result
    assert (ray.made, ray.asked) == (4, 11)
    ray.lost = set(range(16, 99))
    message = r"chip \d at .*: a process of the cluster failed: The actor died., 3 times\n  hint"
    with pytest.raises(MhoError, match=message):
        run("other", ray="local")
    assert ray.calls[-1] == "shutdown"
    assert run("other").evaluated < 10


def test_what_a_chip_cannot_do_is_reported(folder, ray, monkeypatch):
    def refuse(*arguments, **options):
        raise MhoError("no", expected="yes")

    monkeypatch.setattr("mho.evaluation.workers.run_prepared_chip", refuse)
    with pytest.raises(MhoError, match=r"chip \d at array.programming_error = .*: no\n  expected: yes"):
        run("cluster", ray="local")


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"])
def test_a_cluster_that_is_not_there_is_one_clear_error(folder, ray, capsys, address):
    assert main(["study", "small.toml", "--ray", address]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {address}: there is no Ray cluster: ")
    assert "Traceback" not in shown
    assert "more" not in shown


def test_without_ray_the_extra_is_named_before_anything_starts(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[ray\]', or leave --ray out"):
        run("cluster", ray="local")
    assert not Path("cluster").exists()


@pytest.mark.slow
def test_a_real_cluster_finds_what_one_process_finds(folder):
    pytest.importorskip("ray")
    (folder / "small.toml").write_text(STUDY)
    assert run("cluster", ray="local", processes=2).result == run("alone").result
    assert Path("cluster/result.json").read_bytes() == Path("alone/result.json").read_bytes()
