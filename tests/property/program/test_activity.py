"""What is counted from a mapping to tell energies is what the program does that is made from it."""

from __future__ import annotations

from accelerators import accelerators
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import networks

from mho.cost_model.latency import cost_network
from mho.hardware.converters import ColumnDifference
from mho.hardware.spec import Encoding
from mho.mapping.activity import Activity, count_reading, count_writing
from mho.mapping.layer_mapping import MappingModel
from mho.policy import BitWidths, Policy
from mho.program.instructions import (
    DigitalProduct,
    Layer,
    LoadInput,
    Mvm,
    ShiftAdd,
    SumInputs,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.lowering import compile_network
from mho.program.program import Program, walk


def policy_of(network):
    grids = {node.name: node.quantization for node in network.mvm_nodes}
    return Policy({name: BitWidths(grid.weight.bits, grid.input.bits) for name, grid in grids.items()})


def count_sums(program: Program, item: ShiftAdd, encoding: Encoding) -> int:
    """Count what is converted: two columns of one digit of one result are one sum where their difference is."""
    if program.accelerator.converters.column_difference is ColumnDifference.DIGITAL:
        return len(item.cols)
    if encoding is not Encoding.DIFFERENTIAL_COLUMNS:
        return len(item.cols)
    cols = range(item.cols.start, item.cols.stop)
    offsets, weights = program.constants[item.column_offsets], program.constants[item.column_weights]
    return len({(int(offsets[col]), abs(int(weights[col]))) for col in cols})


def count_layer(program: Program, layer: Layer, encoding: Encoding) -> Activity:
    """Count what the instructions of a layer do; buffers and the outside are not theirs to tell."""
    total, driven = Activity(), 0
    for item, times in walk(layer.body):
        if isinstance(item, LoadInput):
            driven = len(item.rows)
            total += Activity(driven_rows=times * driven)
        elif isinstance(item, Mvm):
            total += Activity(reads=times)
        elif isinstance(item, ShiftAdd):
            sums = times * count_sums(program, item, encoding)
            total += Activity(cell_reads=times * driven * len(item.cols), conversions=sums, operations=sums)
        elif isinstance(item, WriteTile | WriteDynamicTile):
            total += Activity(cell_writes=times * len(item.rows) * len(item.cols))
        elif isinstance(item, SumInputs):
            total += Activity(operations=times * len(program.constants[item.row_offsets]))
        elif isinstance(item, DigitalProduct):
            macs = len(program.constants[item.row_offsets]) * len(program.constants[item.column_targets])
            total += Activity(operations=times * macs)
    return total


@settings(
    max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(networks(), accelerators(), st.sampled_from(MappingModel))
def test_a_program_does_what_is_counted_for_its_energy(network, accelerator, model):
    program = compile_network(network, accelerator, model=model)
    cost = cost_network(network, policy_of(network), accelerator, model=model)
    counted = [count_reading(layer.mapping) + count_writing(layer.mapping, accelerator) for layer in cost.layers]
    encodings = {layer.mapping.layer.name: layer.mapping.encoding for layer in cost.layers}
    done = [count_layer(program, layer, encodings[layer.name]) for layer in program.layers]
    for name in ("reads", "cell_reads", "driven_rows", "conversions", "operations"):
        assert [getattr(one, name) for one in done] == [getattr(one, name) for one in counted], name
    # Where layers share a write, the first of them writes the cells of all.
    assert sum(one.cell_writes for one in done) == sum(one.cell_writes for one in counted)
