"""Random mappings of a layer: all that the accelerator allows, not only the best; and small programs made of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from accelerators import make_accelerator
from random_networks import Chooser

from mho.hardware.spec import PAPER_ENCODINGS, Accelerator, Encoding
from mho.mapping.best_mapping import MappingChoice
from mho.mapping.candidates import Candidates
from mho.mapping.layer_mapping import LayerMapping, Range
from mho.mapping.layer_search import Piece
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer
from mho.policy import BitWidths
from mho.program.lowering import compile_network, read_widths
from mho.program.program import Program


def random_accelerator(chooser: Chooser, *, most: int = 40) -> Accelerator:
    """Return an accelerator whose crossbars have at most `most` lines, with any encodings and limits of mappings."""
    rows, encoding = chooser.integer(2, most), chooser.choice(PAPER_ENCODINGS)
    cell_bits, dac_bits = chooser.integer(1, 8), chooser.integer(1, 8)
    least = (((1 << dac_bits) - 1) * ((1 << cell_bits) - 1)).bit_length() + 1
    allowed = {
        "encodings": sorted({encoding, *(one for one in Encoding if chooser.integer(0, 1))}),
        "window_positions": chooser.choice((1, 4, 65536)),
        "input_slices_per_mvm": chooser.choice((1, 2, 65536)),
        "groups_per_tile": chooser.choice((1, 65536)),
        "splits": bool(chooser.integer(0, 1)),
    }
    return make_accelerator(
        rows=rows,
        cols=chooser.integer(2, most),
        cell_bits=cell_bits,
        dac_bits=dac_bits,
        adc_bits=chooser.choice(("ideal", *range(least, 17))),
        encoding=encoding,
        crossbars=chooser.choice((1, 2)),
        crossbar={"active_rows": chooser.choice(("all", max(1, rows // 2), max(1, rows // 3)))},
        converters={
            "column_difference": chooser.choice(("digital", "analog")),
            "adc_latency_us_per_bit": chooser.choice((0, 0.01)),
        },
        mapping={"encoding": str(encoding), "allowed": allowed},
    )


def only_layer(network: Network) -> tuple[MvmLayer, BitWidths]:
    """Return the only layer of a quantized network, and its widths."""
    (node,) = network.mvm_nodes
    return derive_layer(network, node), read_widths(network, {})[node.name]


def random_program(chooser: Chooser, network: Network, hardware: Accelerator) -> Program:
    """Compile a network of one layer in any mapping that is allowed."""
    layer, bits = only_layer(network)
    return compile_network(network, hardware, mappings={layer.name: random_mapping(chooser, layer, bits, hardware)})


def random_mapping(chooser: Chooser, layer: MvmLayer, bits: BitWidths, hardware: Accelerator) -> LayerMapping:
    """Return any allowed mapping of a layer, best or not."""
    choice = MappingChoice(layer, bits.weight_bits, hardware, batch=1)
    encoding = chooser.choice(hardware.mapping.allowed.encodings)
    pieces = random_pieces(chooser, choice.candidates(encoding), layer, hardware)
    return choice.build(bits, encoding, pieces)


def random_pieces(chooser: Chooser, candidates: Candidates, layer: MvmLayer, hardware: Accelerator) -> list[Piece]:
    """Cut the groups, then the outputs, then the inputs of each at random; map every piece with a random candidate."""
    pieces = []
    for groups in _random_cuts(chooser, layer.repeat):
        for outputs in _random_cuts(chooser, layer.outputs):
            for inputs in _random_cuts(chooser, layer.inputs):
                number = chooser.integer(0, len(candidates.shape) - 1)
                rows = int(candidates.rows(inputs.start, inputs.stop)[number])
                has_correction = outputs.start == 0
                cols = int(candidates.cols(np.array([len(outputs)]), has_correction=has_correction)[0, number])
                most = min(hardware.crossbar.rows // rows, hardware.crossbar.cols // cols, len(groups))
                per_tile = chooser.integer(1, most) if most > 1 else 1
                pieces.append(Piece(groups, outputs, inputs, number, per_tile))
    return pieces


def _random_cuts(chooser: Chooser, size: int) -> Sequence[Range]:
    """Cut 0 .. `size` in at most three."""
    cuts = {chooser.integer(1, size - 1) for _ in range(chooser.choice((0, 0, 1, 2)))} if size > 1 else set()
    edges = [0, *sorted(cuts), size]
    return [Range(start, stop) for start, stop in itertools.pairwise(edges)]
