"""What an ADC must resolve, and how long conversions take for it: an ideal one has the bits that its rows need."""

import pytest
from accelerators import make_accelerator

from mho.hardware.spec import Encoding
from mho.mapping.adc_resolution import conversion_bits, conversion_latency_ps, full_adc_bits

COLUMNS, ROWS, OFFSET = Encoding.DIFFERENTIAL_COLUMNS, Encoding.DIFFERENTIAL_ROWS, Encoding.OFFSET
SIZES = {"rows": 256, "cols": 256, "cell_bits": 4}


def with_time(per_bit_us=0.001, *, difference="digital", allowed=None, **options):
    return make_accelerator(
        **SIZES,
        **options,
        converters={"adc_latency_us_per_bit": per_bit_us, "column_difference": difference},
        mapping={} if allowed is None else {"allowed": {"encodings": allowed}},
    )


@pytest.mark.parametrize(
    ("encoding", "difference", "bits"),
    [
        (COLUMNS, "digital", 12),  # 256 * 15 = 3840
        (OFFSET, "digital", 12),
        (ROWS, "digital", 12),  # 128 * 15 = 1920, and a sign
        (COLUMNS, "analog", 13),  # 3840, and a sign
        (OFFSET, "analog", 12),
    ],
)
def test_an_ideal_adc_takes_time_for_the_bits_that_tell_all_sums_apart(encoding, difference, bits):
    hardware = with_time(difference=difference)
    assert conversion_bits(hardware, encoding) == bits
    assert conversion_latency_ps(hardware, encoding) == bits * 1_000


def test_the_time_of_an_ideal_adc_grows_with_the_rows_at_once_by_the_bits_they_need():
    rows = (1, 2, 4, 16, 17, 18, 256)  # 15, 30, 60, 240, 255, 270, 3840
    times = [conversion_latency_ps(with_time(crossbar={"active_rows": active}), COLUMNS) for active in rows]
    assert times == [4_000, 5_000, 6_000, 8_000, 8_000, 9_000, 12_000]


def test_an_adc_with_a_number_of_bits_takes_time_for_these():
    assert conversion_latency_ps(with_time(adc_bits=7), COLUMNS) == 7_000


@pytest.mark.parametrize("adc_bits", ["ideal", 7])
def test_without_a_time_for_a_bit_conversions_take_none(adc_bits):
    assert conversion_latency_ps(with_time(0, adc_bits=adc_bits), COLUMNS) == 0


def test_the_bits_that_an_adc_needs_are_those_of_the_worst_allowed_encoding():
    assert full_adc_bits(with_time(difference="analog")) == 13
    assert full_adc_bits(with_time(difference="analog", encoding=OFFSET, allowed=["offset", "offset-digital"])) == 12
    assert full_adc_bits(with_time(adc_bits=7)) == 12
