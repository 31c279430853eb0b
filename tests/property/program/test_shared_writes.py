"""Programs whose layers are written at once: the same bits as ever, in the writes and the time that were counted."""

import tempfile
from pathlib import Path

from accelerators import make_accelerator
from bits import assert_same_bits
from examples import examples
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_networks import networks, random_inputs

from mho.cost_model.latency import cost_network
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.network.reference import run_quantized
from mho.policy import BitWidths, Policy
from mho.program.container import read_program, write_program
from mho.program.instructions import WriteTile
from mho.program.lowering import compile_network
from mho.program.program import walk
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret
from mho.simulation.timing import time_program

RELAXED = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@st.composite
def large_crossbars(draw):
    """Crossbars that hold several layers of small networks."""
    encoding, rows = draw(st.sampled_from(PAPER_ENCODINGS)), draw(st.integers(20, 150))
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
        mapping={"encoding": str(encoding), "allowed": allowed},
        digital={"operation_latency_us": draw(st.sampled_from(["ideal", 0.000007]))},
    )


def count_joins(program):
    return sum(isinstance(item, WriteTile) and item.joins for item, _ in walk(program.instructions))


def policy_of(network):
    grids = {node.name: node.quantization for node in network.mvm_nodes}
    return Policy({name: BitWidths(grid.weight.bits, grid.input.bits) for name, grid in grids.items()})


@settings(max_examples=examples(100), **RELAXED)
@given(networks(max_layers=4), large_crossbars(), st.integers(1, 3))
def test_layers_that_are_written_at_once_give_the_bits_of_the_integer_reference(network, accelerator, samples):
    program = compile_network(network, accelerator)
    assume(count_joins(program))
    inputs = random_inputs(network, samples)
    expected = run_quantized(network, inputs)
    assert_same_bits(interpret(program, inputs).outputs, expected)
    assert_same_bits(Executor(program).run(inputs), expected)


@settings(max_examples=examples(100), **RELAXED)
@given(networks(max_layers=4), large_crossbars(), st.sampled_from([1, 4]))
def test_they_take_the_writes_and_the_time_that_were_counted(network, accelerator, batch):
    program = compile_network(network, accelerator, batch=batch)
    assume(count_joins(program))
    predicted = cost_network(network, policy_of(network), accelerator, batch=batch)
    timing = time_program(program)
    assert [layer.writes for layer in timing.layers] == [layer.writes for layer in predicted.layers]
    assert [layer.mvms for layer in timing.layers] == [layer.mapping.mvms for layer in predicted.layers]
    assert predicted.tiles - predicted.writes == count_joins(program)
    if batch == 1:
        assert timing.latency_ps == predicted.latency_ps
    execution = interpret(program, random_inputs(network, 2))
    assert execution.writes == {layer.name: layer.writes for layer in timing.layers}


@settings(max_examples=30, **RELAXED)
@given(networks(max_layers=4), large_crossbars())
def test_they_survive_their_file(network, accelerator):
    program = compile_network(network, accelerator)
    assume(count_joins(program))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mho"
        write_program(program, path)
        assert read_program(path).instructions == program.instructions
