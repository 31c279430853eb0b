"""Embeddings of an integer-only digital unit: indices stay whole numbers, tables become integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from bits import assert_same_bits
from c_runtime import RuntimeFailure, run_in_c
from language_models import TinyDecoder
from network_builder import NetworkBuilder
from torch import nn

import mho
from mho.errors import DataError, ProgramError, UnsupportedOperationError
from mho.network.graph import Network
from mho.network.integer_lowering import lower_to_integers
from mho.network.reference import run_quantized
from mho.program.program import Program
from mho.program.verify import verify_program
from mho.quantization.digital_grids import assign_digital_grids


class _Positions(nn.Module):
    """Tokens and learned positions, the first of which is an input."""

    def __init__(self, tokens: int = 29) -> None:
        super().__init__()
        self.table, self.places, self.last = nn.Embedding(tokens, 12), nn.Embedding(9, 12), nn.Linear(12, 5)

    def forward(self, ids: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        return self.last(self.table(ids) + self.places(position + torch.arange(4)))


@pytest.fixture(scope="module")
def quantized() -> tuple[Network, dict[str, np.ndarray]]:
    torch.manual_seed(0)
    example = (torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    random = np.random.default_rng(0)
    inputs = {"ids": random.integers(0, 9, (8, 1, 4)), "position": random.integers(0, 6, (8, 1))}
    network = mho.quantize(mho.load(_Positions(), example), "8/8", inputs)
    return assign_digital_grids(network, inputs, bits=8), inputs


@pytest.fixture(scope="module")
def program(quantized: tuple[Network, dict[str, np.ndarray]]) -> Program:
    hardware = make_accelerator(16, 16, 2, 2, digital={"arithmetic": "integer", "activation_bits": 8})
    return mho.compile(quantized[0], hardware)


def test_indices_keep_all_their_numbers_and_tables_have_the_range_of_all_rows(quantized) -> None:
    network, _ = quantized
    lowered = lower_to_integers(network)
    assert [node.op for node in lowered.network.nodes] == [
        *("int_quantize", "int_embed"), *("int_quantize", "expand", "int_scale", "int_embed"),
        *("reshape", "int_add", "linear", "int_dequantize"),
    ]  # fmt: skip
    assert {lowered.grids[name].scale for name in ("ids.integers", "position.integers", "add")} == {1.0}
    assert not {"ids", "position"} & {node.inputs[0] for node in network.nodes if node.op == "fake_quantize"}
    tables = [lowered.network.constants[node.inputs[1]] for node in lowered.network.nodes if node.op == "int_embed"]
    assert [int(np.abs(table).max()) for table in tables] == [127, 127]  # 20 rows were in no sample


@pytest.mark.parametrize("index", [29, -30, 1 << 21])
def test_an_index_outside_of_the_table_is_an_error_in_every_engine_and_in_c(program, quantized, index: int) -> None:
    inputs = {name: array[:2].astype(np.float32) for name, array in quantized[1].items()}
    inputs["ids"][1, 0, 2] = index
    for engine in ("executor", "interpreter"):
        with pytest.raises(DataError, match="into a table of 29 rows"):
            mho.simulate(program, inputs, engine=engine)
    with pytest.raises(RuntimeFailure, match="index outside of its table"):
        run_in_c(program, inputs)


def test_indices_of_another_scale_are_refused(program) -> None:
    buffers = dict(program.buffers)
    buffers["ids.integers"] = replace(buffers["ids.integers"], scale=0.5)
    with pytest.raises(ProgramError, match=r"has the scale 0.5(.|\n)*indices, of scale 1"):
        verify_program(replace(program, buffers=buffers))


def test_indices_that_are_no_sums_with_whole_constants_are_named() -> None:
    b = NetworkBuilder((1, 4))
    b.constants["half"] = np.float32(0.5)
    halves = b.add("mul", "half", name="halve")
    b.add("embed", b.constant("table", 9, 6), at=halves)
    b.linear(3)
    inputs = np.random.default_rng(0).integers(0, 9, (8, 1, 4)).astype(np.float32) * 2
    digital = assign_digital_grids(mho.quantize(b.build(), "8/8", inputs), inputs)
    with pytest.raises(UnsupportedOperationError, match=r"halve.*indices of an embedding that mul computes"):
        lower_to_integers(digital)


def test_tables_of_more_rows_than_indices_reach_are_refused() -> None:
    b = NetworkBuilder((1, 4))
    b.constants["table"] = np.zeros(((1 << 18) + 1, 1), np.float32)
    b.add("embed", "table", name="huge")
    b.constants["table"][7] = 1
    b.linear(3)
    inputs = np.full((2, 1, 4), 7, np.float32)
    digital = assign_digital_grids(mho.quantize(b.build(), "8/8", inputs), inputs)
    with pytest.raises(UnsupportedOperationError, match=r"huge.*a table of 262,145 rows"):
        lower_to_integers(digital)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiny_language_model_is_the_same_in_every_engine_in_its_file_and_in_c(tmp_path, bits: int) -> None:
    """Embeddings, RMS normalizations, rotations, attention behind a mask of infinities."""
    torch.manual_seed(0)
    network = mho.load(TinyDecoder(), torch.zeros(1, 5, dtype=torch.int64))
    tokens = np.random.default_rng(0).integers(0, 29, (12, 1, 5)).astype(np.float32)
    quantized = mho.quantize(network, "8/8", tokens)
    digital = assign_digital_grids(quantized, tokens, bits=bits)
    expected = run_quantized(lower_to_integers(digital).network, tokens)
    ((name, scores),) = expected.items()
    (floats,) = run_quantized(quantized, tokens).values()
    assert np.abs(scores - floats).max() <= {8: 0.3, 16: 0.05}[bits] * np.abs(floats).max()
    others = tokens.copy()
    others[..., 3:] = (others[..., 3:] + 7) % 29  # later tokens, which no earlier one sees
    later = run_quantized(lower_to_integers(digital).network, others)[name]
    assert np.array_equal(later[:, :3], scores[:, :3])
    assert not np.array_equal(later, scores)
    hardware = make_accelerator(16, 16, 2, 2, digital={"arithmetic": "integer"})
    mho.save(digital, tmp_path / "model.onnx")
    assert_same_bits(mho.simulate(mho.compile(mho.load(tmp_path / "model.onnx"), hardware), tokens), expected)
    program = mho.compile(digital, hardware)
    assert_same_bits(mho.simulate(program, tokens), expected)
    assert_same_bits(mho.simulate(program, tokens[:1], engine="interpreter"), {k: v[:1] for k, v in expected.items()})
    assert_same_bits(run_in_c(program, {program.inputs[0]: tokens}), expected)
