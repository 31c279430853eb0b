"""The central promise: every engine gives the bits of the integer reference, for any network, hardware and mapping
model; and what a program does, takes and skips is what the cost model, the mapping and the counters say."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from accelerators import accelerators, digital_rules, make_accelerator
from bits import assert_same_bits
from examples import RELAXED, examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from random_networks import SeededChooser, networks, random_inputs, random_network

from mho.cost_model.latency import cost_network
from mho.hardware.converters import ColumnDifference
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.mapping.activity import Activity, count_reading, count_writing
from mho.mapping.layer_mapping import MappingModel
from mho.network.reference import run_quantized
from mho.program.container import read_program, write_program
from mho.program.instruction_costs import price_layer
from mho.program.instructions import (
    DigitalProduct,
    LoadInput,
    Mvm,
    ShiftAdd,
    SumInputs,
    WriteDynamicTile,
    WriteTile,
)
from mho.program.lowering import compile_network, read_widths
from mho.program.program import walk
from mho.simulation.analog import AnalogExecutor
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_program
from mho.simulation.zero_slices import count_zero_slices

MODELS = st.sampled_from(MappingModel)
METADATA = {"note": "ä", "numbers": [1, 2.5, None]}


def check_program(network, accelerator, inputs, *, model=MappingModel.BEST, batch=1, skips=False):
    """Check all that holds of a program, run with or without skipping of zero input slices."""
    program = compile_network(network, accelerator, model=model, batch=batch, metadata=METADATA)
    execution = check_bits(network, program, inputs, skips)
    cost = cost_network(network, read_widths(network, {}), accelerator, model=model, batch=batch)
    check_time(program, cost, execution, batch)
    check_activity(program, cost)
    if skips:
        check_skipped(program, inputs, execution)
    check_file(program)


def check_bits(network, program, inputs, skips):
    """All engines give the bits of the reference; return what the interpreter did."""
    expected = run_quantized(network, inputs)
    execution = interpret(program, inputs, skip_zero_slices=skips)
    assert_same_bits(execution.outputs, expected)
    for executor in (Executor(program), AnalogExecutor(program, 1)):
        assert_same_bits(executor.run(inputs, batch_size=2), expected)
    return execution


def check_time(program, cost, execution, batch):
    """A program takes the time that the cost model predicts, and does what its timing counts."""
    timing = time_program(program)
    assert [layer.name for layer in timing.layers] == [layer.mapping.layer.name for layer in cost.layers]
    for mine, theirs in zip(timing.layers, cost.layers, strict=True):
        assert (mine.writes, mine.mvms) == (theirs.writes, theirs.mapping.mvms)
        if batch == 1:  # else costs are those of all samples
            assert (mine.write_ps, mine.read_ps) == (theirs.write_ps, theirs.read_ps)
    assert batch > 1 or timing.latency_ps == cost.latency_ps
    assert cost.tiles - cost.writes == count_joins(program)
    assert execution.writes == {layer.name: layer.writes for layer in timing.layers}
    assert execution.mvms == {layer.name: layer.mvms for layer in timing.layers}


def count_joins(program):
    return sum(isinstance(item, WriteTile) and item.joins for item, _ in walk(program.instructions))


def check_activity(program, cost):
    """What is counted from mappings to find energies is what the instructions do."""
    hardware = program.accelerator
    counted = [count_reading(layer.mapping) + count_writing(layer.mapping, hardware) for layer in cost.layers]
    encodings = {layer.mapping.layer.name: layer.mapping.encoding for layer in cost.layers}
    done = [count_layer(program, layer, encodings[layer.name]) for layer in program.layers]
    for name in ("reads", "cell_reads", "driven_rows", "conversions", "operations"):
        assert [getattr(one, name) for one in done] == [getattr(one, name) for one in counted], name
    # Where layers share a write, the first of them writes the cells of all.
    assert sum(one.cell_writes for one in done) == sum(one.cell_writes for one in counted)


def count_layer(program, layer, encoding):
    """Count what the instructions of a layer do; buffers and the outside are not in them."""
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


def count_sums(program, item, encoding):
    """Count what is converted: two columns of one digit of one result are one sum where their difference is."""
    is_digital = program.accelerator.converters.column_difference is ColumnDifference.DIGITAL
    if is_digital or encoding is not Encoding.DIFFERENTIAL_COLUMNS:
        return len(item.cols)
    cols = range(item.cols.start, item.cols.stop)
    offsets, weights = program.constants[item.column_offsets], program.constants[item.column_weights]
    return len({(int(offsets[col]), abs(int(weights[col]))) for col in cols})


def check_skipped(program, inputs, execution):
    """What is counted as skippable is what the interpreter skips, MVM by MVM, whatever the batch size."""
    timing, prices = time_program(program), {layer.name: price_layer(program, layer) for layer in program.layers}
    for batch_size in (2, None):
        counted = count_zero_slices(program, inputs, batch_size)
        assert [layer.name for layer in counted.layers] == list(execution.skipped)
        for layer, timed in zip(counted.layers, timing.layers, strict=True):
            skipped = execution.skipped[layer.name]
            assert (layer.mvms, layer.latency_ps) == (timed.mvms, timed.latency_ps)
            np.testing.assert_array_equal(layer.skipped, skipped.mvms)
            np.testing.assert_array_equal(layer.saved_ps, prices[layer.name].reading_ps(skipped))
            assert (layer.skipped <= layer.mvms).all()
            assert (layer.saved_ps <= timed.read_ps).all()


def check_file(program):
    """A program survives its file, and writes the same bytes again."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "a.mho", Path(folder) / "b.mho"
        write_program(program, first)
        loaded = read_program(first)
        assert loaded.instructions == program.instructions
        assert dict(loaded.buffers) == dict(program.buffers)
        assert loaded.accelerator == program.accelerator
        assert {name: array.tobytes() for name, array in loaded.constants.items()} == {
            name: np.asarray(array, order="C").tobytes() for name, array in program.constants.items()
        }
        write_program(loaded, second)
        assert first.read_bytes() == second.read_bytes()


def sparse_inputs(network, samples, share):
    """Inputs of which about this share is zero."""
    generator = np.random.default_rng(samples)
    return {
        name: (array * (generator.random(array.shape) >= share)).astype(np.float32)
        for name, array in random_inputs(network, samples).items()
    }


@settings(max_examples=examples(120), **RELAXED)
@given(networks(), accelerators(), MODELS, st.integers(1, 3), st.sampled_from([None, None, 0.0, 0.5, 0.9, 1.0]))
def test_a_program_is_exact_and_does_what_is_counted(network, accelerator, model, samples, share):
    inputs = sparse_inputs(network, samples, share or 0)
    check_program(network, accelerator, inputs, model=model, skips=share is not None)


@st.composite
def large_crossbars(draw):
    """Crossbars that hold several layers of small networks."""
    encoding, rows = draw(st.sampled_from(PAPER_ENCODINGS)), draw(st.integers(20, 150))
    operation_us = draw(st.sampled_from(["ideal", 0.000007]))
    allowed = {
        "encodings": sorted(draw(st.sets(st.sampled_from(Encoding))) | {encoding}),
        "window_positions": draw(st.sampled_from([1, 4, 65536])),
        "input_slices_per_mvm": draw(st.sampled_from([1, 65536])),
    }
    return make_accelerator(
        rows,
        draw(st.integers(20, 150)),
        draw(st.integers(1, 6)),
        draw(st.integers(1, 4)),
        encoding=encoding,
        crossbar={"active_rows": draw(st.sampled_from(["all", "all", rows // 3]))},
        mapping={"encoding": str(encoding), "allowed": allowed, "digital_layers": draw(digital_rules(operation_us))},
        digital={"operation_latency_us": operation_us},
    )


@settings(max_examples=examples(80), **RELAXED)
@given(networks(max_layers=4), large_crossbars(), st.integers(1, 3), st.sampled_from([1, 1, 4]))
def test_so_is_one_whose_layers_are_written_at_once(network, accelerator, samples, batch):
    assume(count_joins(compile_network(network, accelerator, batch=batch)))
    check_program(network, accelerator, random_inputs(network, samples), batch=batch, skips=samples > 1)


@pytest.mark.parametrize("seed", range(8))
def test_results_do_not_depend_on_the_batch_size_nor_on_the_hardware(seed):
    network = random_network(SeededChooser(seed))
    inputs = random_inputs(network, 7)
    expected = run_quantized(network, inputs)
    for number, (rows, cell_bits, dac_bits) in enumerate(((3, 1, 1), (16, 8, 8), (300, 4, 3))):
        encoding = PAPER_ENCODINGS[(seed + number) % len(PAPER_ENCODINGS)]
        program = compile_network(network, make_accelerator(rows, 11, cell_bits, dac_bits, encoding=encoding))
        executor = Executor(program)
        for batch_size in (1, 3, 7, None):
            assert_same_bits(executor.run(inputs, batch_size), expected)
