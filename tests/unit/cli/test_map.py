import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
from commands import run as run_command
from mapped_networks import LAYERS

import mho.cost_model.layer_tables as layer_tables
from mho.cli.main import main
from mho.errors import InputFileError

ACCELERATOR = ("--accelerator", "pelke2026-4bit")


@pytest.fixture(autouse=True)
def network(monkeypatch, tmp_path):
    """Stand in for the readers of networks: `net` is the only one."""

    def load_network(spec, *, input_shape=None):
        if spec != "net":
            raise InputFileError("there is no such network", where=spec)
        return SimpleNamespace(input_shape=input_shape, mvm_nodes=())

    module = ModuleType("mho.network.loading")
    module.load_network = load_network
    monkeypatch.setitem(sys.modules, "mho.network.loading", module)
    monkeypatch.setattr(layer_tables, "derive_layer_table", lambda _: LAYERS)
    monkeypatch.setenv("MHO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def run(capsys, *arguments, code=0):
    return run_command(capsys, "map", "net", *ACCELERATOR, *arguments, code=code)


def map_json(capsys, *arguments):
    return json.loads(run(capsys, "--format", "json", *arguments))


def test_the_table_has_every_layer_and_the_total(capsys):
    text = run(capsys)
    assert all(layer.name in text for layer in LAYERS)
    assert "total" in text
    assert "against im2col" not in text


def test_json_has_all_layers_and_their_alternatives(capsys):
    content = map_json(capsys, "--bits", "4/6")
    assert [layer["name"] for layer in content["layers"]] == [layer.name for layer in LAYERS]
    assert all(layer["alternatives"] and layer["why"] for layer in content["layers"])
    assert {(layer["weight_bits"], layer["act_bits"]) for layer in content["layers"]} == {(4, 6)}


def test_times_are_those_of_the_cost_command(capsys):
    for mapping in ("best", "paper"):
        asked = ("net", *ACCELERATOR, "--format", "json", "--bits", "4/5", "--mapping", mapping, "--batch", "3")
        assert main(["cost", *asked]) == 0
        cost = json.loads(capsys.readouterr().out)
        found = map_json(capsys, "--bits", "4/5", "--mapping", mapping, "--batch", "3")
        assert found["latency_us"] == cost["latency_us"]
        for key in ("tiles", "mvms", "latency_us", "bound_us"):
            assert [layer[key] for layer in found["layers"]] == [layer[key] for layer in cost["layers"]]


def test_overrides_and_policies_reach_the_mapping(capsys, tmp_path):
    policy = {"layers": {layer.name: {"weight_bits": 3, "act_bits": 5} for layer in LAYERS}}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    content = map_json(
        capsys, "--policy", "policy.json", "--cell-bits", "2", "--encoding", "offset", "--mapping", "paper"
    )
    assert content["accelerator"]["crossbar"]["cell_bits"] == 2
    assert {layer["encoding"] for layer in content["layers"]} == {"offset"}
    assert {layer["weight_bits"] for layer in content["layers"]} == {3}


def test_a_comparison_has_both_countings_of_im2col(capsys):
    text = run(capsys, "--compare", "--bits", "5/4")
    assert "against im2col with differential columns" in text
    assert "vs paper" in text
    assert "vs capacity" in text
    (head,) = map_json(capsys, "--bits", "5/4", "--layer", "head")["layers"]
    baselines = head["baselines"]
    assert baselines["paper"]["latency_us"] >= baselines["by_capacity"]["latency_us"]
    line = [line for line in text.splitlines() if line.startswith(" head")][-1]
    assert line.rstrip().endswith(f"{baselines['by_capacity']['ratio']:.2f}x")


def test_one_layer_is_reported_with_parts_loops_and_tiles(capsys):
    text = run(capsys, "--layer", "stem")
    assert "part 1 of" in text
    assert "for every" in text or "once a batch" in text
    assert "driven by" in text
    assert "Next best" in text
    assert " head" not in text


def test_tiles_that_are_not_listed_are_counted(capsys):
    (layer,) = map_json(capsys, "--layer", "depthwise", "--mapping", "paper")["layers"]
    text = run(capsys, "--layer", "depthwise", "--mapping", "paper", "--tiles", "3")
    assert f"and {layer['tiles'] - 3} more tiles" in text


@pytest.mark.parametrize(("name", "start"), [("x.svg", b"<svg"), ("x.png", b"\x89PNG")])
def test_drawings_are_written(capsys, tmp_path, name, start):
    assert f"drawn in {name}" in run(capsys, "--layer", "stem", "--draw", name, "--tiles", "2")
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_drawing_does_not_stand_in_json(capsys, tmp_path):
    assert map_json(capsys, "--layer", "stem", "--draw", "x.svg")["layers"]
    assert (tmp_path / "x.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layer", "stam"], "did you mean 'stem'?"),
        (["--layer", "stem", "--draw", "x.pdf"], "drawings are .svg or .png files, not .pdf"),
        (["--layer", "stem", "--draw", "x"], "name it x.svg"),
        (["--layer", "stem", "--draw", "cache/x.svg/y.svg"], "cache/x.svg/y.svg"),
        (["--draw", "x.svg"], "add --layer NAME"),
        (["--tiles", "3"], "add --layer NAME"),
        (["--bits", "9/8"], "weight_bits is 9"),
        (["--bits", "8/8", "--policy", "p.json"], "--policy and --bits were given together"),
    ],
)
def test_bad_input_is_one_clear_error_and_exit_code_2(capsys, tmp_path, arguments, message):
    (tmp_path / "cache").mkdir(exist_ok=True)
    (tmp_path / "cache" / "x.svg").write_text("a file, no folder")
    assert message in run(capsys, *arguments, code=2)


def test_an_unknown_layer_leaves_no_file(capsys, tmp_path):
    run(capsys, "--layer", "stam", "--draw", "x.svg", code=2)
    assert not (tmp_path / "x.svg").exists()
