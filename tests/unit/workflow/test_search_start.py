"""What searches start from: agents, evaluations and probes, from the command line to the files of the stage."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx_models import dense_model

import mho
from mho.bit_search.agent_file import SavedAgent
from mho.bit_search.log import EvaluationLog
from mho.bit_search.sensitivity_probes import Probes
from mho.cli.main import main
from mho.errors import ConfigError, InputFileError
from mho.workflow.config import load_config
from mho.workflow.search_start import AGENT_FILE, GIVEN_FILE, OWN_LOG, PROBES_FILE, StartSettings

CONFIG = """
[run]
name = "tiny"
threads = 1

[network]
name = "net.onnx"

[data]
name = "digits"
calibration = 100
validation = 200

[accelerator]
name = "crossbar.toml"

[float_training]
epochs = 2
learning_rate = 0.1

[search]
budget = 8
allowed_drop = 5
hold_first_last = "none"
weight_bits_multiple = 1

[qat]
epochs = 1
learning_rate = 0.01
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A configuration with a network that is quickly trained."""
    folder = tmp_path_factory.mktemp("start")
    example = Path(__file__).parents[3] / "examples" / "crossbar-64x64.toml"
    (folder / "crossbar.toml").write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    onnx.save(dense_model(24), folder / "net.onnx")
    (folder / "run.toml").write_text(CONFIG, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def saved(folder) -> Path:
    """The agent of a first search, and its evaluations in the run directory."""
    arguments = ["--probe-images", "40", "--algorithm", "td3", "--save-agent", str(folder / "agent.safetensors")]
    assert main(["search", str(folder / "run.toml"), "--directory", str(folder / "run"), *arguments]) == 0
    return folder / "agent.safetensors"


def search(folder, **start):
    return mho.search_config(
        folder / "run.toml", directory=folder / "run", search={"budget": 4, "start": start}, show_progress=True
    )


def test_a_search_leaves_its_agent_and_its_probes(folder, saved):
    stage = folder / "run" / "stages" / "search-auto-8-probe_images-td3"
    assert (stage / AGENT_FILE).read_bytes() == saved.read_bytes()
    agent = SavedAgent.load(saved)
    assert (agent.algorithm, agent.evaluations, len(agent.layer_names)) == ("td3", 8, 3)
    assert Probes.read(stage / PROBES_FILE).samples == 40


def test_a_search_starts_from_an_agent_and_from_what_the_run_evaluated(folder, saved):
    found = search(folder, agent=saved, evaluations=OWN_LOG)
    content = json.loads(found.result_file.read_text(encoding="utf-8"))
    assert (found.tried, content["given"], len(content["records"])) == (4, 7, 11)
    assert SavedAgent.load(found.agent_file).evaluations == 11
    kept = EvaluationLog.read(found.result_file.with_name(GIVEN_FILE))
    assert len(kept) == 8
    again = search(folder, agent=saved, evaluations=OWN_LOG)  # the log has grown since: what was given has not
    assert json.loads(again.result_file.read_text(encoding="utf-8")) == content


def test_another_searchs_log_teaches_and_another_networks_does_not(folder, saved, tmp_path):
    (log,) = (folder / "run" / "evaluations").glob("*.jsonl")
    known = EvaluationLog.read(log)
    copy = tmp_path / "copy.jsonl"
    known.copy_to(copy)
    found = search(folder, evaluations=copy)
    assert json.loads(found.result_file.read_text(encoding="utf-8"))["given"] == len(known) - 1
    other = tmp_path / "other.jsonl"
    EvaluationLog(other, known.problem | {"network": "another"})
    with pytest.raises(ConfigError, match="differ in network"):
        search(folder, evaluations=other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "tpe", "--algorithm", "sac"), "start.algorithm is for the methods rl, and not for tpe"),
        (("--method", "uniform", "--learn-from", "log"), "start.evaluations is for the methods rl, exact"),
        (("--method", "random", "--probe-images", "9"), "start.probe_images is for the methods rl, exact"),
        (("--agent", "none.safetensors"), "none.safetensors: no such file"),
        (("--learn-from", "run.toml"), "not an evaluation log"),
        (("--agent", "agent.safetensors", "--algorithm", "sac"), "the agent learned by td3, and sac is specified"),
        (("--method", "exact", "--save-agent", "a"), "exact has no agent"),
        (("--algorithm", "dqn"), "dqn"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(
    folder, saved, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(folder)
    assert main(["search", "run.toml", "--directory", "untouched", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "untouched" / "stages" / "float").exists()
    assert saved.exists()


def test_paths_are_relative_to_the_file(folder):
    text = CONFIG + '\n[search.start]\nagent = "some/agent.safetensors"\nevaluations = "log"\n'
    (folder / "other.toml").write_text(text, encoding="utf-8")
    start = load_config(folder / "other.toml").search.start
    assert start.agent == folder / "some" / "agent.safetensors"
    assert start.evaluations == OWN_LOG
    with pytest.raises(InputFileError, match=r"agent\.safetensors"):
        start.check_files()


def test_contents_of_files_are_ingredients(folder, saved, tmp_path):
    moved = tmp_path / "moved"
    moved.write_bytes(saved.read_bytes())
    at_first = StartSettings(agent=saved).ingredients()
    assert StartSettings(agent=moved).ingredients() == at_first
    moved.write_bytes(saved.read_bytes() + b"x")
    assert StartSettings(agent=moved).ingredients() != at_first
    assert StartSettings().ingredients() == {}
