"""What a run finds out before it trains."""

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mho.errors import ConfigError, PolicyError
from mho.hardware.loading import load_accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.input_normalization import find_normalization
from mho.network.onnx_reader import read_onnx
from mho.task.task import CLASSIFICATION
from mho.workflow.network_stages import NETWORK_FILE, BuildNetwork
from mho.workflow.run import prepare


@pytest.fixture
def folder(tmp_path):
    """The folder of a network stage: two dense layers, `first` and `last`."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["h"], name="first", transB=1),
        helper.make_node("Gemm", ["h", "w2"], ["y"], name="last", transB=1),
    ]
    arrays = [numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in (("w1", (300, 4)), ("w2", (3, 300)))]
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 4]), ("y", [1, 3]))]
    graph = helper.make_graph(nodes, "net", infos[:1], infos[1:], arrays)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / NETWORK_FILE
    )
    return tmp_path


@pytest.mark.parametrize(
    ("search", "kind", "message"),
    [
        ({"pins": {"frist": "4/4"}}, PolicyError, "unknown layer"),
        ({"min_weight_bits": 5, "max_weight_bits": 7, "weight_bits_multiple": 4}, ConfigError, "no weight bits"),
    ],
)
def test_limits_that_the_network_cannot_meet_are_reported_before_anything_is_trained(folder, search, kind, message):
    from mho.workflow.config import EvaluationSettings
    from mho.workflow.search_settings import SearchSettings

    config = SimpleNamespace(
        run=SimpleNamespace(seed=1), network=None, search=SearchSettings(budget=5, **search), float_training=None,
        evaluation=EvaluationSettings(),
    )  # fmt: skip
    material = SimpleNamespace(accelerator=load_accelerator("pelke2026-4bit"), mapping=MappingModel.PAPER, chips=None)

    def get(stage):
        assert isinstance(stage, BuildNetwork), "nothing is trained"
        return SimpleNamespace(folder=folder)

    with pytest.raises(kind, match=message):
        prepare(config, material, get)


def test_a_network_stage_comes_from_the_weights_beside_its_file_too(folder):
    path = folder / "beside.onnx"
    model = onnx.load(folder / NETWORK_FILE)
    onnx.save(model, path, save_as_external_data=True, location="beside.data", size_threshold=0)
    stage = network_stage(path)
    before = stage.ingredients()
    assert stage.ingredients() == before
    weights = bytearray((folder / "beside.data").read_bytes())
    weights[3] ^= 1
    (folder / "beside.data").write_bytes(weights)
    assert stage.ingredients() != before


def test_a_network_whose_file_was_moved_is_the_same_one(folder):
    code = "import torch\n\n\ndef make():\n    return torch.nn.Linear(4, 3)\n"
    for place in ("here", "there"):
        (folder / place).mkdir()
        (folder / place / "own.py").write_text(code)
        (folder / place / NETWORK_FILE).write_bytes((folder / NETWORK_FILE).read_bytes())
    for name in (NETWORK_FILE, "own.py:make"):
        assert (
            network_stage(folder / "here" / name).ingredients() == network_stage(folder / "there" / name).ingredients()
        )
    before = network_stage(folder / "here" / "own.py:make").ingredients()
    (folder / "here" / "own.py").write_text(code.replace("Linear(4, 3)", "Linear(4, 3, bias=False)"))
    assert network_stage(folder / "here" / "own.py:make").ingredients() != before


def network_stage(path, normalization=(), *, is_set=False):
    samples = SimpleNamespace(images=np.zeros((1, 4), np.float32))
    dataset = SimpleNamespace(sample_shape=(4,), classes=3, task=CLASSIFICATION, target_shape=(), train=samples)
    material = SimpleNamespace(dataset=dataset, normalization=normalization, sets_normalization=is_set)
    return BuildNetwork(material, SimpleNamespace(name=str(path), weights=None), 1)


def test_a_network_that_normalizes_its_input_is_not_made_to_do_it_again(folder, tmp_path):
    steps, others = ([("sub", np.full(4, value, np.float32)), ("mul", np.ones(4, np.float32))] for value in (2, 3))
    made = tmp_path / "made"
    made.mkdir()
    stage = network_stage(folder / NETWORK_FILE, steps)
    figures = stage.make(made, lambda *_: None)
    assert figures["parameters"] == 300 * 4 + 3 * 300
    network = read_onnx(made / NETWORK_FILE)
    assert [node.op for node in network.nodes] == ["sub", "mul", "linear", "linear"]
    again = network_stage(made / NETWORK_FILE, steps, is_set=True)
    assert again.make(tmp_path, lambda *_: None)["notes"] == []
    assert [node.op for node in read_onnx(tmp_path / NETWORK_FILE).nodes] == ["sub", "mul", "linear", "linear"]
    (note,) = network_stage(made / NETWORK_FILE, others).make(tmp_path, lambda *_: None)["notes"]
    assert "normalizes its input itself" in note
    assert (find_normalization(read_onnx(tmp_path / NETWORK_FILE))[0][1] == 2).all()
    with pytest.raises(ConfigError, match=r"data\.mean: network\.onnx normalizes its input itself"):
        network_stage(made / NETWORK_FILE, others, is_set=True).make(tmp_path, lambda *_: None)
    assert stage.ingredients() != network_stage(folder / NETWORK_FILE, others).ingredients()
