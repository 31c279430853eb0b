"""What happens in one layer of a program, MVM by MVM: test vectors for those who build the hardware.

The interpreter runs the layer, on tensors that the executor gives it, and is watched. Nothing here defines what an
instruction does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.arithmetic.operations import OPERATIONS
from mho.deploy.vector_recorder import SUM_BITS, Choice, Integers, Recorder, VectorArray, freeze
from mho.display import Table, Tabular
from mho.errors import ConfigError, DataError, suggest
from mho.formats import plural
from mho.program.container import program_digest
from mho.program.instructions import (
    Digital,
    Instruction,
    Layer,
    QuantizeInput,
    WriteTile,
)
from mho.program.layer_content import LayerContent, collect_layers
from mho.program.program import BufferKind, Program
from mho.simulation.executor import Executor
from mho.simulation.machine import Machine, make_machine, run_body
from mho.simulation.quantize_input import make_codes
from mho.simulation.samples import check_inputs


@dataclass(frozen=True, eq=False, repr=False)
class LayerVectors(Tabular):
    """All that happens in some windows of one layer for one sample.

    Attributes:
        program, accelerator, layer: names.
        digest: SHA-256 of the program, hexadecimal.
        sample: its number.
        windows: first, and first that is left out, of the first tile; what adds to sums at their positions is held.
        cell_bits, dac_bits, adc_bits: of the crossbar; `adc_bits` of the conversions that were made.
        clipped: conversions beyond the codes of the ADC; None where it has enough for all sums.
        arrays: by name, in the order of a read: writes, reads, sums, outputs.
        requantized_by: the instruction that makes the codes in `requantized`; empty where there are none.
    """

    program: str
    accelerator: str
    layer: str
    digest: str
    sample: int
    windows: tuple[int, int]
    cell_bits: int
    dac_bits: int
    adc_bits: int
    clipped: int | None
    arrays: Mapping[str, VectorArray]
    requantized_by: str

    def __repr__(self) -> str:
        return f"LayerVectors({self._summary})"

    @property
    def _summary(self) -> str:
        first, stop = self.windows
        reads, writes = len(self.arrays["drives"].values), len(self.arrays["cells"].values)
        return (
            f"{self.layer} of {self.program}, windows {first}..{stop - 1} of sample {self.sample}: "
            f"{plural(reads, 'read')} of {plural(writes, 'tile')}"
        )

    def table(self) -> Table:
        """Return one row an array."""
        rows = (
            (name, " x ".join(map(str, one.values.shape)), one.bits, "yes" if one.is_signed else "no", one.meaning)
            for name, one in self.arrays.items()
        )
        return Table(self._summary, ("array", "shape", "bits", "signed", "meaning"), tuple(rows))


def record_vectors(
    program: Program,
    inputs: Mapping[str, Any] | NDArray[Any],
    layer: str,
    *,
    windows: tuple[int, int] | None = None,
    sample: int = 0,
    adc_bits: int | None = None,
) -> LayerVectors:
    """Run one sample through one layer, and return all that happens in some of its windows.

    Args:
        program: verified; of any regime. Instructions run in their own order, copies of tiles are left out.
        inputs: arrays [N, ...] by input name, or the only input.
        layer: name of an MVM layer.
        windows: first, and first that is left out, of the layer's first tile: what adds to sums at their positions is
            recorded, of all tiles; None: all.
        sample: which one.
        adc_bits: of ADCs that read whole steps and clip; None: those of the accelerator, or as many as all sums need.

    Raises:
        ConfigError: there is no such layer, window or number of bits, or the layer has no MVMs.
        DataError: inputs do not fit, or there is no such sample.
        MemoryBudgetError: the vectors take more than the budget.
    """
    content = _find_layer(program, layer)
    arrays = check_inputs(program, inputs)
    count = len(next(iter(arrays.values())))
    if not 0 <= sample < count:
        raise DataError(f"no sample {sample}", expected=f"0 .. {count - 1}")
    one = {name: array[sample : sample + 1] for name, array in arrays.items()}
    recorder = Recorder(program, content, Choice.of(program, content, windows), adc_bits)
    machine = make_machine(program, one, step=recorder.step)
    machine.buffers |= Executor(program).find_sources(layer, one)
    _write_earlier(machine, content)
    run_body(machine, (content.layer,), {})
    outputs, by = _list_outputs(machine, content, recorder)
    return LayerVectors(
        program=program.name,
        accelerator=program.accelerator.name,
        layer=layer,
        digest=program_digest(program),
        sample=sample,
        windows=recorder.choice.windows,
        cell_bits=program.accelerator.crossbar.cell_bits,
        dac_bits=program.accelerator.converters.dac_bits,
        adc_bits=recorder.adc.bits,
        clipped=recorder.clipped if recorder.clips else None,
        arrays=MappingProxyType(recorder.list_arrays() | outputs),
        requantized_by=by,
    )


def _find_layer(program: Program, name: str) -> LayerContent:
    names = [layer.name for layer in program.layers]
    if name not in names:
        listing = ", ".join(names)
        raise ConfigError(f"no layer {name!r}", where=program.name, expected=listing, hint=suggest(name, names))
    content = next(one for one in collect_layers(program) if one.layer.name == name)
    if not content.tiles:
        raise ConfigError("the digital unit computes it", where=f"layer {name}", expected="a layer with MVMs")
    return content


def _write_earlier(machine: Machine, content: LayerContent) -> None:
    """Write the tiles that the layer reads and earlier layers wrote."""
    if all(any(use.write is own for own in content.writes) for use in content.tiles):
        return
    for layer in machine.program.layers:
        if layer is content.layer:
            break
        machine.enter(layer.name)
        run_body(machine, _keep_writes(layer.body), {})


def _keep_writes(body: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
    return tuple(item for item in body if isinstance(item, WriteTile))


def _list_outputs(machine: Machine, content: LayerContent, recorder: Recorder) -> tuple[dict[str, VectorArray], str]:
    """Return the final sums of the windows, what the layer makes of them, and the codes that follow from it."""
    end, program = content.dequantize, machine.program
    layout = end.layout
    address_of = np.arange(layout.size).reshape(layout.shape)[layout.inside].reshape(-1)
    element_of = np.full(layout.size, -1)
    element_of[address_of] = np.arange(len(address_of))
    addresses = np.flatnonzero(recorder.choice.wanted & (element_of >= 0))
    table = np.column_stack([addresses, element_of[addresses]])
    values = machine.buffers[end.target].reshape(-1)[table[:, 1]]
    totals = machine.buffers[end.accumulators][table[:, 0], 0]
    is_float = program.buffers[end.target].kind is BufferKind.FLOAT
    arrays = {
        "places": freeze(table, ("output", "field"), 32, False,
                          "of each output: address of its sum, element of the layer's output, row-major"),
        "totals": freeze(totals, ("output",), SUM_BITS, True, "the sum when the layer ends"),
        "outputs": freeze(values if is_float else values.astype(np.int64), ("output",), 32, True,
                           "what the layer makes of it, " + ("float32" if is_float else "an integer of its scale")),
    }  # fmt: skip
    found = _requantize(machine, content)
    if found is None:
        return arrays, ""
    item, codes = found
    low = min(item.qmin, item.zero_point) + item.offset
    bits = max(int(max(item.qmax, item.zero_point) + item.offset).bit_length() + int(low < 0), 1)
    meaning = f"the code of the next layer, in buffer {item.target!r}"
    arrays["requantized"] = freeze(codes.reshape(-1)[table[:, 1]], ("output",), bits, low < 0, meaning)
    return arrays, item.target


def _requantize(machine: Machine, content: LayerContent) -> tuple[QuantizeInput, Integers] | None:
    """Return the codes that a later layer makes of each element of the output; None where operations lie between them
    that do more than change elements on their own."""
    program, name = machine.program, content.dequantize.target
    after = program.instructions[program.instructions.index(content.layer) + 1 :]
    for item in after:
        if isinstance(item, Digital) and name in item.inputs:
            others = [other for other in item.inputs if other != name and other not in program.constants]
            keeps = OPERATIONS[item.op].is_elementwise or item.op == "reshape"
            if others or not keeps or math.prod(program.buffers[item.output].shape) != machine.buffers[name].size:
                return None
            run_body(machine, (item,), {})
            name = item.output
        elif isinstance(item, Layer):
            for one in item.body:
                if isinstance(one, QuantizeInput) and one.source == name:
                    source = machine.buffers[name]
                    plain = replace(one, start=0, pads=tuple((0, 0) for _ in one.pads))
                    return one, make_codes(plain, source, source.size)
    return None
