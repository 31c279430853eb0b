import numpy as np
import pytest
from accelerators import make_accelerator
from small_programs import compile_small, conv_network, matmul_network

from mho.errors import ProgramError
from mho.program.codec import decode_instructions, encode_instructions
from mho.program.geometry import ConvGeometry
from mho.program.instructions import Affine, Digital, Mvm


def test_an_address_is_its_base_and_strides_times_the_variables():
    address = Affine(5, (("y", 10), ("x", -2)))
    assert address.at({"y": 3, "x": 4, "z": 9}) == 27
    assert address.bounds({"y": 4, "x": 5}) == (-3, 35)
    assert Affine(7).bounds({}) == (7, 7)


@pytest.mark.parametrize("network", [conv_network(zero_point=1), matmul_network()])
def test_instructions_survive_json(network):
    instructions = compile_small(network, make_accelerator(encoding="offset")).instructions
    assert decode_instructions(encode_instructions(instructions), "p") == instructions


def test_attributes_keep_their_types():
    item = Digital("x", ("a",), "b", {"i": 1, "f": 1.0, "b": True, "s": "t", "is": (1, 2), "fs": (1.0, 2.5), "n": ()})
    (decoded,) = decode_instructions(encode_instructions((item,)), "p")
    assert {key: (type(value), value) for key, value in decoded.attributes.items()} == {
        key: (type(value), value) for key, value in item.attributes.items()
    }


@pytest.mark.parametrize(
    "value",
    [
        "text",
        [1],
        [{"kind": "Mvm"}],
        [{"kind": "Mvm", "crossbar": 1.0}],
        [{"kind": "Mvm", "crossbar": 0, "more": 1}],
        [{"kind": ["Mvm"]}],
        [{"kind": "ConvGeometry"}],
        [{"kind": "Loop", "variable": "x", "count": 2, "body": [{"kind": "?"}]}],
        [{"kind": "Digital", "op": "x", "inputs": [1], "output": "b", "attributes": {}}],
        [{"kind": "Digital", "op": "x", "inputs": [], "output": "b", "attributes": {"a": [None]}}],
        [{"kind": "Digital", "op": "x", "inputs": [], "output": "b", "attributes": []}],
    ],
)
def test_json_that_is_no_instruction_is_refused_with_its_place(value):
    with pytest.raises(ProgramError, match="p"):
        decode_instructions(value, "p")
    assert decode_instructions([{"kind": "Mvm", "crossbar": 0}], "p") == (Mvm(0),)


def test_row_offsets_of_a_convolution_are_those_of_its_windows():
    geometry = ConvGeometry(2, 4, 5, 6, 6, (2, 3), (2, 1), (1, 0, 2, 1), (3, 2), 2)
    padded = np.arange(geometry.codes_size).reshape(2, 4, *geometry.padded)
    out_height, out_width = geometry.out_size
    strides, (rows, columns) = geometry.code_strides, geometry.pixel_steps
    for position in ((0, 0, 0), (1, out_height - 1, out_width - 1)):
        start = position[0] * strides.image + position[1] * rows * strides.row + position[2] * columns * strides.column
        start += strides.group
        top, left = position[1] * 2, position[2] * 1
        window = padded[position[0], 2:4, top : top + 4 : 3, left : left + 5 : 2]
        np.testing.assert_array_equal(padded.reshape(-1)[start + geometry.row_offsets()], window.reshape(-1))
