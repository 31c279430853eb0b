"""What an ADC must resolve so that every column sum is read exactly, and what conversions take for it."""

from __future__ import annotations

from mho.errors import MappingError
from mho.hardware.converters import ColumnDifference
from mho.hardware.spec import Accelerator, Encoding
from mho.policy import BitWidths


def layer_hardware(accelerator: Accelerator, bits: BitWidths) -> Accelerator:
    """Return the hardware as a layer of these widths sees it: ADCs that convert with the layer's own bits.

    Mapping, time, energy and sums of a layer all follow from it.

    Raises:
        MappingError: the layer has ADC bits of its own, and ADCs are not calibrated or do not have so many.
    """
    own, wanted = accelerator.converters.adc_bits, bits.adc_bits
    if wanted is None or wanted == own:
        return accelerator
    if isinstance(own, str) or not accelerator.converters.has_calibrated_adc:
        raise MappingError(
            f"the layer's sums are to be converted with {wanted} bits, and ADCs are "
            f"{'ideal' if isinstance(own, str) else 'to read every sum over their full scale'}",
            where=accelerator.name,
            expected="calibrated ADCs: converters.adc_bits as a number and converters.adc_range",
            hint='set converters.adc_range to "calibrated-columns", or leave adc_bits out of the policy',
        )
    if wanted > own:
        raise MappingError(
            f"the layer's sums are to be converted with {wanted} bits",
            where=accelerator.name,
            expected=f"at most converters.adc_bits = {own}",
        )
    return accelerator.with_adc_bits(wanted)


def largest_count(accelerator: Accelerator, encoding: Encoding, rows: int) -> int:
    """Return the largest column sum (absolute value) of `rows` driven rows: all cells and all drives at their maximum.

    Of the two rows of an input in differential rows, one holds zero.
    """
    inputs = -(-rows // 2) if encoding is Encoding.DIFFERENTIAL_ROWS else rows
    return inputs * ((1 << accelerator.crossbar.cell_bits) - 1) * ((1 << accelerator.converters.dac_bits) - 1)


def required_adc_bits(accelerator: Accelerator, encoding: Encoding, rows: int) -> int:
    """Return the bits that tell every column sum of `rows` rows apart; sums of both signs need one more."""
    return largest_count(accelerator, encoding, rows).bit_length() + int(_has_signed_sums(accelerator, encoding))


def full_adc_bits(accelerator: Accelerator) -> int:
    """Return the bits that tell apart every sum of all rows that may be active at once, in every allowed encoding."""
    encodings, rows = accelerator.mapping.allowed.encodings, accelerator.crossbar.rows_at_once
    return max(required_adc_bits(accelerator, encoding, rows) for encoding in encodings)


def conversion_bits(accelerator: Accelerator, encoding: Encoding) -> int:
    """Return the bits that one conversion takes time and energy for.

    An ideal ADC is taken to have those that tell apart every sum of as many rows as may be active at once.
    """
    bits = accelerator.converters.adc_bits
    return required_adc_bits(accelerator, encoding, accelerator.crossbar.rows_at_once) if bits == "ideal" else bits


def conversion_latency_ps(accelerator: Accelerator, encoding: Encoding) -> int:
    """Return the time of one conversion beyond what the MVM's latency holds, ps."""
    return accelerator.converters.adc_latency_ps_per_bit * conversion_bits(accelerator, encoding)


def converts_differences(accelerator: Accelerator, encoding: Encoding) -> bool:
    """Tell whether the difference of two columns of a crossbar is converted, and not each of them."""
    is_analog = accelerator.converters.column_difference is ColumnDifference.ANALOG
    return is_analog and encoding is Encoding.DIFFERENTIAL_COLUMNS and accelerator.crossbar.cols > 1


def _has_signed_sums(accelerator: Accelerator, encoding: Encoding) -> bool:
    """Tell whether codes have a sign: that of rows, or that of the difference of two columns."""
    return encoding is Encoding.DIFFERENTIAL_ROWS or converts_differences(accelerator, encoding)


def resolves_all_sums(accelerator: Accelerator) -> bool:
    """Tell whether the ADC is to read every sum that a program asks for: one that data calibrates need not."""
    return not accelerator.converters.has_calibrated_adc


def resolvable_rows(accelerator: Accelerator, encoding: Encoding) -> int:
    """Return how many rows one MVM may drive in an encoding: those that may be active, as far as the ADC resolves them.

    A calibrated ADC does not limit them.

    Raises:
        MappingError: the ADC does not resolve a single row.
    """
    crossbar, adc_bits = accelerator.crossbar, accelerator.converters.adc_bits
    if adc_bits == "ideal" or not resolves_all_sums(accelerator):
        return crossbar.rows_at_once
    of_one_row = ((1 << crossbar.cell_bits) - 1) * ((1 << accelerator.converters.dac_bits) - 1)
    codes = 1 << (adc_bits - _has_signed_sums(accelerator, encoding))
    # Of the two rows of an input in differential rows, one holds zero.
    rows = (codes - 1) // of_one_row * (2 if encoding is Encoding.DIFFERENTIAL_ROWS else 1)
    if rows < 1:
        raise MappingError(
            f"a row of {crossbar.cell_bits}-bit cells and {accelerator.converters.dac_bits}-bit DACs alone reaches "
            f"{of_one_row}, which an ADC of {adc_bits} bits does not resolve in {encoding}",
            where=accelerator.name,
            hint="set converters.adc_bits higher or to 'ideal', or lower crossbar.cell_bits or converters.dac_bits",
        )
    return min(rows, crossbar.rows_at_once)


def check_adc(accelerator: Accelerator, encoding: Encoding, rows: int, *, where: str) -> None:
    """Raise `MappingError` where an ADC that is to resolve all sums does not resolve the largest of `rows` rows."""
    adc_bits = accelerator.converters.adc_bits
    if adc_bits == "ideal" or not resolves_all_sums(accelerator):
        return
    if required_adc_bits(accelerator, encoding, rows) <= adc_bits:
        return
    raise MappingError(
        f"column sums reach {largest_count(accelerator, encoding, rows)} ({rows} rows, "
        f"{accelerator.crossbar.cell_bits}-bit cells, {accelerator.converters.dac_bits}-bit DAC) "
        f"and need an ADC of {required_adc_bits(accelerator, encoding, rows)} bits",
        where=where,
        expected=f"at most what converters.adc_bits = {adc_bits} resolves",
        hint="set converters.adc_bits higher or to 'ideal', lower crossbar.rows, crossbar.cell_bits or "
        "converters.dac_bits, or let data set the ranges (converters.adc_range), which rounds sums",
    )
