"""Who evaluates the policies of a run's search changes no figure of it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from kills import make_network
from tiny_run import write_squares

from mho.errors import ConfigError, MissingExtraError
from mho.workflow.config import load_config
from mho.workflow.search_execution import SearchExecution
from mho.workflow.search_run import search_alone, with_search

CONFIG = """
[run]
name = "tiny"
threads = 1

[network]
name = "net.onnx"

[data]
name = "npz"
root = "data.npz"
calibration = 40
validation = 60

[accelerator]
name = "pelke2026-4bit"
mapping = "paper"

[float_training]
epochs = 4
batch_size = 32
learning_rate = 0.1

[evaluation.training]
steps = 2
batch_size = 32
learning_rate = 0.01

[search]
method = "exact"
budget = 9
batch = 4
allowed_drop = 50
hold_first_last = "none"
weight_bits_multiple = 1

[qat]
epochs = 1
learning_rate = 0.01
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    write_squares(folder)
    onnx.save(make_network(), folder / "net.onnx")
    (folder / "config.toml").write_text(CONFIG)
    return folder / "config.toml"


def records(file: Path) -> list[dict]:
    """What a search found, without what depends on timing."""
    content = json.loads(file.read_text())
    return [
        {key: value for key, value in record.items() if key not in ("seconds", "index")}
        for record in content["records"]
    ]


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory) -> list[dict]:
    """What one process finds."""
    found = search_alone(load_config(config, directory=tmp_path_factory.mktemp("runs") / "alone"))
    return records(found.result_file)


def test_stages_storage_and_trackers_go_together_with_processes(config, tmp_path, monkeypatch):
    text = CONFIG.replace("[evaluation.training]", "[evaluation]\nstages = [0]\nrepeats = 1\n\n[evaluation.training]")
    path = config.with_name("staged.toml")
    path.write_text(text)
    shown = []
    tracker = SimpleNamespace(show=lambda step, _: shown.append(step), close=lambda: None)
    monkeypatch.setattr("mho.bit_search.tracking.check_trackers", lambda _: None)
    monkeypatch.setattr("mho.bit_search.tracking.TensorBoardTracker", lambda _: tracker)
    settings = with_search(
        load_config(path, directory=tmp_path / "staged"), {"storage": "sqlite", "trackers": ["tensorboard"]}
    )
    found = search_alone(settings, execution=SearchExecution(processes=2))
    content = json.loads(found.result_file.read_text())
    assert content["spent"] <= 9
    assert {record["status"] for record in content["records"]} == {"ok", "screened"}
    assert sorted(set(shown)) == list(range(1, len(content["records"]) + 1))
    assert shown == sorted(shown), "repeated measurements are shown at the policy of before"
    assert any("Over 2 seeds" in note for note in found.notes)
    assert list((tmp_path / "staged" / "evaluations").glob("*.db"))
    alone = search_alone(load_config(path, directory=tmp_path / "alone"))
    assert records(alone.result_file) == records(found.result_file)


def test_repeats_that_do_not_fit_are_reported_before_anything_is_trained(config, tmp_path):
    path = config.with_name("repeating.toml")
    path.write_text(CONFIG.replace("[evaluation.training]", "[evaluation]\nrepeats = 50\n\n[evaluation.training]"))
    with pytest.raises(ConfigError, match="50 repeats within a budget of"):
        search_alone(load_config(path, directory=tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_other_batches_are_other_searches_with_the_same_evaluations(config, alone):
    settings = with_search(load_config(config), {"batch": 2})
    assert settings.search.batch == 2
    assert with_search(settings, {"batch": 1}).search.model_dump(mode="json").get("batch") is None


def test_too_many_processes_are_reported_before_anything_is_trained(config, tmp_path):
    directory = tmp_path / "refused"
    with pytest.raises(ConfigError, match=r"5 processes for 4 policies at once"):
        search_alone(load_config(config, directory=directory), execution=SearchExecution(processes=5))
    assert not directory.exists()


def test_without_ray_the_extra_is_named_before_anything_is_trained(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    directory = tmp_path / "refused"
    with pytest.raises(MissingExtraError, match=r"pip install -e '\.\[ray\]', or leave --ray out"):
        search_alone(load_config(config, directory=directory), execution=SearchExecution(ray="local"))
    assert not directory.exists()


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_finds_what_one_process_finds(config, alone, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        command = [sys.executable, "-m", "mho", "search", str(config), "--directory", str(tmp_path / "ray")]
        driver = subprocess.Popen([*command, "--ray", cluster.address], stdout=subprocess.DEVNULL)
        while sum(log.read_bytes().count(b"\n") for log in tmp_path.glob("ray/evaluations/*.jsonl")) < 4:
            assert driver.poll() is None
            time.sleep(0.01)
        cluster.remove_node(second, allow_graceful=False)
        assert driver.wait(timeout=300) == 0
        (result,) = (tmp_path / "ray" / "stages").glob("search-*/search.json")
        assert records(result) == alone
        (log,) = tmp_path.glob("ray/evaluations/*.jsonl")
        assert log.read_bytes().count(b"\n") == 1 + len(alone)
    finally:
        cluster.shutdown()
