"""What is possible in a description of an accelerator, but hardly meant: percent for shares, say."""

from __future__ import annotations

from decimal import Decimal

from mho.formats import plural
from mho.hardware.array import PartOf
from mho.hardware.spec import Accelerator


def list_implausible_values(accelerator: Accelerator) -> tuple[str, ...]:
    """Return what is hardly meant, a sentence each with its dotted key; nothing changes by it.

    Deviations of cells are parts of 1: above it they are percent, as a rule. More columns for an ADC than a crossbar
    has leave it one ADC.
    """
    array, found = accelerator.array, []
    written, read = array.programming_error_of, array.read_noise_of
    parts = {"programming_error": written, "pulse_error": written, "verify_tolerance": written, "read_noise": read}
    for key, part in parts.items():
        value = getattr(array, key)
        largest = max(value, default=Decimal(0)) if isinstance(value, tuple) else value
        if largest > 1:
            of = "range of conductances" if part is PartOf.RANGE else "conductance"
            found.append(f"array.{key} is {largest}: {100 * largest:f} % of the {of}; {largest} % is {largest / 100:f}")
    columns, cols = accelerator.converters.columns_per_adc, accelerator.crossbar.cols
    if columns > cols:
        found.append(f"converters.columns_per_adc is {columns}, and a crossbar has {plural(cols, 'column')}")
    return tuple(found)
