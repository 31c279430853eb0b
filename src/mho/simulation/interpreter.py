"""The slow and obvious engine: it runs a program instruction by instruction, as the hardware would.

A program of one crossbar runs in the order of its instructions; one for a chip runs in the order of its schedule
(`mho.simulation.schedule_order`, `mho.simulation.reload_order`). `mho.simulation.executor` gives the same results,
fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.input_files import memory_budget_bytes
from mho.mapping.event_counts import EventCounts
from mho.program.program import Program
from mho.program.schedule import Schedule
from mho.simulation.machine import Step, execute, make_machine, run_body
from mho.simulation.reload_order import run_in_reload_order
from mho.simulation.samples import allocate_outputs, check_inputs, present_outputs
from mho.simulation.schedule_order import run_in_schedule_order


@dataclass(frozen=True)
class Execution:
    """What a run gave.

    Attributes:
        outputs: float32 arrays by name.
        writes, mvms: crossbar writes and MVMs that were executed for each sample, by layer, skipped ones included;
            on a chip, the writes that program its crossbars before the first sample are counted too. Where tiles are
            rewritten, writes are those of a batch.
        skipped: what was left out for each sample, by layer, int64 [samples]; zero where nothing may be skipped.
    """

    outputs: dict[str, NDArray[np.float32]]
    writes: dict[str, int]
    mvms: dict[str, int]
    skipped: dict[str, EventCounts[NDArray[np.int64]]]


def interpret(
    program: Program,
    inputs: Mapping[str, Any] | NDArray[Any],
    *,
    skip_zero_slices: bool = False,
    step: Step = execute,
) -> Execution:
    """Run `program` on a batch of inputs.

    Args:
        inputs: arrays [N, *shape] by input name (or the only one), see `mho.arithmetic.batching`.
        skip_zero_slices: leave out MVMs all of whose rows carry a zero slice, sample by sample; never changes outputs.
        step: what is done at each instruction, see `mho.simulation.machine`.

    Raises:
        DataError: an input is missing, unknown, of another shape or not finite.
        MemoryBudgetError: outputs take more than the budget.
        ProgramError: the program does what the hardware cannot, or reads what its schedule has not made yet.
    """
    arrays = check_inputs(program, inputs)
    samples = next(iter(arrays.values())).shape[0]
    outputs = allocate_outputs(program, samples)
    at_once = max(1, memory_budget_bytes() // (2 * max(1, program.sample_bytes)))
    skipped: dict[str, list[EventCounts[NDArray[np.int64]]]] = {}
    for start in range(0, samples, at_once):
        batch = {name: array[start : start + at_once] for name, array in arrays.items()}
        machine = make_machine(program, batch, skip_zero_slices=skip_zero_slices, step=step)
        if program.schedule is None:
            run_body(machine, program.instructions, {})
        elif isinstance(program.schedule, Schedule):
            run_in_schedule_order(machine)
        else:
            run_in_reload_order(machine)
        for name, array in outputs.items():
            array[start : start + at_once] = machine.buffers[name]
        for name, counts in machine.skipped.items():
            skipped.setdefault(name, []).append(counts)
    joined = {name: _join(parts) for name, parts in skipped.items()}
    return Execution(present_outputs(program, outputs), machine.writes, machine.mvms, joined)


def _join(parts: list[EventCounts[NDArray[np.int64]]]) -> EventCounts[NDArray[np.int64]]:
    """Return the counts of all samples."""
    return EventCounts(*(np.concatenate(found) for found in zip(*map(astuple, parts), strict=True)))
