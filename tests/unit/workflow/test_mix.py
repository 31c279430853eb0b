"""Mixes from their files to policies of each network, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx_models import dense_model

import mho
from mho.bit_search.log import EvaluationLog
from mho.bit_search.mix import part_of
from mho.bit_search.objective import Objective
from mho.cli.main import main
from mho.hardware.loading import load_accelerator
from mho.network.onnx_reader import read_onnx
from mho.policy import Policy
from mho.workflow.mix import search_mix
from mho.workflow.mix_config import load_mix
from mho.workflow.search_execution import SearchExecution

RUN = """
[run]
name = "NAME"
threads = 1
directory = "runs/NAME"

[network]
name = "NAME.onnx"

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
hold_first_last = "none"

[qat]
epochs = 1
learning_rate = 0.01
"""

MIX = """
[mix]
name = "both"

[networks.wide]
run = "wide.toml"

[networks.slim]
run = "slim.toml"
share = 2

[search]
method = "exact"
budget = 8
cost_budget = "12 crossbars"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two networks of digits, a mix of them, searched once."""
    folder = tmp_path_factory.mktemp("mix")
    example = Path(__file__).parents[3] / "examples" / "crossbar-64x64.toml"
    (folder / "crossbar.toml").write_text(example.read_text(encoding="utf-8"), encoding="utf-8")
    for name, width in (("wide", 96), ("slim", 24)):
        onnx.save(dense_model(width), folder / f"{name}.onnx")
        text = RUN.replace("NAME", name).replace('"runs/', f'"{folder}/runs/')
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    (folder / "mix.toml").write_text(MIX, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def found(folder):
    seen: list[mho.Progress] = []
    outcome = mho.mix(folder / "mix.toml", directory=folder / "both", on_progress=seen.append)
    assert {now.stage for now in seen} == {"network", "float", "calibration", "search"}
    assert all(0 <= now.fraction <= 1 and now.title for now in seen)
    assert (seen[-1].stage, seen[-1].total_fraction, seen[-1].is_finished) == ("search", 1.0, True)
    return outcome


def test_the_winner_lies_within_the_budget_and_each_network_gets_its_policy(folder, found):
    best = found.result.require_best()
    parts = found.parts.values()
    assert best.cost == sum(part.cost for part in parts) <= 12 < sum(part.reference_cost for part in parts)
    for name in ("wide", "slim"):
        content = json.loads((folder / "both" / f"policy.{name}.json").read_text(encoding="utf-8"))
        policy = Policy.from_json(content, where=name)
        network = read_onnx(folder / "runs" / name / "stages" / "float" / "float.onnx")
        policy.check_against(network.layer_names)
        assert policy == found.parts[name].policy == part_of(best.policy, name)
    assert found.result.goal.objective is Objective.CROSSBARS
    assert best.accuracy == pytest.approx((found.parts["wide"].accuracy + 2 * found.parts["slim"].accuracy) / 3)
    assert load_accelerator(folder / "crossbar.toml").crossbar.rows == 64


def test_the_command_tells_each_network_and_makes_no_evaluation_of_the_logs_again(folder, found, capsys):
    (log,) = (folder / "runs" / "wide" / "evaluations").glob("*.jsonl")
    before = log.read_bytes()
    assert len(EvaluationLog.read(log)) >= 2
    result = folder / "both" / "search.json"
    records = [record["policy"] for record in json.loads(result.read_text(encoding="utf-8"))["records"]]
    assert main(["mix", str(folder / "mix.toml"), "--directory", str(folder / "both")]) == 0
    shown = capsys.readouterr().out
    assert "(12 crossbars allowed)" in shown
    for name, part in found.parts.items():
        (line,) = (line for line in shown.splitlines() if line.split()[:1] == [name])
        assert line.split()[1] == str(part.cost)
    again = json.loads(result.read_text(encoding="utf-8"))
    assert [record["policy"] for record in again["records"]] == records
    assert again["best"]["policy"] == found.result.require_best().policy.to_json()
    assert log.read_bytes() == before


@pytest.mark.slow
def test_several_processes_measure_what_one_does(folder, found, tmp_path):
    """In run directories of their own, so that all is evaluated anew; both searches try all that may win."""
    for network in ("wide", "slim"):
        text = (folder / f"{network}.toml").read_text(encoding="utf-8")
        (folder / f"{network}-anew.toml").write_text(text.replace("/runs/", "/anew/"), encoding="utf-8")
        runs, anew = folder / "runs" / network, folder / "anew" / network
        shutil.copytree(runs, anew, ignore=shutil.ignore_patterns("evaluations"))
    text = MIX.replace('.toml"', '-anew.toml"').replace("budget = 8", "budget = 8\nbatch = 2")
    (folder / "anew.toml").write_text(text, encoding="utf-8")
    execution = SearchExecution(processes=2)
    anew = search_mix(load_mix(folder / "anew.toml", directory=tmp_path / "anew"), execution=execution)
    one, two = (
        {r.policy: (r.cost, r.score, r.accuracy) for r in mix.result.records} for mix in (found, anew)
    )  # fmt: skip
    assert one == two
    assert len(one) > 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('run = "slim.toml"', 'run = "wide.toml"', "the same run directory"),
        ('run = "slim.toml"', 'run = "none.toml"', "none.toml"),
        ("[networks.slim]", '[networks."a/b"]', "networks"),
        ('method = "exact"', 'method = "rl-paper"', "search.method"),
        ('"12 crossbars"', '"14 us"', "crossbars"),
        ('cost_budget = "12 crossbars"', 'objective = "interval"', "search.objective"),
        ('cost_budget = "12 crossbars"', 'cost_budget = "1 crossbars"', "the cheapest policy costs"),
        ("share = 2", "share = 0", "share"),
        ("budget = 8", "budget = 8\nrepeats = 2", "candidates of wide are calibrated only"),
        ('[networks.slim]\nrun = "slim.toml"\nshare = 2', "", "networks"),
    ],
)
def test_what_does_not_fit_is_reported(folder, tmp_path, capsys, old, new, message):
    assert old in MIX
    (folder / "bad.toml").write_text(MIX.replace(old, new), encoding="utf-8")
    assert main(["mix", str(folder / "bad.toml"), "--directory", str(tmp_path / "bad")]) == 2
    assert message in capsys.readouterr().err


def test_networks_must_share_the_accelerator(folder, tmp_path, capsys):
    text = (folder / "slim.toml").read_text(encoding="utf-8").replace("crossbar.toml", "pelke2026-4bit")
    (folder / "other.toml").write_text(text, encoding="utf-8")
    (folder / "bad.toml").write_text(MIX.replace("slim.toml", "other.toml"), encoding="utf-8")
    assert main(["mix", str(folder / "bad.toml"), "--directory", str(tmp_path / "bad")]) == 2
    assert "slim and wide differ in accelerator" in capsys.readouterr().err


def test_more_processes_than_policies_at_once_are_reported_before_anything_is_trained(folder, tmp_path, capsys):
    (folder / "bad.toml").write_text(MIX, encoding="utf-8")
    arguments = ["mix", str(folder / "bad.toml"), "--directory", str(tmp_path / "bad"), "--processes", "2"]
    assert main(arguments) == 2
    assert "2 processes for 1 policy at once" in capsys.readouterr().err
