import pytest
from accelerators import make_accelerator

from mho.hardware.loading import accelerator_from_json
from mho.report.hardware_words import tell_adc, tell_conversion, tell_times

KEY = "converters.adc_latency_us_per_bit"


def with_source(text, **options):
    content = make_accelerator(**options).to_json()
    return accelerator_from_json({**content, "sources": {KEY: text}}, where="test")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"adc_bits": 9}, "9-bit ADC"),
        ({"rows": 256, "cell_bits": 4}, "ideal ADC (needs 12 bits)"),
        ({"rows": 256, "cell_bits": 4, "crossbar": {"active_rows": 16}}, "ideal ADC (needs 8 bits)"),
        ({"rows": 256, "cell_bits": 8, "dac_bits": 8}, "ideal ADC (needs 24 bits)"),
    ],
)
def test_an_ideal_adc_tells_the_bits_that_it_stands_for(options, words):
    assert tell_adc(make_accelerator(**options)) == words


def test_one_bit_is_reported_in_the_singular():
    allowed = {"encodings": ["offset"]}
    hardware = make_accelerator(1, cell_bits=1, encoding="offset", mapping={"allowed": allowed})
    assert tell_adc(hardware) == "ideal ADC (needs 1 bit)"


def test_the_time_of_a_conversion_is_reported_where_there_is_one():
    timed = make_accelerator(converters={"adc_latency_us_per_bit": 0.013})
    assert tell_times(timed) == "write 53.000007 us, MVM 1.300001 us, conversion 0.013 us a bit"
    assert tell_times(make_accelerator()) == "write 53.000007 us, MVM 1.300001 us"
    pulsed = make_accelerator(dac_bits=3, converters={"dac_latency_us_per_step": 0.1})
    assert tell_times(pulsed) == "write 53.000007 us, MVM 2.000001 us", "the longest pulse has seven steps"
    assert tell_conversion(timed) == "ideal ADC (needs 5 bits); time of conversions: 0.013 us a bit"


@pytest.mark.parametrize(
    ("hardware", "words"),
    [
        (make_accelerator(), "unspecified, they take no time of their own"),
        (with_source("yours to set: none"), "unspecified, they take no time of their own"),
        (with_source("a paper: a read takes 1 us with its conversion", adc_bits=9), "within the MVM"),
    ],
)
def test_no_time_is_within_the_mvm_only_where_a_source_says_so(hardware, words):
    assert tell_conversion(hardware).endswith(f"; time of conversions: {words}")
