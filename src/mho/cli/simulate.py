"""``mho simulate``: run a program file on arrays."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import mho
from mho.api.arguments import as_ranges
from mho.cli.arguments import MOST
from mho.cli.chip import (
    Chip,
    ElapsedOption,
    HardwareOption,
    PlacementOption,
    RangesOption,
    ReadsOption,
    Samples,
    TemperatureOption,
    TransferredOption,
    load_chip,
    tell_elsewhere,
)
from mho.cli.outputs import check_outputs
from mho.errors import ConfigError
from mho.hardware.array import Compensation, Placement
from mho.hardware.spec import Accelerator
from mho.hardware.write_verify import WriteVerify
from mho.program.container import read_program
from mho.program.program import Program
from mho.simulation.timing import ProgramTiming, time_program
from mho.terminal import Console, echo

if TYPE_CHECKING:
    from mho.evaluation.chip import Outputs
    from mho.simulation.analog_faults import FaultFigures
    from mho.simulation.zero_slices import ZeroSlices


class Engine(StrEnum):
    """Which engine runs the program; both give the same bits."""

    EXECUTOR = "executor"
    INTERPRETER = "interpreter"


TimingOption = Annotated[
    bool, typer.Option("--timing", help="Print when every layer works, and what it waits for. Needs no inputs.")
]
TimedBatchOption = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=MOST, help="Inputs that follow each other on a chip, with --timing."),
]
TraceOption = Annotated[
    Path | None, typer.Option(metavar="FILE.json", help="Write a trace of a chip for Perfetto, with --timing.")
]


def simulate(
    program: Annotated[Path, typer.Argument(metavar="P.mho", help="A program of `mho compile`.")],
    inputs: Annotated[
        Path | None, typer.Option(metavar="X.npz", help="Arrays [N, ...] by the names of the inputs.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="Y.npz", help="Where to write the outputs.")
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="executor: fast. interpreter: instruction by instruction, slow.")
    ] = Engine.EXECUTOR,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Samples at once; never changes results but for noise of reads.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Run it on the chip that this seed gives, not exactly.")
    ] = None,
    hardware: HardwareOption = None,
    elapsed_s: ElapsedOption = None,
    temperature_k: TemperatureOption = None,
    reads: ReadsOption = None,
    placement: PlacementOption = None,
    ranges: RangesOption = None,
    corrections: Annotated[
        Path | None, typer.Option(metavar="C.npz", help="Corrections of channels, of `mho recalibrate`.")
    ] = None,
    transferred: TransferredOption = False,
    skip_zero_slices: Annotated[
        bool, typer.Option("--skip-zero-slices", help="Print which MVMs could be skipped: all their slices are zero.")
    ] = False,
    timing: TimingOption = False,
    batch: TimedBatchOption = None,
    trace: TraceOption = None,
) -> None:
    """Run a program on inputs, and print how long the accelerator would take.

    The latency is that of one sample, from the program's own instructions. A program that was compiled with --chip is
    timed by a simulation of its schedule, and the interpreter runs it in the order of the schedule. With
    --skip-zero-slices, the times of these samples on hardware that skips MVMs all of whose driven rows carry a zero
    input slice are printed too. With --seed, cells, wires and converters are those of the hardware, and differences
    from the exact integers are printed.
    """
    of_inputs: dict[str, Any] = {
        "output": output,
        "skip-zero-slices": skip_zero_slices or None,
        "batch-size": batch_size,
    }
    of_inputs["engine"] = engine if engine is Engine.INTERPRETER else None
    _check_options(inputs, of_inputs, timing=timing, batch=batch, trace=trace)
    given = {"hardware": hardware, "elapsed-s": elapsed_s, "temperature-k": temperature_k, "reads": reads}
    given["placement"] = placement
    files = {"ranges": ranges, "corrections": corrections}
    of_chip = [name for name, value in {**given, **files}.items() if value is not None]
    _check_chip_options(inputs, engine, seed, of_chip)
    if transferred and ranges is None and corrections is None:
        raise ConfigError("--transferred is of ranges and corrections", expected="--ranges or --corrections beside it")
    outputs = {"--output": output, "--trace": trace}
    check_outputs(outputs, (program, inputs, hardware, ranges, corrections))
    loaded = read_program(program)
    if timing:
        _print_timing(loaded, batch or 1, trace)
    if inputs is not None:
        samples = Samples.read(inputs, loaded)
        samples.check(loaded)
        if seed is None:
            results = _run(loaded, samples, engine, batch_size)
        else:
            chip = load_chip(
                seed, hardware, elapsed_s=elapsed_s, temperature_k=temperature_k, reads=reads, placement=placement
            )
            results = _run_on_chip(
                loaded, samples, chip, ranges, corrections, transferred=transferred, batch_size=batch_size
            )
        if output is not None:
            _write(results, output)
        if skip_zero_slices:
            _print_zero_slices(mho.count_zero_slices(loaded, samples.inputs, batch_size=batch_size))


def _check_options(
    inputs: Path | None,
    of_inputs: dict[str, Any],
    *,
    timing: bool,
    batch: int | None,
    trace: Path | None,
) -> None:
    if inputs is None and not timing:
        raise ConfigError("nothing to simulate", expected="--inputs X.npz, or --timing")
    for name, value in of_inputs.items():
        if inputs is None and value is not None:
            raise ConfigError(f"--{name} is for inputs", expected="--inputs X.npz beside it")
    if trace is not None and (not timing or trace.suffix.lower() != ".json"):
        raise ConfigError("--trace writes a .json file, with --timing", where=str(trace))
    if batch is not None and not timing:
        raise ConfigError("--batch is for --timing", hint="--batch-size sets how many samples an engine takes at once")


def _check_chip_options(inputs: Path | None, engine: Engine, seed: int | None, given: list[str]) -> None:
    if seed is None and given:
        raise ConfigError(f"--{given[0]} is of a chip", expected="--seed N beside it")
    if seed is not None and inputs is None:
        raise ConfigError("--seed is of the chip that runs the inputs", expected="--inputs X.npz beside it")
    if seed is not None and engine is Engine.INTERPRETER:
        raise ConfigError("a chip is simulated by an engine of its own", hint="leave out --engine")


def _print_timing(program: Program, batch: int, trace: Path | None) -> None:
    from mho.report.timing_text import print_chip_timing, print_crossbar_timing
    from mho.report.trace import write_trace
    from mho.scheduling.gantt import BARS
    from mho.simulation.chip_gantt import draw_simulation
    from mho.simulation.timing import time_on_chip

    console = Console()
    if program.schedule is not None:
        timing = time_on_chip(program, batch=batch, with_spans=trace is not None)
        print_chip_timing(console, program, timing)
        if trace is not None:
            chart = draw_simulation(timing.graph, timing.plan, timing.batch, BARS)
            write_trace(program.name, program.accelerator.name, chart, trace)
            echo(f"trace in {trace} (open it in https://ui.perfetto.dev)")
    elif batch > 1 or trace is not None:
        option = "--batch" if batch > 1 else "--trace"
        raise ConfigError(f"{option} is for programs that were compiled with --chip", where=program.name)
    else:
        print_crossbar_timing(console, program, time_program(program))


def _run(loaded: Program, samples: Samples, engine: Engine, batch_size: int | None) -> Outputs:
    """Run a program exactly, and print what came out."""
    start = time.perf_counter()
    results = mho.simulate(loaded, samples.inputs, engine=engine.value, batch_size=batch_size)
    seconds = time.perf_counter() - start
    _print_outputs(loaded, results)
    if loaded.accelerator.converters.has_calibrated_adc:
        echo(
            f"the ADCs of {loaded.accelerator.name} are calibrated: these outputs are those of ideal ADCs; --seed N "
            "simulates a chip"
        )
    _echo(samples.tell_accuracy(with_exact_integers=results))
    _print_seconds(results, seconds, engine.value)
    return results


def _run_on_chip(
    loaded: Program,
    samples: Samples,
    chip: Chip,
    ranges: Path | None,
    corrections: Path | None,
    *,
    transferred: bool,
    batch_size: int | None,
) -> Outputs:
    """Run a program on a chip, and print what differs from exact integers."""
    from mho.evaluation.chip import Difference, write_chip
    from mho.simulation.analog import DEFAULT_BATCH
    from mho.simulation.channel_corrections import read_corrections
    from mho.simulation.chip_origin import ChipOrigin

    start, hardware = time.perf_counter(), chip.fit(loaded)
    own_ranges = as_ranges(ranges)
    own_corrections = None if corrections is None else read_corrections(corrections)
    executor = write_chip(
        loaded,
        chip.seed,
        hardware=hardware,
        conditions=chip.conditions,
        ranges=own_ranges,
        corrections=own_corrections,
        transferred=transferred,
    )
    results = executor.run(samples.inputs, batch_size or DEFAULT_BATCH)
    seconds = time.perf_counter() - start
    exact = mho.simulate(loaded, samples.inputs)
    _print_outputs(loaded, results)
    place = loaded, chip.seed, executor.hardware, chip.conditions
    if own_ranges is not None:
        _echo(tell_elsewhere("ranges", own_ranges.differences(*place)))
    if own_corrections is not None:
        here = ChipOrigin.of(*place, None if own_ranges is None else own_ranges.digest)
        _echo(tell_elsewhere("corrections", own_corrections.origin.differences(here)))
    _echo(_describe_pulses(hardware))
    _echo(_describe_faults(hardware, executor.faults))
    for output, found in results.items():
        gap = Difference.of(found, exact[output])
        echo(
            f"chip {chip.seed} of {hardware.name}, {output}: {gap.others:,} of {gap.samples:,} samples "
            f"({100 * gap.share:.2f} %) have another largest output than with exact integers; "
            f"deviation {100 * gap.deviation:.2f} %"
        )
    _echo(samples.tell_accuracy(on_the_chip=results, with_exact_integers=exact))
    _print_seconds(results, seconds, "chip")
    return results


def _describe_pulses(hardware: Accelerator) -> str | None:
    """Return what programming by pulses takes, in words; None where pulses are unspecified."""
    pulses = WriteVerify.of(hardware.array)
    if pulses is None:
        return None
    return (
        f"written by {pulses.count_for_row(1):.2f} pulses a cell on average, at most {len(pulses.deviations):,}; "
        f"{hardware.write_latency_us:,.2f} us a crossbar; {100 * pulses.shares_left[-1]:.3g} % of cells stay beyond "
        "array.verify_tolerance"
    )


def _describe_faults(hardware: Accelerator, faults: FaultFigures) -> str | None:
    """Return what stuck cells make of what is written, in words; None where no cell is stuck."""
    if not hardware.array.has_stuck_cells:
        return None
    text = f"stuck cells: {faults.wrong_as_mapped:,} of {faults.cells:,} cells deviate as mapped"
    means = []
    if hardware.array.placement is Placement.FAULT_AWARE:
        means.append("on the chosen lines")
    if hardware.array.fault_compensation is Compensation.DIGITS:
        means.append("where others cannot make up for them")
    if not means:
        return text
    share = faults.error / faults.error_as_mapped if faults.error_as_mapped else 0.0
    return f"{text}, {faults.wrong:,} {', '.join(means)}; {100 * share:.1f} % of the weighted squared error is left"


def _print_outputs(program: Program, results: Outputs) -> None:
    echo(_latency(program))
    for name, array in results.items():
        echo(f"output {name} {list(array.shape)}")


def _print_seconds(results: Outputs, seconds: float, engine: str) -> None:
    samples = next(iter(results.values())).shape[0]
    echo(f"simulated {samples:,} samples in {seconds:.2f} s ({engine})")


def _echo(text: str | None) -> None:
    if text is not None:
        echo(text)


def _write(results: Outputs, output: Path) -> None:
    from mho.array_files import write_arrays

    write_arrays(output, results)
    echo(f"written to {output}")


def _latency(program: Program) -> str:
    timing = mho.timing(program)
    if program.schedule is not None:
        what = f"{program.schedule.used_crossbars:,} crossbars"
    else:
        assert isinstance(timing, ProgramTiming), "a program without a schedule is one of one crossbar"
        what = f"{timing.writes:,} crossbar writes, {timing.mvms:,} MVMs"
    return f"latency {timing.latency_ps / 1e9:,.4f} ms a sample on {program.accelerator.name}: {what}"


def _print_zero_slices(found: ZeroSlices) -> None:
    width = max([len("layer"), *(len(layer.name) for layer in found.layers)])
    echo(f"\n{'layer':<{width}}  {'MVMs a sample':>13}  skipped (zero slices)")
    for layer in found.layers:
        echo(f"{layer.name:<{width}}  {layer.mvms:>13,}  {100 * layer.share:6.2f} %")
    echo(f"{'all':<{width}}  {found.mvms:>13,}  {100 * found.share:6.2f} %")
    latencies_ps = found.latencies_ps
    mean, least, most = (
        f"{value / 1e9:,.4f}" for value in (latencies_ps.mean(), latencies_ps.min(), latencies_ps.max())
    )
    echo(
        f"latency with zero slices skipped: {mean} ms a sample on average, {least} at least, {most} at most "
        f"({found.latency_ps / 1e9:,.4f} without skipping)"
    )
