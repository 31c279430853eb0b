"""The C runtime gives the bits of the integer reference: any network, hardware, mapping and regime, every operation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from any_programs import REGIMES
from bits import assert_same_bits
from c_runtime import run_in_c
from chip_programs import random_chip_network
from examples import RELAXED, examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from index_networks import random_embeddings
from operation_cases import CASES, cases_inputs, cases_network
from quotient_networks import random_quotients
from random_decoders import NORMS, random_decoder
from random_networks import choosers, random_inputs
from small_programs import grid

import mho
from mho.arithmetic.operations import OPERATIONS
from mho.deploy.digital import LOWERED, lower_digital
from mho.errors import DataError, UnsupportedOperationError
from mho.network.graph import LayerQuantization, Node, TensorInfo
from mho.network.integer_lowering import lower_to_integers
from mho.network.reference import run_quantized
from mho.program.instructions import Digital
from mho.program.lowering import compile_network
from mho.quantization.digital_grids import assign_digital_grids
from mho.quantization.qat import TrainableNetwork

SHARE_IN_C = 0.08
"""Each program is compiled: 480 are drawn by `make test-slow`, a twelfth of them by `make test`."""

DIGITAL = [case for case in CASES if case.op in LOWERED]


@pytest.mark.parametrize("regime", REGIMES)
@settings(max_examples=examples(40, share=SHARE_IN_C), **RELAXED)
@given(st.data())
def test_a_program_of_any_regime_runs_in_c_as_the_reference_does(regime, data):
    network, program = data.draw(REGIMES[regime])
    inputs = random_inputs(network, 2)
    assert_same_bits(run_in_c(program, inputs), run_quantized(network, inputs))


@settings(max_examples=examples(60, share=SHARE_IN_C), **RELAXED)
@given(choosers())
def test_an_integer_only_digital_unit_gives_the_same_integers(chooser):
    network = random_chip_network(chooser)
    inputs = random_inputs(network, 3, seed=chooser.integer(0, 99))
    network = assign_digital_grids(network, inputs, bits=chooser.choice((8, 12, 16)))
    program = compile_network(network, make_accelerator(8, 8, 2, 2, digital={"arithmetic": "integer"}))
    expected = run_quantized(lower_to_integers(network).network, inputs)
    assert_same_bits(run_in_c(program, inputs), expected)


@settings(max_examples=examples(60, share=SHARE_IN_C), **RELAXED)
@given(choosers())
def test_rows_of_integers_are_those_of_training_and_the_same_in_every_engine(chooser):
    network, inputs = random_embeddings(chooser)
    program = compile_network(network, make_accelerator(8, 8, 2, 2, digital={"arithmetic": "integer"}))
    lowered = lower_to_integers(network).network
    assert [node.op for node in lowered.nodes].count("int_embed") == 2
    expected = run_quantized(lowered, inputs)
    for engine in ("executor", "interpreter"):
        assert_same_bits(mho.simulate(program, inputs, engine=engine), expected)
    assert_same_bits(run_in_c(program, inputs), expected)
    with torch.no_grad():
        trained = TrainableNetwork(network).eval()(*(torch.from_numpy(one) for one in inputs.values()))
    for tensor, rows in list(zip(network.outputs, trained, strict=True))[:2]:  # a layer's sums are rounded otherwise
        np.testing.assert_array_equal(rows.numpy(), expected[tensor.name])


@settings(max_examples=examples(60, share=SHARE_IN_C), **RELAXED)
@given(choosers())
def test_divisions_of_integers_are_the_same_in_every_engine(chooser):
    try:
        network, inputs = random_quotients(chooser)
    except DataError:  # a division by 0 in float32
        assume(False)
    program = compile_network(network, make_accelerator(8, 8, 2, 2, digital={"arithmetic": "integer"}))
    lowered = lower_to_integers(network).network
    assert "int_div" in [node.op for node in lowered.nodes]
    expected = run_quantized(lowered, inputs)
    for engine in ("executor", "interpreter"):
        assert_same_bits(mho.simulate(program, inputs, engine=engine), expected)
    assert_same_bits(run_in_c(program, inputs), expected)


@settings(max_examples=examples(100, share=SHARE_IN_C), **RELAXED)
@given(choosers())
def test_blocks_of_decoders_are_the_same_integers_in_every_engine(chooser):
    network, inputs = random_decoder(chooser)
    program = compile_network(network, make_accelerator(8, 8, 2, 2, digital={"arithmetic": "integer"}))
    lowered = lower_to_integers(network).network
    assert [node.op for node in lowered.nodes].count("int_rms_norm") == NORMS
    expected = run_quantized(lowered, inputs)
    for engine in ("executor", "interpreter"):
        assert_same_bits(mho.simulate(program, inputs, engine=engine), expected)
    assert_same_bits(run_in_c(program, inputs), expected)


def test_every_digital_operation_gives_the_bits_of_the_reference():
    network = cases_network(DIGITAL)
    layer = Node(
        "layer", "linear", ("z", "w"), "product", {}, LayerQuantization(grid(4, signed=True), grid(4, signed=True))
    )
    network = replace(
        network,
        inputs=(*network.inputs, TensorInfo("z", (1, 3))),
        outputs=(*network.outputs, TensorInfo("product", (1, 2))),
        nodes=(*network.nodes, layer),
        constants={**network.constants, "w": np.array([[1, -7, 3], [0, 2, 5]], np.int8)},
        shapes={**network.shapes, "z": (1, 3), "product": (1, 2)},
    )
    inputs = {**cases_inputs(DIGITAL, 3), "z": np.float32([[[0.3, -0.2, 0.9]]] * 3)}
    for name in inputs:  # zeros of both signs, and what functions send to their limits
        flat = inputs[name].reshape(3, -1)
        flat[:, :: max(1, flat.shape[1] // 5)] *= np.float32(0)
        flat[2] *= np.float32(40) if "exp" not in name else np.float32(1)
    program = compile_network(network, make_accelerator(8, 8, 2, 2))
    assert_same_bits(run_in_c(program, inputs), run_quantized(network, inputs))


def test_each_operation_has_a_form_in_c_and_others_are_refused_by_name():
    assert {name for name, record in OPERATIONS.items() if not record.is_mvm} <= set(LOWERED)
    with pytest.raises(UnsupportedOperationError, match="mirror"):
        lower_digital(Digital("mirror", ("x",), "y"), None)


@settings(max_examples=examples(80, share=SHARE_IN_C), **RELAXED)
@given(st.data())
def test_orders_of_equal_numbers_are_those_of_the_reference(data):
    case = data.draw(st.sampled_from([case for case in CASES if case.op in ("arg_max", "top_k", "top_k_indices")]))
    network = cases_network([case])
    (name,) = (tensor.name for tensor in network.inputs)
    numbers = st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0])
    size = int(np.prod(network.inputs[0].shape))
    values = np.float32(data.draw(st.lists(numbers, min_size=size, max_size=size)))
    inputs = {name: values.reshape(1, *network.inputs[0].shape)}
    program = compile_network(network, make_accelerator(8, 8, 2, 2))
    assert_same_bits(run_in_c(program, inputs), run_quantized(network, inputs))
