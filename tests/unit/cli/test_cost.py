import csv
import io
import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
from commands import run as run_command

import mho.cost_model.layer_tables as layer_tables
from mho.cli.main import main
from mho.errors import InputFileError
from mho.hardware.loading import accelerator_from_json, load_accelerator, to_toml
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.network.layers import MvmLayer

LAYERS = (
    MvmLayer("features.0", "conv", 64, 27, 50176, 1),
    MvmLayer("attention.scores", "matmul", 50, 64, 50, 12),
    MvmLayer("classifier", "linear", 1000, 4096, 1, 1),
)
ACCELERATOR = ("--accelerator", "pelke2026-4bit")


@pytest.fixture(autouse=True)
def network(monkeypatch, tmp_path):
    """Stand in for the readers of networks: `net` is the only one."""

    def load_network(spec, *, input_shape=None):
        if spec != "net":
            raise InputFileError("there is no such network", where=spec)
        return SimpleNamespace(input_shape=input_shape, mvm_nodes=())

    def derive(network):
        if network.input_shape is None:
            return LAYERS
        return (MvmLayer(f"shape {network.input_shape}", "linear", 1, 1, 1, 1),)

    module = ModuleType("mho.network.loading")
    module.load_network = load_network
    monkeypatch.setitem(sys.modules, "mho.network.loading", module)
    monkeypatch.setattr(layer_tables, "derive_layer_table", derive)
    monkeypatch.setenv("MHO_CACHE_DIR", str(tmp_path / "cache"))


def run(capsys, *arguments, code=0):
    return run_command(capsys, "cost", *arguments, code=code)


def cost_json(capsys, *arguments):
    return json.loads(run(capsys, "net", *ACCELERATOR, "--format", "json", *arguments))


@pytest.fixture
def policy_file(tmp_path):
    def write(content):
        path = tmp_path / "policy.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def layers_of(widths):
    return {"layers": {name: {"weight_bits": w, "act_bits": a} for name, (w, a) in widths.items()}}


GOOD = layers_of({"classifier": (8, 8), "features.0": (4, 2), "attention.scores": (16, 16)})


def test_the_text_says_what_limits_and_that_it_is_one_crossbar_of_many(capsys):
    assert "time: writes " in run(capsys, "net", *ACCELERATOR)
    assert "one of" not in run(capsys, "net", *ACCELERATOR)
    assert "one of 48 crossbars, rewritten for every tile" in run(capsys, "net", "--accelerator", "neurram")


def test_a_folder_that_is_not_there_is_made_with_a_note(capsys, tmp_path):
    path = tmp_path / "new" / "cost.txt"
    assert main(["cost", "net", *ACCELERATOR, "-o", str(path)]) == 0
    assert f"makes the folder {path.parent}" in capsys.readouterr().err
    assert "latency" in path.read_text()


def test_8_8_is_the_default(capsys):
    content = cost_json(capsys)
    assert content == cost_json(capsys, "--bits", "8/8")
    assert {(layer["weight_bits"], layer["act_bits"]) for layer in content["layers"]} == {(8, 8)}


def test_json_has_the_layers_in_execution_order_and_their_sum(capsys):
    content = cost_json(capsys)
    assert [layer["name"] for layer in content["layers"]] == [layer.name for layer in LAYERS]
    assert content["latency_us"] == pytest.approx(sum(layer["latency_us"] for layer in content["layers"]))
    assert content["mapping"] == "best"


def test_a_policy_is_applied_by_name(capsys, policy_file):
    content = cost_json(capsys, "--policy", policy_file(GOOD))
    widths = [(layer["weight_bits"], layer["act_bits"]) for layer in content["layers"]]
    assert widths == [(4, 2), (16, 16), (8, 8)]


def test_overrides_reach_the_hardware(capsys):
    content = cost_json(capsys, "--mapping", "paper", "--encoding", "offset", "--cell-bits", "2")
    assert content["accelerator"]["crossbar"]["cell_bits"] == 2
    assert content["layers"][0]["cols"] == 64 * 4 + 1


def test_an_encoding_is_that_of_every_layer_and_changes_the_cost(capsys):
    found = [cost_json(capsys, "--encoding", encoding) for encoding in Encoding]
    assert [{layer["encoding"] for layer in content["layers"]} for content in found] == [{one} for one in Encoding]
    assert len({content["latency_us"] for content in found}) > 2
    assert min(content["latency_us"] for content in found) == cost_json(capsys)["latency_us"]


@pytest.mark.parametrize("encoding", sorted(set(Encoding) - set(PAPER_ENCODINGS)))
def test_the_papers_mapping_has_three_encodings(capsys, encoding):
    error = run(capsys, "net", *ACCELERATOR, "--mapping", "paper", "--encoding", encoding, code=2)
    assert f"the paper's mapping has none of the encodings that are allowed: {encoding}" in error
    assert "--mapping best" in error


def test_a_file_is_an_accelerator_too(capsys, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(to_toml(load_accelerator("pelke2026-2bit")))
    content = json.loads(run(capsys, "net", "--accelerator", str(path), "--format", "json"))
    assert content["accelerator"]["name"] == "pelke2026-2bit"


def test_csv_has_a_row_a_layer(capsys):
    rows = list(csv.DictReader(io.StringIO(run(capsys, "net", *ACCELERATOR, "--format", "csv"))))
    content = cost_json(capsys)
    expected = [
        {key: "" if value is None else str(value) for key, value in layer.items()} for layer in content["layers"]
    ]
    assert expected == rows


@pytest.mark.parametrize("arguments", [[], ["--bits", "8/8"]])
def test_text_has_layers_and_total_without_a_speedup_at_8_8(capsys, arguments):
    text = run(capsys, "net", *ACCELERATOR, "--mapping", "paper", *arguments)
    for layer in LAYERS:
        assert layer.name in text
    assert "latency 586.6 ms" in text
    assert "speedup" not in text


def test_text_tells_the_bits_of_an_ideal_adc_and_the_time_of_its_conversions(capsys, tmp_path):
    assert "1-bit DAC, ideal ADC (needs 12 bits), " in run(capsys, "net", *ACCELERATOR)
    content = load_accelerator("pelke2026-4bit").to_json()
    content["converters"]["adc_latency_us_per_bit"] = 0.01
    (tmp_path / "timed.toml").write_text(to_toml(accelerator_from_json(content, where="test")))
    text = run(capsys, "net", "--accelerator", str(tmp_path / "timed.toml"), "--mapping", "paper")
    assert "MVM 1.4 us, conversion 0.01 us a bit; paper mapping" in text
    assert "latency 635.6 ms" in text  # 586.6 ms, and 12 bits of 10 ns for each of 408,256 MVMs


def test_text_has_the_speedup_over_8_8(capsys, policy_file):
    content = cost_json(capsys, "--bits", "4/2")
    assert f"speedup {content['speedup']:.3f}x" in run(capsys, "net", *ACCELERATOR, "--bits", "4/2")


def test_columns_of_the_text_are_aligned_and_never_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    lines = run(capsys, "net", *ACCELERATOR).splitlines()
    rows = [line.rstrip() for line in lines if line.startswith((" features", " attention", " classifier", " total"))]
    assert len(rows) == 4
    assert len({len(row) for row in rows}) == 1


def test_energy_is_reported_only_where_it_is_asked_for(capsys):
    assert cost_json(capsys)["energy"] is None
    content = json.loads(run(capsys, "net", "--accelerator", "isaac", "--format", "json", "--energy"))
    energy = content["energy"]
    assert [layer["name"] for layer in energy["layers"]] == [layer["name"] for layer in content["layers"]]
    assert energy["total_pj"] == pytest.approx(sum(energy["components_pj"].values()))
    assert energy["total_pj"] == pytest.approx(sum(layer["total_pj"] for layer in energy["layers"]))
    assert energy["untold"] == ["leakage"]


def test_text_has_a_column_and_a_line_of_energy(capsys):
    text = run(capsys, "net", "--accelerator", "isaac", "--energy")
    assert " uJ " in text
    assert "energy " in text
    assert "unspecified, and not counted: leakage" in text
    assert "energy" not in run(capsys, "net", "--accelerator", "isaac")


def test_csv_has_the_energies_of_each_layer(capsys):
    options = ("net", "--accelerator", "isaac", "--energy", "--format")
    rows = list(csv.DictReader(io.StringIO(run(capsys, *options, "csv"))))
    energy = json.loads(run(capsys, *options, "json"))["energy"]
    assert [float(row["energy_pj"]) for row in rows] == [layer["total_pj"] for layer in energy["layers"]]
    assert [float(row["adc_pj"]) for row in rows] == [layer["components_pj"]["adc"] for layer in energy["layers"]]
    (product,) = [row for row in rows if row["name"] == "attention.scores"]
    assert product["memory_pj"] == ""  # what it stores comes from a buffer


def test_energy_of_an_accelerator_that_tells_none_is_one_clear_error(capsys):
    assert "specifies no energies" in run(capsys, "net", *ACCELERATOR, "--energy", code=2)


def test_the_cells_life_is_reported_where_the_endurance_is_specified(capsys, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(to_toml(load_accelerator("pelke2026-4bit")) + "\n[endurance]\ncell_writes = 1000000\n")
    content = json.loads(run(capsys, "net", "--accelerator", str(path), "--format", "json"))
    assert content["lifetime_inputs"] == 1_000_000 // sum(layer["writes"] for layer in content["layers"])
    assert f"cells last {content['lifetime_inputs']:,} samples" in run(capsys, "net", "--accelerator", str(path))
    assert cost_json(capsys)["lifetime_inputs"] is None


def test_an_input_shape_reaches_the_network(capsys):
    assert "shape (3, 8, 8)" in run(capsys, "net", *ACCELERATOR, "--input-shape", "3,8,8")
    assert "shape (3, 8, 8)" in run(capsys, "net", *ACCELERATOR, "--input-shape", "3x8x8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["other", *ACCELERATOR], "other: there is no such network"),
        (["net", "--accelerator", "pelke2026-4bi"], "did you mean 'pelke2026-4bit'?"),
        (["net", "--accelerator", "missing.toml"], "missing.toml: no such file"),
        (["net", *ACCELERATOR, "--bits", "8"], "'8' is not a pair of bit widths"),
        (["net", *ACCELERATOR, "--bits", "9/8"], "weight_bits is 9"),
        (["net", *ACCELERATOR, "--bits", "8/8", "--policy", "p.json"], "--policy and --bits were given together"),
        (["net", *ACCELERATOR, "--policy", "missing.json"], "missing.json: no such file"),
        (["net", *ACCELERATOR, "--cell-bits", "9"], "crossbar.cell_bits: is 9"),
        (["net", *ACCELERATOR, "--input-shape", "1,3,x"], "'1,3,x' is not a shape"),
        (["net", *ACCELERATOR, "--input-shape", "0,3"], "'0,3' is not a shape"),
        (["net", *ACCELERATOR, "--input-shape", ""], "'' is not a shape"),
        (["net", *ACCELERATOR, "--input-shape", "3," + "9" * 5000], "is not a shape"),
        (["net", *ACCELERATOR, "--bits", "9" * 5000 + "/8"], "is not a pair of bit widths"),
    ],
)
def test_bad_input_is_one_clear_error_and_exit_code_2(capsys, arguments, message):
    assert message in run(capsys, *arguments, code=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a policy"),
        (layers_of({"features.0": (8, 8)}), "layers without bit widths: attention.scores, classifier"),
        ({"layers": {**GOOD["layers"], "classifer": {"weight_bits": 8, "act_bits": 8}}}, "did you mean 'classifier'?"),
        (layers_of({"features.0": (0, 8)}), "features.0: weight_bits is 0"),
    ],
)
def test_a_bad_policy_is_one_clear_error_that_names_file_and_layer(capsys, policy_file, content, message):
    path = policy_file(content)
    text = run(capsys, "net", *ACCELERATOR, "--policy", path, code=2)
    assert message in text
    assert path in text


@pytest.mark.parametrize(
    "option", [("--format", "xml"), ("--encoding", "offest"), ("--mapping", "bset"), ("--cell-bits", "x")]
)
def test_an_option_without_such_a_value_is_exit_code_2(capsys, option):
    assert main(["cost", "net", *ACCELERATOR, *option]) == 2
    assert option[0] in capsys.readouterr().err


def test_an_accelerator_file_with_a_typo_is_one_clear_error(capsys, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(to_toml(load_accelerator("pelke2026-4bit")).replace("dac_bits = 1", "dac_bit = 1"))
    text = run(capsys, "net", "--accelerator", str(path), code=2)
    assert f"{path}" in text
    assert "converters.dac_bit: unknown key; did you mean 'dac_bits'?" in text
    assert "converters.dac_bits: missing; expected a whole number, 1..8" in text


def test_a_cache_that_cannot_be_written_is_noted_and_harmless(capsys, tmp_path, monkeypatch):
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("MHO_CACHE_DIR", str(tmp_path / "blocked"))
    assert main(["cost", "net", *ACCELERATOR, "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["latency_us"] > 0
    assert "could not be kept" in captured.err


@pytest.mark.parametrize(("width", "left_out"), [(60, True), (200, False)])
def test_a_narrow_terminal_does_without_columns_but_cuts_no_number(capsys, monkeypatch, width, left_out):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    text = run(capsys, "net", *ACCELERATOR, "--mapping", "paper")
    assert ("too narrow for" in text) is left_out
    assert "\u2026" not in text
    for number in ("401,408", "562.027", "408,256", "586.622"):
        assert number in text


def test_the_best_mapping_is_reported_in_words_and_never_slower(capsys):
    best = cost_json(capsys, "--mapping", "best")
    paper = cost_json(capsys, "--mapping", "paper")
    assert (best["mapping"], paper["mapping"]) == ("best", "paper")
    for ours, theirs in zip(best["layers"], paper["layers"], strict=True):
        assert ours["bound_us"] <= ours["latency_us"] <= theirs["latency_us"]
        assert theirs["layout"] == "im2col"
    assert "slices at once" in best["layers"][1]["layout"]
    assert "slices at once" in run(capsys, "net", *ACCELERATOR, "--mapping", "best")


def test_a_batch_shares_the_writes_of_weights_but_not_of_activations(capsys):
    alone, shared = (cost_json(capsys, "--mapping", "paper", "--batch", count) for count in ("1", "8"))
    write_us = 56
    for one, many in zip(alone["layers"], shared["layers"], strict=True):
        saved = one["tiles"] * write_us * 7 / 8 if one["name"] != "attention.scores" else 0
        assert many["latency_us"] == pytest.approx(one["latency_us"] - saved)


def test_writes_are_reported_beside_tiles_where_layers_share_them(capsys, monkeypatch):
    layers = tuple(MvmLayer(f"fc{number}", "linear", 10, 20, 1, 1) for number in range(3))
    assert "writes" not in run(capsys, "net", *ACCELERATOR).splitlines()[3]
    monkeypatch.setattr(layer_tables, "derive_layer_table", lambda _network: layers)
    small = run(capsys, "net", *ACCELERATOR, "--input-shape", "20")
    assert "2 layers written along with an earlier one" in small
    assert any(line.split()[:1] == ["layer"] and "tiles   writes" in line for line in small.splitlines())
    rows = cost_json(capsys, "--input-shape", "20")["layers"]
    assert [(row["tiles"], row["writes"], row["written_with"]) for row in rows] == [
        (1, 1, None),
        (1, 0, "fc0"),
        (1, 0, "fc0"),
    ]
