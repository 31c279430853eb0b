from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_residual
from commands import run as run_command

import mho
from mho.cli.main import main
from mho.errors import InputFileError
from mho.hardware.loading import to_toml
from mho.schemas import json_schema

GOLDEN = Path(__file__).parents[2] / "golden" / "schedule"
NETWORKS = {"residual": make_residual, "attention": make_attention}


@pytest.fixture(scope="module")
def networks():
    return {name: make() for name, make in NETWORKS.items()}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path, networks):
    """Stand in for the readers of networks, and put an accelerator into the working directory."""
    from chip_schedules import ACCELERATOR

    def load_network(spec, *, input_shape=None):
        if spec not in networks:
            raise InputFileError("there is no such network", where=spec)
        return networks[spec]

    module = ModuleType("mho.network.loading")
    module.load_network = load_network
    monkeypatch.setitem(sys.modules, "mho.network.loading", module)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chip.toml").write_text(to_toml(ACCELERATOR))


def run(capsys, *arguments, network="residual", accelerator="./chip.toml", code=0):
    return run_command(capsys, "schedule", network, "--accelerator", accelerator, *arguments, code=code)


def schedule_json(capsys, *arguments, **keywords):
    content = json.loads(run(capsys, "--format", "json", *arguments, **keywords))
    jsonschema.validate(content, json_schema("schedule"))
    return content


def test_the_text(capsys, check_golden):
    text = run(capsys, "--bits", "4/4", "--batch", "2", "--energy")
    check_golden(GOLDEN / "residual.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def test_json_has_layers_and_totals(capsys):
    content = schedule_json(capsys, "--bits", "4/4")
    assert [layer["name"] for layer in content["layers"]] == ["first", "second", "third", "head"]
    assert content["crossbars"] == 40
    assert content["energy"] is None
    assert content["latency_us"] >= content["pipeline"]["ideal_latency_us"] >= content["bound_us"]


def test_crossbars_are_overridden_and_buy_speed(capsys):
    times = [
        schedule_json(capsys, "--crossbars", str(number))["pipeline"]["ideal_latency_us"] for number in (20, 40, 80)
    ]
    assert times[0] > times[1] > times[2]


@pytest.mark.parametrize("objective", ["latency", "interval", "layer-by-layer"])
def test_objectives(capsys, objective):
    assert schedule_json(capsys, "--objective", objective)["objective"] == objective


def test_the_papers_mapping_and_no_simulation(capsys):
    content = schedule_json(capsys, "--mapping", "paper", "--no-simulate", "--crossbars", "80")
    assert content["simulated"] is None
    assert {layer["mapping"] for layer in content["layers"]} == {"im2col"}


def test_convolutions_alone(capsys):
    names = [layer["name"] for layer in schedule_json(capsys, "--convolutions-only")["layers"]]
    assert names == ["first", "second", "third"]


def test_stored_operands_are_written(capsys):
    text = run(capsys, "--bits", "4/4", network="attention")
    assert " write " in text
    assert "write: being written" in text


def test_overrides_and_policies_reach_the_schedule(capsys, tmp_path):
    names = ("first", "second", "third", "head")
    policy = {"layers": {name: {"weight_bits": 3, "act_bits": 5} for name in names}}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    content = schedule_json(capsys, "--policy", "policy.json", "--cell-bits", "2", "--encoding", "offset")
    assert {(layer["weight_bits"], layer["act_bits"]) for layer in content["layers"]} == {(3, 5)}
    assert content["accelerator"]["crossbar"]["cell_bits"] == 2
    assert content["accelerator"]["mapping"]["allowed"]["encodings"] == ["offset"]


def test_traces_and_timelines_are_written(capsys, tmp_path):
    text = run(capsys, "--trace", "t.json", "--timeline", "t.html")
    assert "trace in t.json" in text
    assert "timeline in t.html" in text
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert "residual answers one input" in (tmp_path / "t.html").read_text()
    assert schedule_json(capsys, "--trace", "u.json")["layers"], "files do not stand in the answer"
    assert (tmp_path / "u.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--crossbars", "33"], "a multiple of 10, such as 30 or 40"),
        (["--bits", "9/8"], "weight_bits is 9"),
        (["--bits", "8/8", "--policy", "p.json"], "--policy and --bits were given together"),
        (["--policy", "p.json"], "did you mean 'third'?"),
        (["--trace", "x.html"], "name it x.json"),
        (["--timeline", "x"], "name it x.html"),
        (["--trace", "x.json", "--no-simulate"], "leave --no-simulate out"),
        (["--trace", "p.json/x.json"], "p.json/x.json"),
    ],
)
def test_bad_input_is_one_clear_error_and_exit_code_2(capsys, tmp_path, arguments, message):
    names = ("first", "second", "thrid", "head")
    widths = {"weight_bits": 4, "act_bits": 4}
    (tmp_path / "p.json").write_text(json.dumps({"layers": dict.fromkeys(names, widths)}))
    assert message in run(capsys, *arguments, code=2)


def test_networks_and_accelerators_that_do_not_suit_are_explained(capsys):
    assert "there is no such network" in run(capsys, network="vgg", code=2)
    assert "the accelerator specifies no energies" in run(capsys, "--energy", accelerator="clsa-256", code=2)


def write_few(tmp_path):
    from reload_schedules import ACCELERATOR

    (tmp_path / "few.toml").write_text(to_toml(ACCELERATOR))


FEW = {"accelerator": "./few.toml"}


def test_too_few_crossbars_are_rewritten(capsys, tmp_path, check_golden):
    write_few(tmp_path)
    text = run(capsys, "--bits", "8/8", "--batch", "2", "--energy", **FEW)
    check_golden(GOLDEN / "reload.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")
    content = run(capsys, "--bits", "8/8", "--batch", "2", "--energy", "--format", "json", **FEW)
    check_golden(GOLDEN / "reload.json", content)


def test_either_schedule_says_which_it_is(capsys, tmp_path):
    write_few(tmp_path)
    demand = schedule_json(capsys, "--bits", "8/8", **FEW)["minimal_crossbars"]
    for crossbars, regime in ((demand - 2, "time-multiplexed"), (demand, "weight-stationary")):
        content = schedule_json(capsys, "--bits", "8/8", "--crossbars", str(crossbars), **FEW)
        assert content["regime"] == regime
        assert content["minimal_crossbars"] == demand


def test_one_crossbar_takes_what_mho_cost_says(capsys, tmp_path):
    hardware = make_accelerator(rows=16, cols=16)
    (tmp_path / "one.toml").write_text(to_toml(hardware))
    content = schedule_json(capsys, accelerator="./one.toml")
    assert content["reload"]["writes"] > 1
    assert content["latency_us"] == mho.cost(make_residual(), hardware).latency_ps / 1e6


def test_layers_that_share_a_tile_need_no_writes(capsys, tmp_path):
    text = run(capsys, "--timeline", "t.html", accelerator="pelke2026-4bit")
    assert "a mapping whose weights stay takes 4, but layers share tiles that stay" in text
    assert "writes 0 an input   nothing wears" in text
    assert "in which all tiles stay" in (tmp_path / "t.html").read_text()


def test_convolutions_alone_and_stored_operands_where_tiles_are_rewritten(capsys, tmp_path):
    write_few(tmp_path)
    content = schedule_json(capsys, "--convolutions-only", "--bits", "8/8", "--crossbars", "2", **FEW)
    assert [layer["name"] for layer in content["layers"]] == ["first", "second", "third"]
    content = schedule_json(capsys, "--crossbars", "2", "--bits", "8/8", network="attention", **FEW)
    assert content["regime"] == "time-multiplexed"
    assert len(content["layers"]) == 5


def test_options_without_meaning_where_tiles_are_rewritten_are_noted(capsys, tmp_path):
    write_few(tmp_path)
    arguments = ["schedule", "residual", "--accelerator", "./few.toml", "--bits", "8/8"]
    assert main([*arguments, "--objective", "interval", "--no-simulate"]) == 0
    noted = capsys.readouterr()
    assert "note: --objective interval changes nothing" in noted.err
    assert "note: --no-simulate changes nothing" in noted.err
    assert main(arguments) == 0
    plain = capsys.readouterr()
    assert plain.err == ""
    assert plain.out == noted.out


def test_traces_and_timelines_of_tiles_that_are_rewritten(capsys, tmp_path):
    write_few(tmp_path)
    text = run(capsys, "--bits", "8/8", "--trace", "t.json", "--timeline", "t.html", **FEW)
    assert "trace in t.json" in text
    assert "timeline in t.html" in text
    assert any(event["ph"] == "X" for event in json.loads((tmp_path / "t.json").read_text())["traceEvents"])
    assert "residual answers one input" in (tmp_path / "t.html").read_text()


def test_an_unknown_objective_is_refused(capsys):
    assert main(["schedule", "residual", "--accelerator", "./chip.toml", "--objective", "speed"]) == 2
    assert "layer-by-layer" in capsys.readouterr().err


def test_buffers_that_are_too_small_are_explained(capsys, tmp_path):
    text = (tmp_path / "chip.toml").read_text().replace('_bytes = "unlimited"', "_bytes = 3")
    (tmp_path / "small.toml").write_text(text)
    assert "buffers.input_bytes" in run(capsys, accelerator="./small.toml", code=2)
    assert run(capsys, "--no-simulate", accelerator="./small.toml")
