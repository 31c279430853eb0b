"""An accelerator's converters in words: the bits of its ADC, and what conversions take of time."""

from __future__ import annotations

from mho.formats import plural
from mho.hardware.converters import ConversionTime
from mho.hardware.spec import Accelerator
from mho.mapping.adc_resolution import full_adc_bits

CONVERSION_TIMES = {
    ConversionTime.WITHIN_MVM: "time of conversions: within the MVM",
    ConversionTime.UNSPECIFIED: "time of conversions: unspecified, they take no time of their own",
}
"""The time of conversions where it is no number."""


def tell_adc(accelerator: Accelerator) -> str:
    """Return what the ADC is; of an ideal one, the bits that it stands for: ``ideal ADC (needs 12 bits)``."""
    converters = accelerator.converters
    if not converters.has_ideal_adc:
        return f"{converters.adc_bits}-bit ADC"
    bits = full_adc_bits(accelerator)
    return f"ideal ADC (needs {plural(bits, 'bit')})"


def tell_times(accelerator: Accelerator) -> str:
    """Return the times of one crossbar: ``write 56 us, MVM 1.4 us``, and that of conversions where it is specified."""
    per_bit = accelerator.converters.adc_latency_us_per_bit
    times = f"write {accelerator.write_latency_us} us, MVM {accelerator.mvm_latency_us} us"
    return times + (f", conversion {per_bit} us a bit" if per_bit else "")


def tell_conversion_time(accelerator: Accelerator) -> str:
    """Return what conversions take of time, or that it is unspecified."""
    words = f"time of conversions: {accelerator.converters.adc_latency_us_per_bit} us a bit"
    return CONVERSION_TIMES.get(accelerator.conversion_time, words)


def tell_conversion(accelerator: Accelerator) -> str:
    """Return what the ADC is, and what conversions take of time."""
    return f"{tell_adc(accelerator)}; {tell_conversion_time(accelerator)}"
