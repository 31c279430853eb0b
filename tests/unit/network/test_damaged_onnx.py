"""ONNX files as a stranger or a broken disk would hand them in: one error, within time and memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model, node

from mho.errors import InputFileError, MemoryBudgetError, MhoError, UnsupportedOperationError
from mho.network.onnx_reader import read_onnx
from mho.network.reference import run_float

X = {"x": (1, 4)}
MAP = {"x": (1, 1, 6, 6)}


@pytest.fixture
def budget(monkeypatch) -> Callable[[int], None]:
    """Set the memory budget, bytes."""
    return lambda size: monkeypatch.setenv("MHO_MEMORY_GIB", str(size / (1 << 30)))


# -- files beside the model -------------------------------------------------------------------------------------------


def external(folder: Path, location: str = "data.bin", **entries: int) -> Path:
    """Write a model whose only weight, 16 numbers, lies in another file; entries replace those of the tensor."""
    weight = TensorProto(name="w", dims=[4, 4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": 0, "length": 64, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    (folder / "data.bin").write_bytes(np.arange(32, dtype=np.float32).tobytes())
    path = folder / "model.onnx"
    path.write_bytes(model(node("MatMul", "x w"), X, {"w": weight}).SerializeToString())
    return path


def test_exactly_the_external_data_that_are_declared_are_read(tmp_path):
    network = read_onnx(external(tmp_path, offset=16))
    (tmp_path / "data.bin").write_bytes(bytes(128))  # what was read stays as it was
    assert network.constants["w"].min() == 4
    with pytest.raises(InputFileError, match="another file"):
        read_onnx(onnx.load(tmp_path / "model.onnx", load_external_data=False))


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"length": 128}, ""),
        ({"length": 63}, ""),
        ({"length": 0}, ""),
        ({"length": -64}, ""),
        ({"offset": -16}, ""),
        ({"offset": 65}, "end at byte 128"),
        ({"offset": 1 << 63}, ""),
        ({"offset": 10**40}, ""),
        ({"location": "a\0b"}, ""),
        ({"location": "/etc/passwd"}, ""),
        ({"location": "../data.bin"}, "outside the model's folder"),
        ({"location": "nothing.bin"}, "no such file"),
        ({"location": "."}, ""),
        ({"location": "x" * 5000}, ""),
        ({"location": "circle"}, ""),
        ({"location": "pipe"}, ""),
        ({"location": "zeros"}, ""),
    ],
)
def test_external_data_of_another_length_or_place_are_refused(tmp_path, entries, reason):
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputFileError, match=rf"model\.onnx(.|\n)*{reason}|{reason}(.|\n)*model\.onnx"):
        read_onnx(external(tmp_path, **entries))


def test_external_data_in_a_functions_body_are_read_from_the_models_folder(tmp_path, monkeypatch):
    weight = onnx.load(external(tmp_path), load_external_data=False).graph.initializer[0]
    body = [helper.make_node("Constant", [], ["w"], value=weight), node("MatMul", "a w", "b")]
    proto = with_functions(node("F", "x", domain="local"), F=("a", "b", body))
    (tmp_path / "f.onnx").write_bytes(proto.SerializeToString())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data.bin").write_bytes(bytes(64))
    monkeypatch.chdir(elsewhere)
    assert next(iter(read_onnx(tmp_path / "f.onnx").constants.values())).max() == 15


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_what_is_no_regular_file_is_never_opened(tmp_path, make):
    make(tmp_path / "model.onnx")
    with pytest.raises(InputFileError, match=r"not a regular file|is a folder"):
        read_onnx(tmp_path / "model.onnx")


def test_two_bytes_that_parsing_makes_thousands_of_are_refused_before_it(tmp_path, budget, monkeypatch):
    proto = model(node("Relu", "x"), X)
    proto.graph.node.extend(onnx.NodeProto() for _ in range(1000))
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    budget(1 << 24)
    monkeypatch.setattr(onnx, "load_model_from_string", None)
    with pytest.raises(MemoryBudgetError, match="what the file describes"):
        read_onnx(tmp_path / "model.onnx")


# -- functions --------------------------------------------------------------------------------------------------------


def with_functions(call: onnx.NodeProto, **functions: tuple[str, str, list[onnx.NodeProto]]) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)]
    made = [helper.make_function("local", name, [a], [b], body, opsets) for name, (a, b, body) in functions.items()]
    return helper.make_model(model(call, X).graph, opset_imports=opsets, functions=made, ir_version=10)


def doubling(depth: int) -> onnx.ModelProto:
    """Functions each of which calls the next one twice."""
    bodies = {}
    for level in range(depth):
        called = f"F{level + 1}" if level + 1 < depth else "Relu"
        domain = "local" if level + 1 < depth else ""
        bodies[f"F{level}"] = ("a", "b", [node(called, "a", "c", domain=domain), node(called, "c", "b", domain=domain)])
    return with_functions(node("F0", "x", domain="local"), **bodies)


def test_functions_are_counted_before_they_are_inlined():
    assert len(read_onnx(doubling(3)).nodes) == 8
    with pytest.raises(MemoryBudgetError, match="inlining functions to"):
        read_onnx(doubling(300))
    with pytest.raises(InputFileError, match="repeat the name '' 65534 times"):
        read_onnx(doubling(15))


def test_a_function_that_calls_itself_is_named():
    bodies = {
        "A": ("a", "b", [node("B", "a", "b", domain="local")]),
        "B": ("a", "b", [node("A", "a", "b", domain="local")]),
    }
    with pytest.raises(InputFileError, match=r"a function calls itself: (A -> B -> A|B -> A -> B)"):
        read_onnx(with_functions(node("A", "x", domain="local"), **bodies))


def test_a_function_that_is_called_wrongly_is_one_error():
    proto = with_functions(node("A", "x x x", domain="local"), A=("a", "b", [node("Relu", "a", "b")]))
    with pytest.raises(InputFileError, match="malformed functions"):
        read_onnx(proto)


# -- constants --------------------------------------------------------------------------------------------------------


def chain(*nodes: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [*nodes, node("ReduceMax", "big", "small", keepdims=0), node("Mul", "x small")]


@pytest.mark.parametrize(
    "made",
    [
        node("ConstantOfShape", "shape", "big"),
        node("Expand", "one shape", "big"),
        node("Tile", "row times", "big"),
        node("Range", "zero million one", "big"),
        node("Pad", "row pads", "big"),
        node("Gather", "row many", "big"),
        node("Add", "row column", "big"),
        node("Where", "yes row column", "big"),
        node("Concat", " ".join(["row"] * 1000), "big", axis=0),
        node("ConstantOfShape", "past", "big"),
        node("Tile", "row past", "big"),
    ],
)
def test_a_constant_that_would_not_fit_is_refused_before_it_is_made(made, budget, monkeypatch):
    constants = {
        "shape": np.array([1000, 1000]),
        "past": np.array([1 << 62]),
        "one": np.float32(1),
        "zero": np.float32(0),
        "million": np.float32(1e6),
        "row": np.zeros(1000, np.float32),
        "column": np.zeros((1000, 1), np.float32),
        "times": np.array([1000]),
        "pads": np.array([0, 1_000_000]),
        "many": np.zeros((1000, 1000), np.int8).astype(np.int64)[:100],
        "yes": np.array([True]),
    }
    budget(1 << 20)
    monkeypatch.setattr("mho.network.onnx_folding._evaluate", None)
    with pytest.raises(MemoryBudgetError, match=f"{made.op_type}"):
        read_onnx(model(chain(made), X, constants))


def test_constants_that_fit_one_by_one_are_counted_together(budget):
    made = [node("ConstantOfShape", "shape", f"c{i}") for i in range(6)]
    proto = model([*made, node("Add", "x c0")], X, {"shape": np.array([300, 100])})
    budget(1 << 20)
    assert read_onnx(model([made[0], *chain(node("Neg", "c0", "big"))], X, {"shape": np.array([300, 100])}))
    with pytest.raises(MemoryBudgetError, match="with what is held before it"):
        read_onnx(proto)


def test_views_of_one_constant_are_counted_once(budget):
    views = [node("Transpose", "w", f"t{i}", perm=[1, 0]) for i in range(9)]
    products = [node("MatMul", f"{'x' if i == 0 else f'y{i - 1}'} t{i}", "y" if i == 8 else f"y{i}") for i in range(9)]
    budget(1 << 20)
    proto = model([*views, *products], {"x": (1, 300)}, {"w": np.eye(300, dtype=np.float32)})
    with pytest.raises(MemoryBudgetError, match="tensors of one sample"):  # what the network holds is made of copies
        read_onnx(proto)
    budget(1 << 22)
    assert len(read_onnx(proto).constants) == 9


def test_constants_that_are_computed_over_and_over_are_refused(budget):
    made = [node("ReduceSum", "c", f"s{i}", keepdims=0) for i in range(200)]
    proto = model([node("ConstantOfShape", "n", "c"), *made, node("Mul", "x s0")], X, {"n": np.array([30_000])})
    budget(1 << 20)
    with pytest.raises(MemoryBudgetError, match="too often"):
        read_onnx(proto)


def test_what_is_computed_number_by_number_stays_small():
    made = [node("ConstantOfShape", "n", "c"), *chain(node("Erf", "c", "big"))]
    with pytest.raises(UnsupportedOperationError, match="each by itself"):
        read_onnx(model(made, X, {"n": np.array([2_000_000])}))


def tensor(dims: list[int], data_type: int = TensorProto.FLOAT, **fields: object) -> TensorProto:
    return TensorProto(name="c", dims=dims, data_type=data_type, **fields)


@pytest.mark.parametrize(
    "constant",
    [
        tensor([4]),  # no numbers at all: not zeros
        tensor([1 << 40]),
        tensor([1 << 40], raw_data=bytes(16)),
        tensor([0, (1 << 63) - 1], raw_data=b""),
        tensor([-2, -2], raw_data=bytes(16)),
        tensor([-1], raw_data=bytes(16)),
        tensor([4], raw_data=bytes(15)),
        tensor([4], TensorProto.STRING, string_data=[b"a"] * 4),
        tensor([4], TensorProto.COMPLEX64, raw_data=bytes(32)),
        tensor([4], TensorProto.UNDEFINED, raw_data=bytes(16)),
        tensor([4], 99, raw_data=bytes(16)),
        tensor([1] * 65, raw_data=bytes(4)),
    ],
)
def test_a_tensor_that_does_not_hold_its_numbers_is_refused(constant):
    for made in (node("Add", "x c"), helper.make_node("Constant", [], ["c"], value=constant)):
        nodes, constants = ([made], {"c": constant}) if made.op_type == "Add" else ([made, node("Add", "x c")], {})
        with pytest.raises(MhoError):
            read_onnx(model(nodes, X, constants))


def test_a_truth_value_is_one_whatever_its_byte_holds():
    mask = TensorProto(name="m", dims=[4], data_type=TensorProto.BOOL, raw_data=bytes([0, 1, 2, 255]))
    ones = {"m": mask, "a": np.ones(4, np.float32), "b": np.zeros(4, np.float32)}
    network = read_onnx(model([node("Where", "m a b", "c"), node("Mul", "x c")], X, ones))
    assert run_float(network, np.ones((1, 4)))["y"].tolist() == [[0, 1, 1, 1]]


# -- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 1 << 40, 8), (1, 0), (1, -4), (1,) * 60, (1 << 62, 1 << 62)])
def test_inputs_that_are_empty_or_larger_than_the_budget_are_refused(shape):
    proto = model(node("Relu", "x"), {"x": shape})
    with pytest.raises((InputFileError, MemoryBudgetError), match="input 'x'"):
        read_onnx(proto)
    symbolic = model(node("Relu", "x"), {"x": [f"s{i}" for i in range(len(shape))]})
    with pytest.raises((InputFileError, MemoryBudgetError), match="input 'x'"):
        read_onnx(symbolic, shape)


@pytest.mark.parametrize(
    ("made", "constants"),
    [
        (node("Expand", "x s"), {"s": np.array([1000, 1000, 4])}),
        (node("Tile", "x s"), {"s": np.array([1000, 1000])}),
        (node("Pad", "x s"), {"s": np.array([1000, 1000, 1000, 1000])}),
        (node("Gather", "x s", axis=0), {"s": np.zeros(1_000_000, np.int64)}),
        (node("Add", "x s"), {"s": np.zeros((60_000, 4), np.float32)}),
    ],
)
def test_a_tensor_of_one_sample_above_the_budget_is_refused(made, constants, budget):
    budget(10 << 20)
    with pytest.raises(MemoryBudgetError):
        read_onnx(model([made, node("Concat", "y " * 40 + "y", "z", axis=0)], X, constants, outputs=["z"]))


def test_what_is_needed_at_the_same_time_is_counted_and_what_is_done_is_not(budget):
    line = [node("Neg", "x" if i == 0 else f"y{i - 1}", f"y{i}") for i in range(20)]
    budget(1 << 20)
    large = {"x": (1, 100_000)}
    assert len(read_onnx(model(line, large, outputs=["y19"])).nodes) == 20
    with pytest.raises(MemoryBudgetError, match="tensors of one sample at"):
        read_onnx(model([*line, node("Add", "y19 x", "z")], large, outputs=["z"]))
    with pytest.raises(MemoryBudgetError, match="tensors of one sample at"):
        read_onnx(model(line, large, outputs=["y19", "y18", "y17"]))


def test_a_padded_operand_and_all_taps_of_an_average_are_counted(budget):
    budget(1 << 20)
    weight = {"w": np.ones((1, 1, 1, 1), np.float32)}
    with pytest.raises(MemoryBudgetError, match=r"\[1, 1, 2006, 2006\]"):
        read_onnx(model(node("Conv", "x w", pads=[1000] * 4, strides=[2000, 2000]), MAP, weight))
    with pytest.raises(MemoryBudgetError, match=r"\[1, 1, 101, 101, 50, 50\]"):
        read_onnx(model(node("AveragePool", "x", kernel_shape=[50, 50]), {"x": (1, 1, 150, 150)}))


# -- many nodes -------------------------------------------------------------------------------------------------------


def test_grids_are_found_behind_thousands_of_movements_and_twice_joined_tensors():
    turns = [node("Transpose", f"t{i}", f"t{i + 1}", perm=[1, 0]) for i in range(2000)]
    joins = [
        made
        for i in range(60)
        for made in (node("Concat", f"j{i} j{i}", f"k{i}", axis=0), node("Slice", f"k{i} a b", f"j{i + 1}"))
    ]
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "t0"),
        *turns,
        node("Identity", "t2000", "j0"),
        *joins,
        node("MatMul", "j60 wd"),
    ]
    weights = [node("DequantizeLinear", "w s z", "wd")]
    constants = {"s": np.float32(1), "z": np.int8(0), "w": np.eye(4, dtype=np.int8)}
    constants |= {"a": np.array([0]), "b": np.array([4])}
    network = read_onnx(model([*weights, *nodes], {"x": (4, 4)}, constants))
    assert network.nodes[-1].quantization is not None
    assert "fake_quantize" in {one.op for one in network.nodes}  # a joined tensor keeps its quantizer


def test_a_name_that_thousands_of_nodes_have_stays_quick_and_unique():
    nodes = [node("Neg", "x" if i == 0 else f"y{i - 1}", f"y{i}", "same") for i in range(3000)]
    network = read_onnx(model(nodes, X, outputs=["y2999"]))
    assert [one.name for one in network.nodes[:3]] == ["same", "same_2", "same_3"]
    assert len({one.name for one in network.nodes}) == 3000


def test_problems_are_listed_up_to_a_number():
    nodes = [node("NonZero", "x", f"n{i}") for i in range(3000)]
    with pytest.raises(UnsupportedOperationError, match="and perhaps more") as caught:
        read_onnx(model([*nodes, node("Relu", "x")], X))
    assert str(caught.value).count("NonZero") == 100


def test_a_list_of_scopes_of_megabytes_is_not_parsed():
    proto = model(node("MatMul", "x w", "y", "n"), X, {"w": np.eye(4, dtype=np.float32)})
    helper.set_model_props(proto.graph.node[0], {"pkg.torch.onnx.name_scopes": f"[{'1,' * 10_000}'a','b']"})
    assert read_onnx(proto).layer_names == ("n",)


def test_numbers_of_a_sequence_of_parts_are_bounded():
    nodes = [node("SplitToSequence", "x one", "s"), node("SequenceAt", "s zero")]
    constants = {"one": np.array(1), "zero": np.array(0)}
    with pytest.raises(UnsupportedOperationError, match="parts"):
        read_onnx(model(nodes, {"x": (100_000, 4)}, constants))


def test_tensors_of_all_widths_are_quantized_by_reading_as_by_numpy():
    generator = np.random.default_rng(0)
    weight = generator.normal(0, 40, (3, 4)).astype(np.float32)
    scales, zeros = np.float32([0.5, 1, 2]), np.int8([0, 3, -3])
    nodes = [
        node("QuantizeLinear", "w s z", "q", axis=0),
        node("DequantizeLinear", "q s z", "d", axis=0),
        node("Gemm", "x d", transB=1),
    ]
    network = read_onnx(model(nodes, X, {"w": weight, "s": scales, "z": zeros}))
    integers = np.clip(np.rint(weight / scales[:, None]) + zeros[:, None], -128, 127)
    np.testing.assert_array_equal(
        network.constants[network.nodes[0].inputs[1]], (integers - zeros[:, None]).astype(np.float32) * scales[:, None]
    )
    assert numpy_helper.to_array(numpy_helper.from_array(weight)).dtype == np.float32
