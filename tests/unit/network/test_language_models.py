"""Networks that take token ids: read, quantized, compiled, written; tables of embeddings are digital."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from bits import assert_same_bits
from commands import run
from language_models import TinyDecoder
from network_checks import verify_network

import mho
from mho.errors import DataError
from mho.network.graph import Network
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float, run_quantized
from mho.quantization.export_check import compare_with_onnxruntime

IDS = np.random.default_rng(0).integers(0, 29, (6, 5))


@pytest.fixture(scope="module")
def decoder() -> tuple[TinyDecoder, Network]:
    torch.manual_seed(0)
    module = TinyDecoder().eval()
    return module, mho.load(module, torch.from_numpy(IDS[:1]))


def test_a_decoder_computes_what_torch_does(decoder: tuple[TinyDecoder, Network]) -> None:
    module, network = decoder
    verify_network(network)
    (tokens,) = network.inputs
    assert (tokens.dtype, tokens.shape) == ("int64", (1, 5))
    assert network.layer_names == (
        *(f"blocks.0.attention.{name}" for name in ("q_proj", "k_proj", "v_proj", "query_key", "attention_value")),
        *("blocks.0.attention.o_proj", "blocks.0.gate", "blocks.0.up", "blocks.0.down", "lm_head"),
    )
    assert not {"sin", "cos", "less_or_equal"} & {node.op for node in network.nodes}, "what is constant is folded"
    (found,) = run_float(network, IDS).values()
    with torch.no_grad():
        assert np.allclose(found, module(torch.from_numpy(IDS)).numpy(), atol=1e-5)


def test_a_decoder_in_integers_is_the_same_in_every_engine_and_in_onnx(
    decoder: tuple[TinyDecoder, Network], tmp_path: Path
) -> None:
    quantized = mho.quantize(decoder[1], "8/8", IDS)
    expected = run_quantized(quantized, IDS)
    program = mho.compile(quantized, make_accelerator(32, 32, 2, 2))
    assert_same_bits(mho.simulate(program, IDS), expected)
    assert_same_bits(mho.simulate(program, IDS[:1], engine="interpreter"), {k: v[:1] for k, v in expected.items()})
    mho.save(quantized, tmp_path / "decoder.onnx")
    assert compare_with_onnxruntime(quantized, tmp_path / "decoder.onnx", IDS).is_explained
    again = read_onnx(tmp_path / "decoder.onnx")
    assert again.inputs == quantized.inputs
    assert_same_bits(run_quantized(again, IDS), expected)


def test_inspect_counts_tables_of_embeddings(
    decoder: tuple[TinyDecoder, Network], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mho.save(decoder[1], tmp_path / "decoder.onnx")
    document = json.loads(run(capsys, "inspect", str(tmp_path / "decoder.onnx"), "--json"))
    assert document["input_types"] == {"ids": "int64"}
    assert document["tables"] == {"count": 1, "bytes": 29 * 16 * 4}
    assert "1 table of embeddings, 1,856 bytes" in run(capsys, "inspect", str(tmp_path / "decoder.onnx"))


def test_ids_outside_of_the_table_are_refused(decoder: tuple[TinyDecoder, Network]) -> None:
    for wrong in (29, -30, 0.5):
        with pytest.raises(DataError, match=rf"index {wrong} into a table of 29 rows"):
            run_float(decoder[1], np.full((1, 5), wrong, np.float32))


def test_embeddings_are_trained(decoder: tuple[TinyDecoder, Network]) -> None:
    trainable = mho.trainable(decoder[1])
    scores = trainable(torch.from_numpy(IDS))
    scores.sum().backward()
    tables = [parameter for parameter in trainable.parameters() if parameter.shape == (29, 16)]
    assert len(tables) == 2, "what the module ties is trained apart: digital memory holds one, crossbars the other"
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in tables)
