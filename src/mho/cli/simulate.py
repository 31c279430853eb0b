"""``mho simulate``: run a program file on arrays."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import mho
from mho.api.arguments import as_ranges
from mho.cli.arguments import MOST, JsonOption
from mho.cli.chip import (
    Chip,
    ElapsedOption,
    HardwareOption,
    NoisySeedOption,
    PlacementOption,
    ProgramArgument,
    RangesOption,
    ReadsOption,
    Samples,
    TemperatureOption,
    TransferredOption,
    check_seed,
    load_chip,
    tell_elsewhere,
)
from mho.cli.device import CompareOption, DeviceOption, check_device_options, run_on_device
from mho.cli.outputs import check_outputs
from mho.cli.simulation_text import describe_faults, describe_ideal, describe_pulses, print_zero_slices
from mho.errors import ConfigError
from mho.formats import format_time, plural
from mho.program.container import read_program
from mho.program.program import Program
from mho.simulation.reload_program_timing import ReloadProgramTiming
from mho.simulation.timing import ProgramTiming, time_program
from mho.terminal import Console, echo

if TYPE_CHECKING:
    from mho.evaluation.chip import Outputs
    from mho.scheduling.gantt import GanttChart
    from mho.simulation.plan_timing import PlanTiming


class Engine(StrEnum):
    """Which engine runs the program; both give the same bits."""

    EXECUTOR = "executor"
    INTERPRETER = "interpreter"


InputsOption = Annotated[Path | None, typer.Option(metavar="X.npz", help="Arrays [N, ...] by the names of the inputs.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="Y.npz", help="Where to write the outputs.")
]
EngineOption = Annotated[Engine, typer.Option(help="executor: fast. interpreter: instruction by instruction, slow.")]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=MOST,
        help="Samples at once, by default what suits the engine; changes results only where reads are noisy.",
    ),
]
CorrectionsOption = Annotated[
    Path | None, typer.Option(metavar="C.npz", help="Corrections of channels, of `mho correct-channels`.")
]
ZeroSlicesOption = Annotated[
    bool, typer.Option("--skip-zero-slices", help="Print which MVMs could be skipped: all their slices are zero.")
]
TimingOption = Annotated[
    bool, typer.Option("--timing", help="Print when every layer works, and what it waits for. Needs no inputs.")
]
TimedBatchOption = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=MOST, help="Inputs of one batch, with --timing of a chip; by default 1."),
]
TraceOption = Annotated[
    Path | None, typer.Option(metavar="FILE.json", help="Write a trace of a chip for Perfetto, with --timing.")
]


def simulate(
    program: ProgramArgument,
    inputs: InputsOption = None,
    output: OutputOption = None,
    engine: EngineOption = Engine.EXECUTOR,
    batch_size: BatchSizeOption = None,
    seed: NoisySeedOption = None,
    hardware: HardwareOption = None,
    elapsed_s: ElapsedOption = None,
    temperature_k: TemperatureOption = None,
    reads: ReadsOption = None,
    placement: PlacementOption = None,
    ranges: RangesOption = None,
    corrections: CorrectionsOption = None,
    transferred: TransferredOption = False,
    skip_zero_slices: ZeroSlicesOption = False,
    timing: TimingOption = False,
    batch: TimedBatchOption = None,
    trace: TraceOption = None,
    device: DeviceOption = None,
    compare: CompareOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a program on inputs, and print how long the accelerator would take.

    The latency is that of one sample, from the program's own instructions. A program of several crossbars is timed by
    its schedule, and the interpreter runs it in the order of the schedule. With
    --skip-zero-slices, the times of these samples on hardware that skips MVMs all of whose driven rows carry a zero
    input slice are printed too. With --seed, cells, wires and converters are those of the hardware, and differences
    from the exact integers are printed. With --device, hardware of your own takes the place of the crossbars.
    """
    interpreter = engine if engine is Engine.INTERPRETER else None
    of_inputs = {"output": output, "skip-zero-slices": skip_zero_slices or None, "batch-size": batch_size}
    others = {"seed": seed, "engine": interpreter, **of_inputs, "output": None, "timing": timing}
    check_device_options(device, compare=compare, others=others)
    _check_options(
        inputs, {**of_inputs, "engine": interpreter, "device": device}, timing=timing, batch=batch, trace=trace
    )
    given: dict[str, Any] = {"hardware": hardware, "elapsed-s": elapsed_s, "temperature-k": temperature_k}
    given |= {"reads": reads, "placement": placement, "ranges": ranges, "corrections": corrections}
    check_seed(seed, given)
    _check_chip_options(inputs, engine, seed)
    if transferred and ranges is None and corrections is None:
        raise ConfigError("--transferred is of ranges and corrections", expected="--ranges or --corrections beside it")
    check_outputs({"--output": output, "--trace": trace}, (program, inputs, hardware, ranges, corrections))
    loaded = read_program(program)
    figures: dict[str, Any] = {"program": loaded.name, "accelerator": loaded.accelerator.name}
    with redirect_stdout(io.StringIO()) if as_json else nullcontext():
        if timing:
            figures["timing"] = _print_timing(loaded, batch, trace)
        if inputs is not None:
            samples = Samples.read(inputs, loaded)
            samples.check(loaded)
            if device is not None:
                results = _run_on_device(loaded, samples, device, figures, compare=compare)
            elif seed is None:
                results = _run(loaded, samples, engine, batch_size, figures)
            else:
                state: dict[str, Any] = {"elapsed_s": elapsed_s, "temperature_k": temperature_k, "reads": reads}
                chip = load_chip(seed, hardware, placement=placement, **state)
                files = _Files(ranges, corrections, transferred)
                results = _run_on_chip(loaded, samples, chip, files, batch_size, figures)
            _write(results, output)
            if skip_zero_slices:
                found = mho.count_zero_slices(loaded, samples.inputs, batch_size=batch_size)
                figures["zero_slices"] = print_zero_slices(found)
    if as_json:
        echo(json.dumps(figures, indent=2))


@dataclass(frozen=True)
class _Files:
    """Ranges and corrections that a chip gets, and whether they may come from elsewhere."""

    ranges: Path | None
    corrections: Path | None
    transferred: bool

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put the file in front of what is wrong with ranges or corrections."""
        try:
            yield
        except ConfigError as error:
            kinds = {"the ranges of ADCs": self.ranges, "the corrections": self.corrections}
            file = next((file for start, file in kinds.items() if file and error.what.startswith(start)), None)
            if file is None:
                raise
            where = f"{file}: on {error.where}"
            raise ConfigError(error.what, where=where, expected=error.expected, hint=error.hint) from error


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


def _check_chip_options(inputs: Path | None, engine: Engine, seed: int | None) -> None:
    if seed is not None and inputs is None:
        raise ConfigError("--seed is of the chip that runs the inputs", expected="--inputs X.npz beside it")
    if seed is not None and engine is Engine.INTERPRETER:
        raise ConfigError("a chip is simulated by an engine of its own", hint="leave out --engine")


def _print_timing(program: Program, batch: int | None, trace: Path | None) -> dict[str, Any]:
    """Print when layers work, and return figures of it."""
    from mho.report.timing_text import (
        describe_reload_timing,
        print_chip_timing,
        print_crossbar_timing,
        print_reload_timing,
    )
    from mho.scheduling.gantt import BARS
    from mho.simulation.chip_gantt import draw_simulation
    from mho.simulation.timing import time_on_chip

    console = Console()
    if program.schedule is None:
        if batch not in (None, 1) or trace is not None:
            option = "--batch" if trace is None else "--trace"
            raise ConfigError(f"{option} is for programs that carry a schedule", where=program.name)
        on_crossbar = time_program(program)
        print_crossbar_timing(console, program, on_crossbar)
        return {"latency_ps": on_crossbar.latency_ps, "layers": [asdict(layer) for layer in on_crossbar.layers]}
    timing = time_on_chip(program, batch=batch, with_spans=trace is not None)
    if isinstance(timing, ReloadProgramTiming):
        print_reload_timing(console, program, timing)
        if trace is not None:
            _write_trace(program, timing.draw_gantt(), trace)
        return describe_reload_timing(timing)
    print_chip_timing(console, program, timing)
    if trace is not None:
        _write_trace(program, draw_simulation(timing.graph, timing.plan, timing.batch, BARS), trace)
    times = {"latency_ps": timing.latency_ps, "interval_ps": timing.steady.interval_ps}
    layers = [{"name": one.name, "start_ps": one.start_ps, "finish_ps": one.finish_ps} for one in timing.batch.layers]
    return {**times, "total_ps": timing.batch.total_ps, "layers": layers}


def _write_trace(program: Program, chart: GanttChart, trace: Path) -> None:
    from mho.report.trace import write_trace

    write_trace(program.name, program.accelerator.name, chart, trace)
    echo(f"trace in {trace} (open it in https://ui.perfetto.dev)")


def _run(loaded: Program, samples: Samples, engine: Engine, batch_size: int | None, figures: dict[str, Any]) -> Outputs:
    """Run a program exactly, print what came out, and add its figures."""
    start = time.perf_counter()
    results = mho.simulate(loaded, samples.inputs, engine=engine.value, batch_size=batch_size)
    seconds = time.perf_counter() - start
    _print_outputs(loaded, results, figures)
    if loaded.accelerator.converters.has_calibrated_adc:
        echo(
            f"the ADCs of {loaded.accelerator.name} are calibrated: these outputs are those of ideal ADCs; --seed N "
            "simulates a chip"
        )
    _print_end(samples, seconds, engine.value, figures, with_exact_integers=results)
    return results


def _run_on_device(
    loaded: Program, samples: Samples, device: str, figures: dict[str, Any], *, compare: bool
) -> Outputs:
    """Run a program on a device, print what came out beside exact integers, and add its figures."""
    results, seconds = run_on_device(loaded, samples, device, figures, compare=compare)
    exact = mho.simulate(loaded, samples.inputs)
    _print_outputs(loaded, results, figures)
    for output, found in results.items():
        differ = int((found != exact[output]).reshape(len(found), -1).any(axis=1).sum())
        echo(f"output {output}: {differ:,} of {len(found):,} samples differ from exact integers")
    _print_end(samples, seconds, "device", figures, on_the_device=results, with_exact_integers=exact)
    return results


def _run_on_chip(
    loaded: Program,
    samples: Samples,
    chip: Chip,
    files: _Files,
    batch_size: int | None,
    figures: dict[str, Any],
) -> Outputs:
    """Run a program on a chip, print what differs from exact integers, and add figures of it."""
    from mho.evaluation.chip import Difference, write_chip
    from mho.simulation.analog import DEFAULT_BATCH
    from mho.simulation.channel_corrections import read_corrections
    from mho.simulation.chip_origin import ChipOrigin

    start, hardware = time.perf_counter(), chip.fit(loaded)
    own_ranges = as_ranges(files.ranges)
    own_corrections = None if files.corrections is None else read_corrections(files.corrections)
    with files.named():
        executor = write_chip(
            loaded,
            chip.seed,
            hardware=hardware,
            conditions=chip.conditions,
            ranges=own_ranges,
            corrections=own_corrections,
            transferred=files.transferred,
        )
    results = executor.run(samples.inputs, batch_size or DEFAULT_BATCH)
    seconds = time.perf_counter() - start
    exact = mho.simulate(loaded, samples.inputs)
    _print_outputs(loaded, results, figures)
    place = loaded, chip.seed, executor.hardware, chip.conditions
    if own_ranges is not None:
        _echo(tell_elsewhere("ranges", own_ranges.differences(*place)))
    if own_corrections is not None:
        here = ChipOrigin.of(*place, None if own_ranges is None else own_ranges.digest)
        _echo(tell_elsewhere("corrections", own_corrections.origin.differences(here)))
    _echo(describe_ideal(hardware, chip.conditions))
    _echo(describe_pulses(hardware))
    _echo(describe_faults(hardware, executor.faults))
    gaps = {output: Difference.of(found, exact[output]) for output, found in results.items()}
    for output, gap in gaps.items():
        echo(
            f"chip {chip.seed} of {hardware.name}, {output}: {gap.others:,} of {gap.samples:,} samples "
            f"({100 * gap.share:.2f} %) have another largest output than with exact integers; "
            f"deviation {100 * gap.deviation:.2f} %"
        )
    figures |= {"chip": chip.seed, "hardware": hardware.name}
    figures["differences"] = {output: {**asdict(gap), "share": gap.share} for output, gap in gaps.items()}
    _print_end(samples, seconds, "chip", figures, on_the_chip=results, with_exact_integers=exact)
    return results


def _print_outputs(program: Program, results: Outputs, figures: dict[str, Any]) -> None:
    timing = mho.timing(program)
    figures["latency_ps"] = timing.latency_ps
    echo(_latency(program, timing))
    for name, array in results.items():
        echo(f"output {name} {list(array.shape)}")


def _print_end(samples: Samples, seconds: float, engine: str, figures: dict[str, Any], **outputs: Outputs) -> None:
    """Print how accurate outputs are, where there are labels, and how long they took; add the same to the figures."""
    count = next(iter(next(iter(outputs.values())).values())).shape[0]
    _echo(samples.tell_accuracy(**outputs))
    echo(f"simulated {count:,} samples in {seconds:.2f} s ({engine})")
    figures |= {"engine": engine, "samples": count, "seconds": seconds}
    if samples.labels is not None:
        figures["accuracy"] = {name: samples.labels.accuracy(one) for name, one in outputs.items()}


def _echo(text: str | None) -> None:
    if text is not None:
        echo(text)


def _write(results: Outputs, output: Path | None) -> None:
    if output is None:
        return
    from mho.array_files import write_arrays

    write_arrays(output, results)
    echo(f"written to {output}")


def _latency(program: Program, timing: ProgramTiming | PlanTiming | ReloadProgramTiming) -> str:
    per = "a sample"
    if isinstance(timing, ProgramTiming):
        what = f"{plural(timing.writes, 'crossbar write')}, {plural(timing.mvms, 'MVM')}"
    else:
        assert program.schedule is not None, "a program on several crossbars has a schedule"
        what = f"{program.schedule.used_crossbars:,} crossbars"
    if isinstance(timing, ReloadProgramTiming):
        per = "a sample" if timing.batch == 1 else f"a batch of {timing.batch:,}"
        what += f", {plural(timing.writes, 'write')}"
    return f"latency {format_time(timing.latency_ps / 1e6)} {per} on {program.accelerator.name}: {what}"
