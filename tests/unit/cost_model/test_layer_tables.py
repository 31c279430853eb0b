import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

import mho.cost_model.layer_tables as layer_tables
from mho.cost_model.layer_tables import load_layer_table
from mho.errors import InputFileError
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy

LAYERS = (MvmLayer("conv1", "conv", 64, 27, 50176, 1), MvmLayer("fc", "linear", 10, 64, 1, 1))


@pytest.fixture
def reads(monkeypatch):
    """Stand in for the readers of networks; holds what they were asked for."""
    asked = []

    def load_network(spec, *, input_shape=None):
        asked.append((spec, input_shape))
        grid = SimpleNamespace(bits=4)
        quantization = SimpleNamespace(weight=grid, input=grid) if "quantized" in spec else None
        return SimpleNamespace(mvm_nodes=[SimpleNamespace(name=n.name, quantization=quantization) for n in LAYERS])

    module = ModuleType("mho.network.loading")
    module.load_network = load_network
    monkeypatch.setitem(sys.modules, "mho.network.loading", module)
    monkeypatch.setattr(layer_tables, "derive_layer_table", lambda _: LAYERS)
    return asked


def load(cache, spec="torchvision:net", input_shape=None):
    return load_layer_table(spec, input_shape=input_shape, cache=cache)


def kept_file(cache):
    (path,) = cache.rglob("*.json")
    return path


def test_a_kept_table_is_used_without_reading_the_network_again(reads, tmp_path):
    first, second = load(tmp_path), load(tmp_path)
    assert first == second
    assert second.layers == LAYERS
    assert len(reads) == 1


def test_a_quantized_network_keeps_its_widths(reads, tmp_path):
    made, kept = (load(tmp_path, "torchvision:quantized") for _ in range(2))
    assert made.policy == kept.policy == Policy.uniform(["conv1", "fc"], BitWidths(4, 4))
    assert load(tmp_path).policy is None


def test_another_input_shape_or_network_is_another_table(reads, tmp_path):
    for spec, shape in [("torchvision:a", None), ("torchvision:b", None), ("torchvision:a", (3, 8, 8))]:
        load(tmp_path, spec, shape)
    assert len(reads) == 3
    assert reads[-1] == ("torchvision:a", (3, 8, 8))


def test_another_library_version_reads_again(reads, tmp_path, monkeypatch):
    load(tmp_path)
    monkeypatch.setattr(layer_tables, "_version", lambda _: "another")
    load(tmp_path)
    assert len(reads) == 2


def test_other_code_of_mho_reads_again(reads, tmp_path, monkeypatch):
    load(tmp_path)
    monkeypatch.setattr(layer_tables, "_code_hash", lambda: "another")
    load(tmp_path)
    assert len(reads) == 2


def test_a_file_is_known_by_its_content(reads, tmp_path):
    file, cache = tmp_path / "net.onnx", tmp_path / "cache"
    file.write_bytes(b"one")
    load(cache, str(file))
    load(cache, str(file))
    file.write_bytes(b"two")
    load(cache, str(file))
    assert len(reads) == 2


@pytest.mark.parametrize("spec", ["package.module:function"])
def test_what_may_change_unseen_is_not_kept(reads, tmp_path, spec):
    load(tmp_path, spec)
    load(tmp_path, spec)
    assert len(reads) == 2


def test_a_file_whose_arrays_lie_elsewhere_is_not_kept(reads, tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(b"...location...weights.bin")
    load(tmp_path / "cache", str(file))
    load(tmp_path / "cache", str(file))
    assert len(reads) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "",
        lambda text: text[: len(text) // 2],
        lambda _: "[]",
        lambda _: "null",
        lambda text: text.replace("50176", "50177"),
        lambda text: text.replace('"positions"', '"position"'),
        lambda text: json.dumps({**json.loads(text), "layers": [3]}),
        lambda _: "[" * 100000,
    ],
)
def test_a_damaged_table_is_made_anew(reads, tmp_path, damage):
    load(tmp_path)
    path = kept_file(tmp_path)
    good = path.read_text()
    path.write_text(damage(good))
    assert load(tmp_path).layers == LAYERS
    assert len(reads) == 2
    assert path.read_text() == good


def test_a_folder_that_cannot_be_written_is_reported_and_harmless(reads, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    table = load(blocked)
    assert table.layers == LAYERS
    assert "could not be kept" in table.note


def test_without_a_folder_nothing_is_kept(reads):
    assert load(None).layers == LAYERS
    load(None)
    assert len(reads) == 2


def test_nothing_but_the_table_is_left_in_the_folder(reads, tmp_path):
    load(tmp_path)
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


def test_a_file_that_cannot_be_read_is_an_error(reads, tmp_path, monkeypatch):
    file = tmp_path / "net.onnx"
    file.write_bytes(b"x")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(InputFileError, match=r"net.onnx: Permission denied"):
        load(tmp_path / "cache", str(file))
