"""What is read from ONNX: names, biases, shapes; and what cannot be read is told clearly, all at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import model, node

from mho.errors import InputFileError, MhoError, UnsupportedOperationError
from mho.network.graph import Network
from mho.network.loading import load_network
from mho.network.naming import plain_node_name
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float
from mho.network.verify import verify_network

W = np.arange(12, dtype=np.float32).reshape(3, 4) / 10
KERNEL = np.ones((2, 3, 1, 1), np.float32)


def read(*arguments: object, input_shapes: object = None, **options: object) -> Network:
    network = read_onnx(model(*arguments, **options), input_shapes)
    verify_network(network)
    return network


# -- names ------------------------------------------------------------------------------------------------------------


def test_the_module_path_in_the_weights_name_names_the_layer() -> None:
    nodes = [node("Gemm", "x block.0.fc.weight", "h", "node_17", transB=1), node("Gemm", "h head.w", "y", "node_18")]
    network = read(nodes, {"x": (1, 4)}, {"block.0.fc.weight": W, "head.w": W})
    assert network.layer_names == ("block.0.fc", "node_18")


def test_a_second_layer_with_the_same_weight_has_a_name_of_its_own() -> None:
    nodes = [node("MatMul", "x shared.weight", "h"), node("Relu", "h", "r"), node("MatMul", "r shared.weight")]
    network = read(nodes, {"x": (1, 4)}, {"shared.weight": np.eye(4, dtype=np.float32)})
    assert network.layer_names == ("shared", "shared.weight")


def test_names_that_files_repeat_become_unique() -> None:
    nodes = [node("MatMul", "x a", "h", "same"), node("Relu", "h", "r", "same"), node("MatMul", "r b", "y", "same")]
    network = read(nodes, {"x": (1, 4)}, {"a": np.eye(4, dtype=np.float32), "b": W.T})
    assert network.layer_names[0] == "same"
    assert len({n.name for n in network.nodes}) == 3


def test_nameless_layers_take_their_weights_name() -> None:
    network = read(node("MatMul", "x kernel"), {"x": (1, 4)}, {"kernel": W.T})
    assert network.layer_names == ("kernel",)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"),
        ("/features/features.3/Conv_1", "features.3"),
        ("/encoder/attn/MatMul", "encoder.attn"),
        ("Conv_12", "Conv_12"),
    ],
)
def test_node_names_of_torchs_older_exporter_become_module_paths(name: str, expected: str) -> None:
    assert plain_node_name(name) == expected


def test_products_of_attention_are_named_by_the_softmax_between_them() -> None:
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("MatMul", "x t", "s", "first"),
        node("Mul", "s c", "m"),
        node("Softmax", "m", "a", axis=-1),
        node("MatMul", "a x", "o", "second"),
        node("MatMul", "o t", "y", "third"),
    ]
    proto = model(nodes, {"x": (1, 3, 4)}, {"c": np.float32(0.5)})
    for made in proto.graph.node:
        helper.set_model_props(made, {"pkg.torch.onnx.name_scopes": "['', 'enc', 'enc.attn', 'call_1']"})
    network = read_onnx(proto)
    assert network.layer_names == ("enc.attn.query_key", "enc.attn.attention_value", "enc.attn.matmul")


def test_a_layers_name_written_by_mho_comes_before_all() -> None:
    proto = model(node("MatMul", "x fc.weight", "y", "n"), {"x": (1, 4)}, {"fc.weight": W.T})
    helper.set_model_props(proto.graph.node[0], {"mho.layer": "my layer"})
    assert read_onnx(proto).layer_names == ("my layer",)


def test_a_digital_node_makes_way_for_a_layer_of_its_name() -> None:
    nodes = [node("Relu", "x", "r", "fc"), node("MatMul", "r fc.weight")]
    network = read(nodes, {"x": (1, 4)}, {"fc.weight": W.T})
    assert [n.name for n in network.nodes] == ["fc.relu", "fc"]


# -- biases and other rewrites ----------------------------------------------------------------------------------------


def test_an_added_constant_becomes_the_bias_of_a_product() -> None:
    nodes = [node("MatMul", "x w", "m"), node("Add", "b m")]
    network = read(nodes, {"x": (1, 5, 4)}, {"w": W.T, "b": np.float32([1, 2, 3])})
    assert [n.op for n in network.nodes] == ["linear"]
    assert network.constants[network.nodes[0].inputs[2]].tolist() == [1, 2, 3]


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (2, 1, 1)])
def test_an_added_constant_becomes_the_bias_of_a_convolution(shape: tuple[int, ...]) -> None:
    nodes = [node("Conv", "x w", "m"), node("Add", "m b")]
    network = read(nodes, {"x": (1, 3, 5, 5)}, {"w": KERNEL, "b": np.float32([1, 2]).reshape(shape)})
    assert [(n.op, len(n.inputs)) for n in network.nodes] == [("conv", 3)]


def test_a_constant_added_along_another_axis_stays_an_addition() -> None:
    nodes = [node("Conv", "x w", "m"), node("Add", "m b")]
    network = read(nodes, {"x": (1, 3, 5, 2)}, {"w": KERNEL, "b": np.float32([1, 2])})
    assert [n.op for n in network.nodes] == ["conv", "add"]


def test_a_sum_that_is_read_twice_keeps_its_product() -> None:
    nodes = [node("MatMul", "x w", "m"), node("Add", "m b", "a"), node("Mul", "a m")]
    network = read(nodes, {"x": (1, 4)}, {"w": W.T, "b": np.float32([1, 2, 3])})
    assert [n.op for n in network.nodes] == ["linear", "add", "mul"]


def test_zeros_that_are_computed_are_no_bias_but_a_parameter_of_zeros_is() -> None:
    made = [node("ConstantOfShape", "n", "zeros"), node("Conv", "x w zeros")]
    assert len(read(made, {"x": (1, 3, 5, 5)}, {"w": KERNEL, "n": np.array([2])}).nodes[0].inputs) == 2
    held = read(node("Conv", "x w b"), {"x": (1, 3, 5, 5)}, {"w": KERNEL, "b": np.zeros(2, np.float32)})
    assert len(held.nodes[0].inputs) == 3


def test_what_nobody_reads_is_dropped() -> None:
    nodes = [node("Relu", "x", "unread"), node("Sigmoid", "x")]
    assert [n.op for n in read(nodes, {"x": (1, 4)}).nodes] == ["sigmoid"]


def test_an_output_behind_an_identity_keeps_the_files_name() -> None:
    nodes = [node("Relu", "x", "r"), node("Identity", "r", "out"), node("Neg", "r", "other")]
    network = read(nodes, {"x": (1, 4)}, outputs=["out", "other"])
    assert [tensor.name for tensor in network.outputs] == ["out", "other"]
    assert run_float(network, np.float32([[-1, 2, 3, -4]]))["out"].tolist() == [[0, 2, 3, 0]]


def test_an_input_may_be_an_output() -> None:
    network = read(node("Identity", "x"), {"x": (1, 4)})
    assert run_float(network, np.ones((2, 4)))["y"].shape == (2, 4)


def test_local_functions_are_read_as_their_bodies() -> None:
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [node("Add", "a a", "s"), node("Relu", "s", "b")], [helper.make_opsetid("", 21)]
    )
    graph = model(helper.make_node("Twice", ["x"], ["y"], domain="local"), {"x": (1, 4)}).graph
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=10)
    assert [n.op for n in read_onnx(proto).nodes] == ["add", "relu"]


# -- shapes -----------------------------------------------------------------------------------------------------------


def test_a_symbolic_batch_becomes_one_and_a_fixed_one_stays() -> None:
    assert read(node("Relu", "x"), {"x": ("N", 4)}).inputs[0].shape == (1, 4)
    assert read(node("Relu", "x"), {"x": (3, 4)}).inputs[0].shape == (3, 4)


def test_other_symbolic_axes_need_a_shape() -> None:
    proto = model(node("Relu", "x"), {"x": ("N", "tokens")})
    with pytest.raises(InputFileError, match="symbolic axes") as caught:
        read_onnx(proto)
    assert "input_shape" in str(caught.value)
    assert read_onnx(proto, (1, 7)).outputs[0].shape == (1, 7)
    assert read_onnx(proto, {"x": (1, 7)}).outputs[0].shape == (1, 7)
    with pytest.raises(InputFileError, match="no input 'z'"):
        read_onnx(proto, {"z": (1, 7)})
    with pytest.raises(InputFileError, match=r"shape \[1, 2, 3\]"):
        read_onnx(proto, (1, 2, 3))


def test_an_axis_of_minus_one_is_open_and_a_fixed_batch_leaves_one_sample_to_be_given(tmp_path: Path) -> None:
    assert read(node("Relu", "x"), {"x": (-1, 4)}).inputs[0].shape == (1, 4)
    with pytest.raises(InputFileError, match=r"symbolic axes(.|\n)*without batch axis"):
        read(node("Relu", "x"), {"x": (-1, "H")})
    onnx.save(model(node("Relu", "x"), {"x": (4, 3, "H")}), tmp_path / "four.onnx")
    assert load_network(tmp_path / "four.onnx", input_shape=(3, 5)).inputs[0].shape == (1, 3, 5)


def test_a_given_shape_must_agree_with_the_files() -> None:
    with pytest.raises(InputFileError, match=r"shape \[1, 5\]"):
        read(node("Relu", "x"), {"x": ("N", 4)}, input_shapes=(1, 5))


# -- what cannot be read ----------------------------------------------------------------------------------------------


def test_every_unsupported_operation_is_named_with_its_node() -> None:
    nodes = [
        node("Einsum", "x x", "e", "first", equation="ij,ij->ij"),
        node("Relu", "e", "r"),
        node("NonZero", "r", "z", "second"),
        node("Conv", "x w", "c", "third"),
        node("Cos", "c", "y"),
    ]
    with pytest.raises(UnsupportedOperationError) as caught:
        read(nodes, {"x": (1, 4)}, {"w": KERNEL})
    text = str(caught.value)
    for part in ("Einsum (first)", "NonZero (second)", "Conv (third)", "Cos (y)"):
        assert part in text
    assert "Relu" not in text


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (node("Pad", "x p", mode="reflect"), "reflect"),
        (node("Resize", "x  s", mode="linear"), "linear"),
        (node("Resize", "x  s", mode="nearest", coordinate_transformation_mode="align_corners"), "align_corners"),
        (node("MaxPool", "x", "y i", kernel_shape=[1, 1]), "second output"),
        (node("MatMul", "x stack"), "stack of matrices"),
        (node("Resize", "x  s", coordinate_transformation_mode="tf_crop_and_resize"), "crop"),
        (node("Resize", "x   n", keep_aspect_ratio_policy="fill"), "'fill'"),
        (node("Cast", "x", to=TensorProto.INT64), "INT64"),
        (node("BatchNormalization", "x v v v v", training_mode=1), "training"),
        (node("Add", "x ints"), "integer operand"),
    ],
)
def test_forms_of_operations_that_are_not_there_are_told(made: onnx.NodeProto, reason: str) -> None:
    constants = {
        "p": np.zeros(8, np.int64),
        "s": np.float32([1, 1, 2, 2]),
        "n": np.array([1, 2, 4, 4]),
        "stack": np.ones((1, 2, 2, 3), np.float32),
        "v": np.ones(2, np.float32),
        "ints": np.array([1, 2]),
    }
    nodes = [made] if len(made.output) == 1 else [made, node("Cast", "i", "y2", to=TensorProto.FLOAT)]
    with pytest.raises(UnsupportedOperationError, match=reason):
        read_onnx(model(nodes, {"x": (1, 2, 2, 2)}, constants))


def test_arithmetic_in_float64_is_refused() -> None:
    nodes = [
        node("Cast", "x", "d", to=TensorProto.DOUBLE),
        node("Add", "d c", "e", "first"),
        node("Cast", "e", to=TensorProto.FLOAT),
    ]
    with pytest.raises(UnsupportedOperationError, match=r"Add \(first\): computes in float64"):
        read(nodes, {"x": (2, 3)}, {"c": np.array([1e8])})


def test_a_float16_file_is_computed_in_float32_and_its_casts_round() -> None:
    nodes = [node("Add", "x c", "a"), node("Cast", "a", to=TensorProto.FLOAT)]
    network = read(nodes, {"x": (1, 2)}, {"c": np.float16([1, 2048])}, input_type=TensorProto.FLOAT16)
    assert [n.op for n in network.nodes] == ["add"]
    assert run_float(network, np.float32([[1, 1]]))["y"].tolist() == [[2, 2049]]
    nodes = [node("Cast", "x", "h", to=TensorProto.FLOAT16), node("CastLike", "c h", "l"), node("Add", "h l")]
    network = read(nodes, {"x": (1, 2)}, {"c": np.float32([1, 1])})
    assert [n.op for n in network.nodes] == ["cast", "add"]
    assert run_float(network, np.float32([[1, 2049]]))["y"].tolist() == [[2, 2049]]


def test_weights_that_are_not_finite_are_named() -> None:
    bad = W.copy()
    bad[0, 0], bad[1, 1] = np.nan, np.inf
    with pytest.raises(InputFileError, match=r"'fc.weight' \(2 of 12\)"):
        read(node("Gemm", "x fc.weight", transB=1), {"x": (1, 4)}, {"fc.weight": bad})


def test_an_added_mask_may_hold_minus_infinity() -> None:
    network = read(node("Add", "x mask"), {"x": (1, 2)}, {"mask": np.float32([0, -np.inf])})
    assert run_float(network, np.ones((1, 2)))["y"].tolist() == [[1, -np.inf]]


@pytest.mark.parametrize("opset", [10, 24])
def test_opsets_beyond_the_known_ones_are_refused(opset: int) -> None:
    with pytest.raises(UnsupportedOperationError, match=f"opset {opset}"):
        read(node("Relu", "x"), {"x": (1, 2)}, opset=opset)


def test_an_input_of_integers_is_refused() -> None:
    with pytest.raises(UnsupportedOperationError, match="INT64"):
        read(node("Relu", "x"), {"x": (1, 2)}, input_type=TensorProto.INT64)


def test_an_output_of_maps_is_refused_as_such() -> None:
    proto = model(node("Relu", "x"), {"x": (1, 2)})
    proto.graph.output.add(name="classes").type.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
    with pytest.raises(UnsupportedOperationError, match="output 'classes' holds maps"):
        read_onnx(proto)


def test_a_reshape_that_does_not_fit_names_its_node() -> None:
    with pytest.raises(MhoError, match=r"Reshape \(here\)"):
        read(node("Reshape", "x s", name="here"), {"x": (1, 4)}, {"s": np.array([3, -1])})


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A model with a weight large enough for external data."""
    weight = np.ones((64, 64), np.float32)
    path = tmp_path / "model.onnx"
    onnx.save(model(node("MatMul", "x w"), {"x": (1, 64)}, {"w": weight}), path)
    return path


def test_a_file_that_is_missing_a_folder_or_cut_short_is_told(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        read_onnx(tmp_path / "nothing.onnx")
    with pytest.raises(InputFileError, match="is a folder"):
        read_onnx(tmp_path)
    content = saved.read_bytes()
    for length in (len(content) // 2, len(content) - 1, 100, 0):
        saved.write_bytes(content[:length])
        with pytest.raises(InputFileError, match=r"not an ONNX model|holds no network|malformed"):
            read_onnx(saved)


def test_a_file_of_something_else_is_told(tmp_path: Path) -> None:
    path = tmp_path / "readme.onnx"
    path.write_text("# not a network\n" * 50)
    with pytest.raises(InputFileError, match="not an ONNX model"):
        read_onnx(path)


def _save_external(path: Path, location: str) -> None:
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="data.bin", size_threshold=0)
    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(proto.SerializeToString())


def test_external_data_are_read_from_the_models_folder(saved: Path) -> None:
    _save_external(saved, "data.bin")
    network = read_onnx(saved)
    (saved.parent / "data.bin").write_bytes(b"\0" * 64 * 64 * 4)  # what was read stays as it was
    assert network.constants["w"].sum() == 64 * 64


def test_external_data_elsewhere_missing_or_cut_short_are_refused(saved: Path) -> None:
    _save_external(saved, "../data.bin")
    with pytest.raises(InputFileError, match="outside the model's folder"):
        read_onnx(saved)
    _save_external_again = onnx.load(saved, load_external_data=False)
    with pytest.raises(InputFileError, match="another file"):
        read_onnx(_save_external_again)


def test_missing_and_short_external_data_are_told(saved: Path) -> None:
    _save_external(saved, "data.bin")
    data = saved.parent / "data.bin"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(InputFileError, match="end at byte 100"):
        read_onnx(saved)
    data.unlink()
    with pytest.raises(InputFileError, match="missing"):
        read_onnx(saved)


@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_nothing_makes_is_told() -> None:
    with pytest.raises(InputFileError, match="nothing makes tensor 'ghost'"):
        read_onnx(model(node("Add", "x ghost"), {"x": (1, 4)}))
