"""What ``mho simulate`` prints of chips and zero slices, in words and as figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mho.array.conductances import Conditions
from mho.array.nonidealities import is_ideal
from mho.formats import format_time
from mho.hardware.array import Compensation, Placement
from mho.hardware.spec import Accelerator
from mho.hardware.write_verify import WriteVerify
from mho.terminal import echo

if TYPE_CHECKING:
    from mho.simulation.analog_faults import FaultFigures
    from mho.simulation.zero_slices import ZeroSlices


def describe_ideal(hardware: Accelerator, conditions: Conditions) -> str | None:
    """Return that a chip computes exactly, as its hardware has no errors; None where it has some."""
    if not is_ideal(hardware, conditions):
        return None
    return f"{hardware.name} describes no errors: every chip of it gives the exact integers; --hardware names another"


def describe_pulses(hardware: Accelerator) -> str | None:
    """Return what programming by pulses takes, in words; None where pulses are unspecified."""
    pulses = WriteVerify.of(hardware.array)
    if pulses is None:
        return None
    return (
        f"written by {pulses.count_for_row(1):.2f} pulses a cell on average, at most {len(pulses.deviations):,}; "
        f"{hardware.write_latency_us:,.2f} us a crossbar; {100 * pulses.shares_left[-1]:.3g} % of cells stay beyond "
        "array.verify_tolerance"
    )


def describe_faults(hardware: Accelerator, faults: FaultFigures) -> str | None:
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


def print_zero_slices(found: ZeroSlices) -> dict[str, Any]:
    """Print which MVMs could be skipped, and return their figures."""
    width = max([len("layer"), *(len(layer.name) for layer in found.layers)])
    echo(f"\n{'layer':<{width}}  {'MVMs a sample':>13}  skipped (zero slices)")
    for layer in found.layers:
        echo(f"{layer.name:<{width}}  {layer.mvms:>13,}  {100 * layer.share:6.2f} %")
    echo(f"{'all':<{width}}  {found.mvms:>13,}  {100 * found.share:6.2f} %")
    latencies_ps = found.latencies_ps
    mean, least, most = (
        format_time(value / 1e6) for value in (latencies_ps.mean(), latencies_ps.min(), latencies_ps.max())
    )
    echo(
        f"latency with zero slices skipped: {mean} a sample on average, {least} at least, {most} at most "
        f"({format_time(found.latency_ps / 1e6)} without skipping)"
    )
    return {
        "layers": {layer.name: {"mvms": layer.mvms, "skipped_share": layer.share} for layer in found.layers},
        "skipped_share": found.share,
        "latency_ps": {
            "mean": float(latencies_ps.mean()),
            "least": int(latencies_ps.min()),
            "most": int(latencies_ps.max()),
        },
    }
