"""Mappings of a whole layer in one piece, as a test asks for them, and programs made of them."""

from __future__ import annotations

from dataclasses import replace

from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.best_mapping import MappingChoice
from mho.mapping.layer_mapping import LayerMapping, Range
from mho.mapping.layer_search import Piece
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer
from mho.policy import BitWidths
from mho.program.lowering import compile_network
from mho.program.program import Program

SINGLE = "1x1 positions"


def choose_as(
    layer: MvmLayer,
    bits: BitWidths,
    hardware: Accelerator,
    encoding: Encoding,
    *,
    window: str = SINGLE,
    slices: int = 1,
    per_tile: int = 1,
) -> LayerMapping:
    """Return the mapping with this window (the text of the first of its pattern) and so many slices side by side."""
    choice = MappingChoice(layer, bits.weight_bits, hardware, 1)
    candidates = choice.candidates(encoding)
    windows = [str(candidates.table.patterns[shape][0]) for shape in candidates.shape]
    found = list(zip(windows, candidates.slices_at_once.tolist(), strict=True))
    if (window, slices) not in found:
        raise ValueError(f"{window}, {slices} slices is none of {found}")
    number = found.index((window, slices))
    whole = Piece(Range(0, layer.repeat), Range(0, layer.outputs), Range(0, layer.inputs), number, per_tile)
    return choice.build(bits, encoding, [whole])


def compile_as(
    network: Network,
    hardware: Accelerator,
    encoding: Encoding,
    *,
    window: str = SINGLE,
    slices: int = 1,
    per_tile: int = 1,
) -> Program:
    """Compile a network of one MVM layer with the mapping that `choose_as` finds."""
    (node,) = network.mvm_nodes
    assert node.quantization is not None
    bits, layer = BitWidths(node.quantization.weight.bits, node.quantization.input.bits), derive_layer(network, node)
    mapping = choose_as(layer, bits, hardware, encoding, window=window, slices=slices, per_tile=per_tile)
    return compile_network(network, hardware, mappings={node.name: replace(mapping, layer=layer)})
