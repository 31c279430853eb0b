"""What a program's conversions take follows from its instructions alone, which do not name encodings."""

import pytest
from accelerators import make_accelerator
from small_programs import conv_network, matmul_network

from mho.hardware.spec import Encoding
from mho.mapping.adc_resolution import conversion_latency_ps
from mho.mapping.best_mapping import MappingChoice
from mho.mapping.layer_mapping import Range
from mho.mapping.layer_search import Piece
from mho.network.layers import derive_layer_table
from mho.policy import BitWidths
from mho.program.instruction_costs import price_layer
from mho.program.lowering import compile_network


@pytest.mark.parametrize("active_rows", [1, 17])  # half of an odd number, rounded up, and a sign take a bit more
@pytest.mark.parametrize("difference", ["digital", "analog"])
@pytest.mark.parametrize("network", [conv_network(), matmul_network()], ids=["conv", "matmul"])
def test_conversions_of_an_ideal_adc_take_what_they_do_in_the_layers_encoding(network, difference, active_rows):
    converters = {"column_difference": difference, "adc_latency_us_per_bit": 0.01}
    hardware = make_accelerator(24, 24, 4, crossbar={"active_rows": active_rows}, converters=converters)
    (layer,), (node,) = derive_layer_table(network), network.mvm_nodes
    bits = BitWidths(node.quantization.weight.bits, node.quantization.input.bits)
    whole = Piece(Range(0, layer.repeat), Range(0, layer.outputs), Range(0, layer.inputs), 0, 1)
    found = {}
    for encoding in Encoding:
        mapping = MappingChoice(layer, bits.weight_bits, hardware, 1).build(bits, encoding, (whole,))
        program = compile_network(network, hardware, mappings={layer.name: mapping})
        found[encoding] = price_layer(program, program.layers[0]).conversion_ps
    assert found == {encoding: conversion_latency_ps(hardware, encoding) for encoding in Encoding}
    assert found[Encoding.DIFFERENTIAL_ROWS] == found[Encoding.OFFSET] + 10_000
