"""Corrections of channels: what they change in a program, their files, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from bits import assert_same_bits
from random_networks import random_inputs
from small_programs import compile_small, conv_network, grid, linear_network

from mho.array_files import read_arrays, write_arrays
from mho.errors import ConfigError, InputFileError
from mho.program.container import read_program, write_program
from mho.program.verify import verify_program
from mho.simulation.channel_corrections import ChannelCorrections, Correction, read_corrections, write_corrections
from mho.simulation.chip_origin import ORIGIN, ChipOrigin
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret

ONES = np.ones((1, 4))


def corrections(program, scale, shift, layer="conv"):
    origin = ChipOrigin.of(program, 7, program.accelerator, None)
    return ChannelCorrections(origin, {layer: Correction(scale, shift)})


@pytest.fixture(scope="module")
def program():
    """A layer without a bias."""
    return compile_small(conv_network(), make_accelerator(16, 12, 2))


@pytest.fixture(scope="module")
def inputs():
    return random_inputs(conv_network(), 3)


def test_each_channel_is_scaled_and_shifted_by_constants_of_its_own(program, inputs):
    scale, shift = np.array([[1.0, 2.0, 0.5, -1.0]]), np.array([[0.0, 0.0, 4.0, 0.25]])
    corrected = corrections(program, scale, shift).correct(program)
    verify_program(corrected)
    (before,) = Executor(_without_relu(program)).run(inputs).values()
    found = Executor(corrected).run(inputs)["y"]
    wanted = np.maximum(before * scale.reshape(4, 1, 1) + shift.reshape(4, 1, 1), 0)
    np.testing.assert_array_equal(found, wanted.astype(np.float32))  # powers of two and their sums round nothing
    assert_same_bits(interpret(corrected, inputs).outputs, {"y": found})


def _without_relu(program):
    return replace(program, instructions=program.layers, outputs=(program.instructions[-1].inputs[0],))


def test_nothing_to_correct_leaves_the_program_itself(program):
    assert corrections(program, ONES, 0 * ONES).correct(program) is program


def test_a_bias_is_scaled_too_and_none_comes_where_none_is_needed(program):
    doubled = corrections(program, 2 * ONES, 0 * ONES).correct(program)
    assert set(doubled.constants) - set(program.constants) == {"conv:corrected_multiplier"}
    bias = np.array([1.0, -2.0, 3.0], np.float32)
    dense = compile_small(linear_network(np.eye(3, 5), grid(4), bias=bias), make_accelerator(16, 12, 2))
    corrected = corrections(dense, np.full((1, 3), 2.0), np.full((1, 3), 0.5), "fc").correct(dense)
    x = np.ones((1, 5), np.float32)
    np.testing.assert_array_equal(Executor(corrected).run(x)["y"], 2 * Executor(dense).run(x)["y"] + 0.5)


def test_corrected_programs_are_programs(program, inputs, tmp_path):
    corrected = corrections(program, 3 * ONES, ONES).correct(program)
    write_program(corrected, tmp_path / "p.mho")
    assert_same_bits(Executor(read_program(tmp_path / "p.mho")).run(inputs), Executor(corrected).run(inputs))


def test_another_program_is_refused(program):
    found = corrections(program, ONES, ONES)
    with pytest.raises(ConfigError, match="another program"):
        found.correct(found.correct(program))


@pytest.mark.parametrize(("scale", "shift"), [(1e40, 0.0), (1.0, 1e39)])
def test_a_channel_that_float32_cannot_hold_is_refused(program, scale, shift):
    with pytest.raises(ConfigError, match="beyond float32"):
        corrections(program, ONES * scale, ONES * shift).correct(program)


def test_a_file_holds_all_of_it_in_the_same_bytes(program, tmp_path):
    layers = {
        "z": Correction(np.arange(6.0).reshape(2, 3), -np.arange(6.0).reshape(2, 3)),
        "a/b": Correction(np.full((1, 1), 0.1), np.full((1, 1), 1e-30)),
    }
    origin = ChipOrigin.of(program, 2**70, program.accelerator, None, "ab" * 32)
    found = ChannelCorrections(origin, layers)
    for name in ("a.npz", "b.npz"):
        write_corrections(found, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = read_corrections(tmp_path / "a.npz")
    assert (read.origin, read.origin.ranges, list(read.layers)) == (origin, "ab" * 32, ["z", "a/b"])
    for name, one in layers.items():
        np.testing.assert_array_equal(read.layers[name].scale, one.scale)
        np.testing.assert_array_equal(read.layers[name].shift, one.shift)


def test_no_layers_are_a_file_too(program, tmp_path):
    origin = ChipOrigin.of(program, 0, program.accelerator, None)
    write_corrections(ChannelCorrections(origin, {}), tmp_path / "c.npz")
    read = read_corrections(tmp_path / "c.npz")
    assert (read.origin, dict(read.layers)) == (origin, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": None}, "holds no 'scale'"),
        ({"scale": np.array([1])}, "'scale' is int64"),
        ({"shapes": np.array([1, 4])}, "'shapes' is int64 of shape"),
        ({ORIGIN: None}, "holds no 'origin'"),
        ({ORIGIN: np.array("{")}, "origin: not JSON"),
        ({"shapes": np.array([[2, 4]])}, "do not fit each other"),
        ({"shapes": np.array([[4, 1, 1]])}, "do not fit each other"),
        ({"shapes": np.array([[-1, -4]])}, "do not fit each other"),
        ({"layers": np.array(["conv", "conv"])}, "do not fit each other"),
        ({"shift": np.zeros(3)}, "do not fit each other"),
        ({"shift": np.array([0, np.nan, 0, 0])}, "not finite"),
        ({"scale": np.array([0, 1, 2, np.inf])}, "not finite"),
    ],
)
def test_damage_is_refused(program, tmp_path, change, message):
    path = tmp_path / "c.npz"
    write_corrections(corrections(program, 2 * ONES, ONES), path)
    arrays = {**read_arrays(path), **change}
    write_arrays(path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InputFileError, match=message):
        read_corrections(path)
