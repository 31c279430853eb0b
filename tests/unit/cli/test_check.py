"""`--check`: everything is validated, what would be done is said, and nothing is changed."""

import json
from pathlib import Path

import onnx
import pytest
from commands import fails, run
from kills import make_network
from studies import write_study

RUN = """
[run]
name = "tiny"
threads = 1
[network]
name = "net.onnx"
[data]
name = "digits"
calibration = 20
validation = 20
limit = 40
[accelerator]
name = "pelke2026-4bit"
mapping = "paper"
[float_training]
steps = 1
batch_size = 8
learning_rate = 0.05
[search]
method = "uniform"
budget = 4
[qat]
steps = 2
batch_size = 8
learning_rate = 0.01
"""
STEPS = ["network", "float", "calibration", "reference", "search", "found", "program", "simulation"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(RUN)
    onnx.save(make_network(classes=10), "net.onnx")


def entries():
    return sorted(str(path) for path in Path().rglob("*"))


def checked(capsys, *arguments):
    before = entries()
    found = json.loads(run(capsys, *arguments, "--check", "--json"))
    assert entries() == before
    return found


def test_a_run_and_a_search_are_described_and_what_is_finished_is_known(capsys):
    found = checked(capsys, "run", "tiny.toml")
    assert [step["name"] for step in found["steps"]] == STEPS
    assert not any(step["is_finished"] for step in found["steps"])
    assert found["seconds"] == pytest.approx(sum(step["seconds"] for step in found["steps"]))
    assert found["facts"]["network"].startswith("net.onnx: 3 MVM layers")
    assert min(step["seconds"] for step in found["steps"]) > 0
    run(capsys, "search", "tiny.toml", "-q")
    found = checked(capsys, "search", "tiny.toml")
    assert [(step["name"], step["is_finished"]) for step in found["steps"]] == [
        (name, True) for name in STEPS[:3] + STEPS[4:5]
    ]
    assert found["seconds"] == 0
    finished = {step["name"] for step in checked(capsys, "run", "tiny.toml")["steps"] if step["is_finished"]}
    assert finished == {"network", "float", "calibration"}
    assert not any(step["is_finished"] for step in checked(capsys, "run", "tiny.toml", "--fresh")["steps"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"net.onnx"', '"resnet9"', "did you mean 'resnet8'?"),
        ('"uniform"', '"unifrom"', "search.method"),
        ("budget = 4", "budget = 4\npins = { nothing = '4/4' }", "nothing"),
    ],
)
def test_what_a_run_would_refuse_is_refused(old, new, message, capsys):
    Path("tiny.toml").write_text(RUN.replace(old, new))
    before = entries()
    assert message in fails(capsys, "run", "tiny.toml", "--check")
    assert entries() == before


def test_a_folder_of_something_else_is_refused(capsys):
    Path("runs/tiny").mkdir(parents=True)
    Path("runs/tiny/mine").touch()
    assert "not a run's" in fails(capsys, "run", "tiny.toml", "--check")


def test_a_study_counts_chips_that_are_there(tmp_path, capsys):
    write_study(tmp_path)
    (file,) = (path for path in tmp_path.glob("*.toml") if path.name != "tiny.toml")
    found = checked(capsys, "study", str(file))
    assert found["facts"]["chips"].endswith("of which 0 are evaluated already")
    assert found["seconds"] > 0
    run(capsys, "study", str(file))
    assert checked(capsys, "study", str(file))["seconds"] == 0


def test_a_mix_adds_up_its_networks(capsys):
    for name in ("one", "two"):
        Path(f"{name}.toml").write_text(RUN.replace('"tiny"', f'"{name}"'))
    Path("mix.toml").write_text(
        '[mix]\nname = "both"\n[networks.a]\nrun = "one.toml"\n[networks.b]\nrun = "two.toml"\n'
        '[search]\nmethod = "uniform"\nbudget = 4\ncost_budget = 0.5\n'
    )
    names = [step["name"] for step in checked(capsys, "mix", "mix.toml")["steps"]]
    assert names == [f"{one}: {name}" for one in "ab" for name in STEPS[:3]] + ["search"]
