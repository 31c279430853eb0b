"""What is read from ONNX: names, biases, shapes; and what cannot be read is reported all at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from network_checks import verify_network
from onnx import TensorProto, helper
from onnx_models import model, node

from mho.errors import InputFileError, MemoryBudgetError, MhoError, UnsupportedOperationError
from mho.network.graph import Network
from mho.network.loading import load_network
from mho.network.naming import plain_node_name
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float

W = np.arange(12, dtype=np.float32).reshape(3, 4) / 10
KERNEL = np.ones((2, 3, 1, 1), np.float32)


def read(*arguments: object, input_shapes: object = None, **options: object) -> Network:
    network = read_onnx(model(*arguments, **options), input_shapes)
    verify_network(network)
    return network


# -- names ------------------------------------------------------------------------------------------------------------


EYE = np.eye(4, dtype=np.float32)
NAMES = {
    "the module path in the weight's name": (
        [node("Gemm", "x block.0.fc.weight", "h", "node_17"), node("Gemm", "h head.w", "y", "node_18")],
        {"block.0.fc.weight": EYE, "head.w": W.T},
        ["block.0.fc", "node_18"],
    ),
    "a second layer with the same weight": (
        [node("MatMul", "x shared.weight", "h"), node("Relu", "h", "r"), node("MatMul", "r shared.weight")],
        {"shared.weight": EYE},
        ["shared", "shared.weight"],
    ),
    "names that the file repeats": (
        [node("MatMul", "x a", "h", "same"), node("Relu", "h", "r", "same"), node("MatMul", "r b", "y", "same")],
        {"a": EYE, "b": W.T},
        ["same", "same_3"],
    ),
    "the weight's name": ([node("MatMul", "x kernel")], {"kernel": W.T}, ["kernel"]),
    "a digital node that has the layer's": (
        [node("Relu", "x", "r", "fc"), node("MatMul", "r fc.weight")], {"fc.weight": W.T}, ["fc"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_nodes_are_called_after(name: str) -> None:
    nodes, constants, expected = NAMES[name]
    network = read(nodes, {"x": (1, 4)}, constants)
    assert list(network.layer_names) == expected
    assert len({made.name for made in network.nodes}) == len(nodes)


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


# -- biases and other rewrites ----------------------------------------------------------------------------------------


BIASES = {
    "a product": ([node("MatMul", "x w", "m"), node("Add", "b m")], (1, 5, 4), W.T, (3,), ["linear"]),
    "a convolution": ([node("Conv", "x w", "m"), node("Add", "m b")], (1, 3, 5, 5), KERNEL, (1, 2, 1, 1), ["conv"]),
    "lower rank": ([node("Conv", "x w", "m"), node("Add", "m b")], (1, 3, 5, 5), KERNEL, (2, 1, 1), ["conv"]),
    "another axis": ([node("Conv", "x w", "m"), node("Add", "m b")], (1, 3, 5, 2), KERNEL, (2,), ["conv", "add"]),
    "a product that is read twice": (
        [node("MatMul", "x w", "m"), node("Add", "m b", "a"), node("Mul", "a m")],
        (1, 4), W.T, (3,), ["linear", "add", "mul"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BIASES)
def test_a_constant_added_along_the_outputs_alone_becomes_the_bias(case: str) -> None:
    nodes, shape, weight, bias, expected = BIASES[case]
    values = np.arange(1, 1 + np.prod(bias), dtype=np.float32)
    network = read(nodes, {"x": shape}, {"w": weight, "b": values.reshape(bias)})
    assert [n.op for n in network.nodes] == expected
    if len(expected) == 1:
        assert network.constants[network.nodes[0].inputs[2]].tolist() == values.tolist()


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
    with pytest.raises(InputFileError, match=r"shape \[5, 2, 3\]"):
        read_onnx(proto, (5, 2, 3))


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
        node("Det", "x", "e", "first"),
        node("Relu", "e", "r"),
        node("NonZero", "r", "z", "second"),
        node("Conv", "x w", "c", "third"),
        node("GridSample", "c c", "y"),
    ]
    with pytest.raises(UnsupportedOperationError) as caught:
        read(nodes, {"x": (1, 4)}, {"w": KERNEL})
    text = str(caught.value)
    for part in ("Det (first)", "NonZero (second)", "Conv (third)", "GridSample (y)"):
        assert part in text
    assert "Relu" not in text


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (node("Pad", "x p", mode="mirror"), "mirror"),
        (node("Resize", "x  s", mode="lanczos"), "lanczos"),
        (node("Resize", "x  s", mode="nearest", coordinate_transformation_mode="corners"), "corners"),
        (node("MaxPool", "x", "y i", kernel_shape=[1, 1]), "second output"),
        (node("MatMul", "x stack"), "stack of matrices: 130 layers"),
        (node("Resize", "x  s", coordinate_transformation_mode="tf_crop_and_resize"), "crop"),
        (node("Resize", "x   n", keep_aspect_ratio_policy="fill"), "'fill'"),
        (node("Cast", "x", to=TensorProto.STRING), "STRING"),
        (node("BatchNormalization", "x v v v v", training_mode=1), "training"),
        (node("Add", "x ints"), "float32 and of int64"),
    ],
)
def test_forms_of_operations_that_are_not_there_are_refused(made: onnx.NodeProto, reason: str) -> None:
    constants = {
        "p": np.zeros(8, np.int64),
        "s": np.float32([1, 1, 2, 2]),
        "n": np.array([1, 2, 4, 4]),
        "stack": np.ones((65, 1, 2, 3), np.float32),
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


@pytest.mark.parametrize("opset", [10, 25])
def test_opsets_beyond_the_known_ones_are_refused(opset: int) -> None:
    with pytest.raises(UnsupportedOperationError, match=f"opset {opset}"):
        read(node("Relu", "x"), {"x": (1, 2)}, opset=opset)


def test_an_input_of_another_kind_hides_no_other_problem() -> None:
    nodes = [node("Identity", "x", "a"), node("Det", "a", "d"), node("Det", "d", "y", "second")]
    with pytest.raises(UnsupportedOperationError, match=r"'x': holds STRING(.|\n)*Det \(second\)"):
        read(nodes, {"x": (1, 2)}, input_type=TensorProto.STRING)


def test_real_operations_refuse_integers() -> None:
    with pytest.raises(UnsupportedOperationError, match=r"Exp \(y\): computes with int64"):
        read(node("Exp", "x"), {"x": (1, 2)}, input_type=TensorProto.INT64)


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


def test_a_file_that_is_missing_a_folder_or_cut_short_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        read_onnx(tmp_path / "nothing.onnx")
    with pytest.raises(InputFileError, match="is a folder"):
        read_onnx(tmp_path)
    content = saved.read_bytes()
    for length in (len(content) // 2, len(content) - 1, 100, 0):
        saved.write_bytes(content[:length])
        with pytest.raises(InputFileError, match=r"not an ONNX model|holds no network|malformed"):
            read_onnx(saved)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "readme.onnx"
    path.write_text("# not a network\n" * 50)
    with pytest.raises(InputFileError, match="not an ONNX model"):
        read_onnx(path)


@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_nothing_makes_is_refused() -> None:
    with pytest.raises(InputFileError, match="nothing makes tensor 'ghost'"):
        read_onnx(model(node("Add", "x ghost"), {"x": (1, 4)}))


@pytest.mark.parametrize(
    ("made", "shapes"),
    [
        (node("MatMul", "a b", "m"), {"a": (1 << 11, 1 << 11), "b": (1 << 11, 1 << 11)}),
        (node("Conv", "a b", "m", pads=[600] * 4), {"a": (1, 1, 500, 500), "b": (1, 1, 500, 500)}),
        (node("MaxPool", "a", "m", kernel_shape=[500, 500], pads=[400] * 4), {"a": (1, 1, 500, 500)}),
        (node("Einsum", "a b b b", "m", equation="a,b,c,d->abcd"), {"a": (1 << 12,), "b": (1 << 12,)}),
    ],
)
def test_constants_that_would_take_minutes_are_refused_at_once(made: onnx.NodeProto, shapes: dict) -> None:
    held = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    nodes = [made, node("ReduceMax", "m", "s", keepdims=0), node("Add", "x s")]
    with pytest.raises((UnsupportedOperationError, MemoryBudgetError)):
        read(nodes, {"x": (1, 2)}, held)
