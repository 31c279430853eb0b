"""From ONNX to a Network: the one reader, for files and for what torch exports.

onnx_file.py loads and checks; onnx_graph.py walks the nodes in the file's order, folding what depends on constants
alone and emitting the rest into a draft by each operation's converter; draft_rewrites.py makes the draft a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mho.errors import InputFileError, MhoError
from mho.input_files import parse_json
from mho.network import (
    onnx_attention,
    onnx_branches,
    onnx_composites,
    onnx_digital,
    onnx_indexing,
    onnx_logic,
    onnx_movement,
    onnx_mvm,
    onnx_qoperator,
    onnx_quantizers,
    onnx_recurrent,
    onnx_resize,
    onnx_sequences,
    onnx_transposed,
)
from mho.network.draft_rewrites import rewrite_draft
from mho.network.graph import Network
from mho.network.onnx_file import find_fault, load_model
from mho.network.onnx_graph import Converter, GraphReader
from mho.network.onnx_inputs import InputShapes
from mho.network.state import STATES_KEY, read_states

if TYPE_CHECKING:
    import onnx
    import onnx_ir

CONVERTERS: Mapping[str, Converter] = MappingProxyType(
    onnx_mvm.CONVERTERS
    | onnx_digital.CONVERTERS
    | onnx_logic.CONVERTERS
    | onnx_composites.CONVERTERS
    | onnx_indexing.CONVERTERS
    | onnx_sequences.CONVERTERS
    | onnx_resize.CONVERTERS
    | onnx_attention.CONVERTERS
    | onnx_transposed.CONVERTERS
    | onnx_recurrent.CONVERTERS
    | onnx_movement.CONVERTERS
    | onnx_branches.CONVERTERS
    | onnx_quantizers.CONVERTERS
    | onnx_qoperator.CONVERTERS
)
"""By ONNX operation: every one on activations that mho reads."""


def read_onnx(source: str | Path | onnx.ModelProto, input_shapes: InputShapes | None = None) -> Network:
    """Read an ONNX model: float, QDQ or QCDQ, opset 11..24.

    Args:
        source: a path (external data beside it), or a model in memory.
        input_shapes: shape of every input by name, batch axis included, or the shape of the only input. Needed where
            axes other than the first are symbolic; a symbolic first axis becomes 1.

    Raises:
        InputFileError: missing, truncated, not ONNX, a shape that is not known, or numbers that are not finite.
        UnsupportedOperationError: operations that mho does not have, every one with its node.
    """
    model, where = load_model(source)
    try:
        return read_model(model, where, input_shapes)
    except MhoError:
        raise
    except Exception as error:
        # A malformed file trips the reader anywhere; checking every file first would copy its weights. What the checker
        # finds no fault with is a defect of mho.
        if fault := find_fault(source):
            raise InputFileError(f"malformed ONNX: {fault}", where=where) from error
        raise


def read_model(model: onnx_ir.Model, where: str, input_shapes: InputShapes | None = None) -> Network:
    """Read a model that `load_model` or `prepare_model` checked. Raises as `read_onnx`."""
    draft = GraphReader(model, where, input_shapes).read(CONVERTERS)
    rewrite_draft(draft, where)
    network = draft.finish()
    if STATES_KEY in model.metadata_props:
        held = parse_json(model.metadata_props[STATES_KEY].encode(), where=f"{where}: {STATES_KEY}")
        return replace(network, states=read_states(held, where))
    return network
