"""`mho compile`, `mho simulate`, `mho disassemble`: from an ONNX file to answers, and one clear error for bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
from bits import assert_same_bits
from commands import fails, made_once
from random_networks import random_inputs
from small_programs import conv_network, grid

from mho import timing
from mho.array_files import read_arrays, write_arrays
from mho.cli.main import main
from mho.hardware.loading import accelerator_from_json, load_accelerator, to_toml
from mho.hardware.spec import Encoding
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_quantized
from mho.program.container import read_program
from mho.quantization.export import write_float_onnx, write_qcdq_onnx

INTERVAL = ("--objective", "interval")


def make_folder():
    """A model, its program and its inputs."""
    network = conv_network(inputs=grid(3, signed=True), pads=(1, 1, 1, 1))
    write_qcdq_onnx(network, "model.onnx")
    write_arrays("x.npz", random_inputs(network, 3))
    assert main(["compile", "model.onnx", "--accelerator", "pelke2026-4bit", "-o", "p.mho"]) == 0


folder = made_once(make_folder)


def test_compiling_tells_what_was_made(folder, capsys):
    main(["compile", "model.onnx", "--accelerator", "pelke2026-2bit", "-o", "q.mho", "--encoding", "offset"])
    out = capsys.readouterr().out
    assert "q.mho: 1 layer, " in out
    assert "one crossbar: " in out


@pytest.mark.parametrize("encoding", [Encoding.OFFSET, Encoding.TWOS_COMPLEMENT])
def test_an_encoding_compiles_and_gives_the_answers_of_the_integer_reference(folder, encoding):
    main(["compile", "model.onnx", "--accelerator", "pelke2026-2bit", "-o", "q.mho", "--encoding", encoding])
    assert main(["simulate", "q.mho", "--inputs", "x.npz", "-o", "y.npz"]) == 0
    assert_same_bits(read_arrays("y.npz"), run_quantized(read_onnx("model.onnx"), read_arrays("x.npz")))


@pytest.mark.parametrize("engine", ["executor", "interpreter"])
def test_simulating_writes_the_answers_of_the_integer_reference(folder, capsys, engine):
    assert main(["simulate", "p.mho", "--inputs", "x.npz", "-o", "y.npz", "--engine", engine]) == 0
    out = capsys.readouterr().out
    # One tile: 56 us; all 4 x 3 positions and all 3 slices in one MVM of 1.4 us.
    assert "latency 57.40 us a sample" in out
    assert "1 crossbar write, 1 MVM" in out
    expected = run_quantized(read_onnx("model.onnx"), read_arrays("x.npz"))
    assert_same_bits(read_arrays("y.npz"), expected)


def test_a_chip_of_hardware_without_errors_says_that_it_has_none(folder, capsys):
    assert main(["simulate", "p.mho", "--inputs", "x.npz", "--seed", "0"]) == 0
    assert "pelke2026-4bit describes no errors" in capsys.readouterr().out


def test_the_batch_size_changes_nothing(folder):
    main(["simulate", "p.mho", "--inputs", "x.npz", "-o", "a.npz"])
    main(["simulate", "p.mho", "--inputs", "x.npz", "-o", "b.npz", "--batch-size", "2"])
    assert (folder / "a.npz").read_bytes() == (folder / "b.npz").read_bytes()


def test_disassembling_prints_every_layer(folder, capsys):
    assert main(["disassemble", "p.mho"]) == 0
    out = capsys.readouterr().out
    assert "layer conv: conv 2x4x5 -> 4x4x3" in out
    assert "mvm x0" in out


def test_a_float_model_says_how_to_quantize(folder, capsys):
    network = conv_network()
    nodes = tuple(type(n)(n.name, n.op, n.inputs, n.output, n.attributes) for n in network.nodes)
    constants = {name: value.astype(np.float32) for name, value in network.constants.items()}
    write_float_onnx(network.with_nodes(nodes, constants), "float.onnx")
    text = fails(capsys, "compile", "float.onnx", "--accelerator", "pelke2026-4bit", "-o", "q.mho")
    assert "conv" in text
    assert "mho quantize float.onnx --activation-samples" in text
    assert not (folder / "q.mho").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("compile", "none.onnx", "--accelerator", "pelke2026-4bit", "-o", "q.mho"), "none.onnx"),
        (("compile", "x.npz", "--accelerator", "pelke2026-4bit", "-o", "q.mho"), "x.npz"),
        (("compile", "model.onnx", "--accelerator", "pelke2026-4bits", "-o", "q.mho"), "pelke2026-4bit"),
        (("compile", "model.onnx", "--accelerator", "pelke2026-4bit", "-o", "x.npz/q.mho"), "x.npz/q.mho"),
        (("simulate", "none.mho", "--inputs", "x.npz"), "none.mho"),
        (("simulate", "model.onnx", "--inputs", "x.npz"), "not a program"),
        (("simulate", "p.mho", "--inputs", "none.npz"), "none.npz"),
        (("simulate", "p.mho", "--inputs", "model.onnx"), "model.onnx"),
        (("simulate", "p.mho", "--inputs", "x.npz", "-o", "p.mho/y.npz"), "p.mho"),
        (("disassemble", "x.npz"), "not a program"),
    ],
)
def test_files_that_are_not_right_are_reported(folder, capsys, arguments, said):
    assert said in fails(capsys, *arguments)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"y": np.zeros((1, 2, 4, 5))}, "unknown input 'y'"),
        ({}, "missing inputs: x"),
        ({"x": np.zeros((1, 2, 4, 4))}, "[N, 2, 4, 5]"),
        ({"x": np.full((1, 2, 4, 5), np.inf)}, "NaN or infinite"),
        ({"x": np.array(["a"])}, "real numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_reported(folder, capsys, arrays, said):
    write_arrays("bad.npz", arrays)
    assert said in fails(capsys, "simulate", "p.mho", "--inputs", "bad.npz")


def test_a_truncated_program_is_reported(folder, capsys):
    content = (folder / "p.mho").read_bytes()
    (folder / "p.mho").write_bytes(content[:-70])
    assert "truncated" in fails(capsys, "simulate", "p.mho", "--inputs", "x.npz")


def test_the_same_model_gives_the_same_program(folder):
    main(["compile", "model.onnx", "--accelerator", "pelke2026-4bit", "-o", "again.mho"])
    assert (folder / "again.mho").read_bytes() == (folder / "p.mho").read_bytes()


def make_chip():
    """The same with a chip, and the model's program for it."""
    make_folder()
    hardware = load_accelerator("pelke2026-4bit").to_json()
    hardware |= {"name": "chip", "chip": {"cores": 2, "crossbars": 8}, "sources": {}}
    Path("chip.toml").write_text(to_toml(accelerator_from_json(hardware, where="chip")))
    assert main(["compile", "model.onnx", "--accelerator", "chip.toml", "-o", "c.mho"]) == 0


chip = made_once(make_chip)


def test_a_program_for_a_chip_carries_its_schedule(chip, capsys):
    assert main(["compile", "model.onnx", "--accelerator", "chip.toml", "-o", "c.mho"]) == 0
    out = capsys.readouterr().out
    assert "c.mho: 1 layer, " in out
    assert "weight-stationary" in out
    assert "of 8 crossbars" in out
    assert "0 crossbar writes a sample" in out
    assert read_program("c.mho").schedule.copies["conv"] >= 1
    assert main(["disassemble", "c.mho"]) == 0
    assert "copy 0 in x0" in capsys.readouterr().out


def test_the_machine_decides_what_becomes_of_tiles(chip, capsys):
    command = ["compile", "model.onnx", "--accelerator", "chip.toml", "-o", "q.mho", "--json"]
    for more, regime in ((), "weight-stationary"), (("--crossbars", "1"), "one-crossbar"):
        assert main([*command, *more]) == 0
        found, program = json.loads(capsys.readouterr().out), read_program("q.mho")
        assert found["regime"] == program.regime == regime
        assert found["latency_ps"] == timing(program).latency_ps
        assert (found["crossbars"], found["batch"]) == (program.accelerator.chip.crossbars, 1)
        assert (found["writes"] == 0) == (regime == "weight-stationary")


@pytest.mark.parametrize("engine", ["executor", "interpreter"])
def test_both_engines_answer_for_a_chip_what_the_integer_reference_does(chip, capsys, engine):
    assert main(["simulate", "c.mho", "--inputs", "x.npz", "-o", "y.npz", "--engine", engine]) == 0
    assert "crossbars" in capsys.readouterr().out
    assert_same_bits(read_arrays("y.npz"), run_quantized(read_onnx("model.onnx"), read_arrays("x.npz")))


def test_timing_needs_no_inputs(chip, capsys):
    assert main(["simulate", "c.mho", "--timing", "--batch", "3"]) == 0
    out = capsys.readouterr().out
    assert "3 inputs in" in out
    assert "of 8 crossbars in use" in out
    assert main(["simulate", "p.mho", "--timing"]) == 0
    assert "on one crossbar" in capsys.readouterr().out


def test_a_program_becomes_a_trace_of_its_schedule(chip, capsys):
    assert main(["simulate", "c.mho", "--timing", "--batch", "2", "--trace", "t.json"]) == 0
    assert "trace in t.json" in capsys.readouterr().out
    trace = json.loads((chip / "t.json").read_text())
    reads = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert {event["args"]["input"] for event in reads} == {0, 1}
    assert max(event["ts"] + event["dur"] for event in reads) * 1e6 == timing("c.mho", batch=2).total_ps


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("simulate", "c.mho"), "nothing to simulate"),
        (("simulate", "c.mho", "--timing", "-o", "y.npz"), "--inputs X.npz beside it"),
        (("simulate", "c.mho", "--timing", "--batch-size", "2"), "--batch-size is for inputs"),
        (("simulate", "c.mho", "--timing", "--engine", "interpreter"), "--engine is for inputs"),
        (("simulate", "c.mho", "--inputs", "x.npz", "--batch", "2"), "--batch is for --timing"),
        (("simulate", "p.mho", "--timing", "--batch", "2"), "carry a schedule"),
        (("simulate", "p.mho", "--timing", "--trace", "t.json"), "carry a schedule"),
        (("simulate", "c.mho", "--inputs", "x.npz", "--trace", "t.json"), "--timing"),
        (("simulate", "c.mho", "--timing", "--trace", "t.html"), ".json"),
        (("simulate", "c.mho", "--inputs", "x.npz", "--skip-zero-slices"), "no times on one crossbar"),
        (("compile", "model.onnx", "--accelerator", "chip.toml", "-o", "q.mho", "--chip"), "--crossbars 1"),
        (("compile", "model.onnx", "--accelerator", "pelke2026-4bit", "-o", "q.mho", *INTERVAL), "tiles are rewritten"),
        (
            ("compile", "model.onnx", "--accelerator", "chip.toml", "-o", "q.mho", "--crossbars", "1", *INTERVAL),
            "1 cro",
        ),
        (("compile", "model.onnx", "--accelerator", "chip.toml", "-o", "q.mho", "--batch", "2"), "--batch"),
        (("compile", "model.onnx", "--accelerator", "chip.toml", "-o", "q.mho", "--crossbars", "3"), "cores"),
    ],
)
def test_options_that_do_not_go_together_are_reported(chip, capsys, arguments, said):
    assert said in fails(capsys, *arguments)
    assert not (chip / "q.mho").exists()
