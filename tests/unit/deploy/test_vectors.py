"""Test vectors are what the interpreter does, in files that RTL and scripts read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_chain
from hand_made import SLICES, ZERO, Bench, make_program
from small_programs import compile_small, conv_network, grid, linear_network, matmul_network
from vector_checks import check_reads, values

import mho
from mho.array_files import read_arrays, write_arrays
from mho.cli.main import main
from mho.errors import ConfigError, DataError
from mho.hardware.spec import Encoding
from mho.mapping.layer_mapping import MappingModel
from mho.program.container import write_program
from mho.program.geometry import LinearGeometry
from mho.program.instructions import Loop

BEST = MappingModel.BEST


def samples_of(program: mho.Program, count: int = 2) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    return {
        name: generator.uniform(-2, 4, (count, *program.buffers[name].shape)).astype(np.float32)
        for name in program.inputs
    }


def make_chain_program(crossbars: int, **converters: Any) -> mho.Program:
    """Return two convolutions with a ReLU between, in as many crossbars."""
    inputs = np.random.default_rng(2).standard_normal((8, 1, 6, 6)).astype(np.float32)
    quantized = mho.quantize(make_chain(), "4/4", inputs)
    allowed = {"mapping": {"allowed": {"encodings": ["differential-columns"]}}} if converters else {}
    return mho.compile(quantized, make_accelerator(crossbars=crossbars, converters=converters, **allowed))


CASES = {
    "dense": (compile_small(linear_network(np.arange(-6, 6).reshape(4, 3), grid(4))), "fc"),
    "convolution": (compile_small(conv_network(inputs=grid(4)), model=BEST), "conv"),
    "groups": (compile_small(conv_network(groups=2, inputs=grid(3, signed=True)), model=BEST), "conv"),
    "stored": (compile_small(matmul_network()), "qk"),
    "rows of both signs": (
        compile_small(
            linear_network(np.arange(-6, 6).reshape(4, 3), grid(4)),
            make_accelerator(encoding=Encoding.DIFFERENTIAL_ROWS),
        ),
        "fc",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_reads_follow_from_cells_and_drives_and_outputs_are_those_of_the_program(name):
    program, layer = CASES[name]
    inputs = samples_of(program)
    vectors = mho.vectors(program, inputs, layer, sample=1)
    assert vectors.clipped is None
    check_reads(vectors)
    v = values(vectors)
    last = dict(zip(v["addresses"].reshape(-1), v["sums"].reshape(-1), strict=True))
    for (address, _), total in zip(v["places"], v["totals"], strict=True):
        assert last[address] == total
    for name_of, one in vectors.arrays.items():
        if one.values.dtype != np.float32:
            low, high = (-(1 << one.bits - 1), 1 << one.bits - 1) if one.is_signed else (0, 1 << one.bits)
            assert low <= one.values.min(), name_of
            assert one.values.max() < high, name_of
    (output,) = mho.simulate(program, inputs).values()
    outputs = v["outputs"] if program.instructions[-1] is program.layers[-1] else np.maximum(v["outputs"], 0)  # ReLU
    np.testing.assert_array_equal(output[1].reshape(-1)[v["places"][:, 1]], outputs)
    assert len(outputs) == output[1].size


@pytest.fixture(scope="module")
def chain() -> mho.Program:
    return make_chain_program(1)


def test_codes_of_the_next_layer_are_those_that_it_quantizes(chain):
    inputs = samples_of(chain, 1)
    first, second = (mho.vectors(chain, inputs, layer) for layer in ("first", "second"))
    check_reads(first)
    assert second.requantized_by == ""
    v = values(first)
    positive = v["requantized"][v["outputs"] > 0]
    assert positive.max() > v["requantized"][v["outputs"] <= 0].max()  # a ReLU lies between
    assert len(v["requantized"]) == 3 * 6 * 6


@pytest.mark.parametrize("crossbars", [3, 40])
def test_programs_of_many_and_few_crossbars_do_the_same(chain, crossbars):
    program = make_chain_program(crossbars)
    assert program.regime != chain.regime
    inputs = samples_of(chain, 1)
    one, other = (values(mho.vectors(each, inputs, "second")) for each in (chain, program))
    by_element = [dict(zip(v["places"][:, 1], v["outputs"], strict=True)) for v in (one, other)]
    assert by_element[0] == by_element[1]


def test_outputs_are_integers_where_the_digital_unit_computes_so():
    network = make_chain()
    inputs = np.random.default_rng(2).standard_normal((8, 1, 6, 6)).astype(np.float32)
    quantized = mho.quantize_digital(mho.quantize(network, "4/4", inputs), inputs)
    program = mho.compile(quantized, make_accelerator(digital={"arithmetic": "integer"}))
    vectors = mho.vectors(program, inputs[:1], "first")
    check_reads(vectors)
    v = values(vectors)
    assert v["outputs"].dtype == np.int64
    np.testing.assert_array_equal(v["outputs"] > 0, v["requantized"] > 0)


def test_windows_are_a_part_of_all(chain):
    inputs = samples_of(chain, 1)
    whole, part = mho.vectors(chain, inputs, "second"), mho.vectors(chain, inputs, "second", windows=(1, 3))
    check_reads(part)
    v, w = values(whole), values(part)
    kept = np.isin(v["places"][:, 0], w["places"][:, 0])
    assert 0 < kept.sum() < len(kept)
    for name in ("totals", "outputs"):
        np.testing.assert_array_equal(v[name][kept], w[name])
    chosen = np.isin(v["addresses"], w["places"][:, 0]).any(axis=1)
    for name in ("drives", "counts", "codes", "sums", "starts"):
        np.testing.assert_array_equal(v[name][chosen], w[name])


def test_adcs_of_few_bits_clip_and_sums_follow(chain):
    inputs = samples_of(chain, 1)
    exact, clipped = mho.vectors(chain, inputs, "first"), mho.vectors(chain, inputs, "first", adc_bits=1)
    check_reads(clipped)
    v, w = values(exact), values(clipped)
    np.testing.assert_array_equal(v["counts"], w["counts"])
    np.testing.assert_array_equal(np.clip(v["codes"], 0, 1), w["codes"])
    assert clipped.clipped == (v["codes"] > 1).sum()
    assert (v["totals"] != w["totals"]).any()


def test_differences_that_are_converted_stand_at_their_first_column():
    program = make_chain_program(1, column_difference="analog", columns_per_adc=2)
    vectors = mho.vectors(program, samples_of(program, 1), "first")
    check_reads(vectors)
    assert vectors.arrays["codes"].is_signed


def read_hex(text: str, bits: int, *, is_signed: bool) -> np.ndarray:
    words = np.array([int(word, 16) for word in text.split()], dtype=object)
    assert max(words) < 1 << bits
    return np.array([word - (1 << bits) if is_signed and word >> (bits - 1) else word for word in words], np.int64)


def test_cells_of_another_layer_in_the_same_rows_of_a_crossbar_are_left_out():
    first, second = Bench("first", LinearGeometry(1, 2, 2)), Bench("second", LinearGeometry(1, 2, 1))
    reads = first.read(first.rows([0, 1]), first.cols([0, 1]), ZERO, ZERO)
    body = (first.write([[1, 2], [3, 0]]), second.write([[3], [1]], corner=(0, 3), joins=True), *reads)
    later = second.read(second.rows([0, 1]), second.cols([0]), ZERO, ZERO, shift=SLICES, first_col=3)
    layers = [
        first.layer(body, source="x", target="h"),
        second.layer((Loop("s", 2, later),), source="h", target="y", bits=4),
    ]
    sizes = {"x": (1, 2), "first:codes": 2, "first:sums": 2, "h": (1, 2), "second:codes": 2, "second:sums": 1}
    program = make_program([first, second], layers, {**sizes, "y": (1, 1)})
    for layer, held in ("first", 6), ("second", 4):
        vectors = mho.vectors(program, {"x": np.array([[3, 2]], np.float32)}, layer)
        check_reads(vectors)
        assert values(vectors)["cells"].sum() == held


def test_files_hold_the_same_in_three_forms(chain, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    inputs = samples_of(chain)
    write_program(chain, "p.mho")
    write_arrays("x.npz", inputs)
    command = ["vectors", "p.mho", "--inputs", "x.npz", "--layer", "first", "--windows", "0:2", "--sample", "1"]
    assert main([*command, "-o", "out"]) == 0
    assert "layer first: " in capsys.readouterr().out
    folder = tmp_path / "out"
    manifest = json.loads((folder / "manifest.json").read_text())
    arrays, lists = read_arrays(folder / "vectors.npz"), json.loads((folder / "vectors.json").read_text())
    expected = values(mho.vectors(chain, inputs, "first", windows=(0, 2), sample=1))
    assert list(manifest["arrays"]) == list(expected) == list(arrays) == list(lists)
    for name, entry in manifest["arrays"].items():
        np.testing.assert_array_equal(arrays[name], expected[name])
        np.testing.assert_array_equal(np.array(lists[name], expected[name].dtype), expected[name])
        words = read_hex((folder / entry["file"]).read_text(), entry["bits"], is_signed=entry["signed"])
        if entry["type"] == "float32":
            words = words.astype(np.int32).view(np.float32)
        np.testing.assert_array_equal(words.reshape(entry["shape"]), expected[name])
    assert main([*command, "-o", "out"]) == 2
    assert "there already" in capsys.readouterr().err
    assert main([*command, "-o", "again", "--json"]) == 0
    assert "manifest.json" in json.loads(capsys.readouterr().out)["files"]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"layer": "frist"}, ConfigError, "did you mean 'first'"),
        ({"layer": "first", "windows": (0, 99)}, ConfigError, "no windows 0:99"),
        ({"layer": "first", "windows": (2, 2)}, ConfigError, "no windows 2:2"),
        ({"layer": "first", "sample": 2}, DataError, "no sample 2"),
        ({"layer": "first", "adc_bits": 17}, ConfigError, "ADCs of 17 bits"),
    ],
)
def test_what_is_not_there_is_an_error(chain, options, kind, message):
    with pytest.raises(kind, match=message):
        mho.vectors(chain, samples_of(chain), **options)


@pytest.mark.parametrize("options", [{}, {"layer": "first", "windows": "a:b"}, {"layer": "first", "sample": "-1"}])
def test_options_of_the_backend_are_checked(chain, options, tmp_path):
    with pytest.raises(ConfigError):
        mho.emit(chain, "vectors", tmp_path / "out", inputs=samples_of(chain), options=options)
    with pytest.raises(ConfigError, match="those of a sample"):
        mho.emit(chain, "vectors", tmp_path / "out", options={"layer": "first"})
    assert not (tmp_path / "out").exists()
