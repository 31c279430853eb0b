import copy
import pickle
from decimal import Decimal

import pytest
from pydantic import ValidationError

from mho.errors import ConfigError
from mho.hardware.converters import ConversionTime
from mho.hardware.loading import accelerator_from_json, load_accelerator
from mho.hardware.spec import Accelerator

PRESET = "pelke2026-4bit"


def content_with(key, value):
    content = load_accelerator(PRESET).to_json()
    section, name = key.split(".")
    content[section][name] = value
    return content


def test_times_are_whole_picoseconds():
    accelerator = load_accelerator(PRESET)
    assert (accelerator.write_latency_ps, accelerator.mvm_latency_ps) == (56_000_000, 1_400_000)


@pytest.mark.parametrize(
    ("written", "picoseconds"),
    [(1.4, 1_400_000), (Decimal("0.000001"), 1), (3, 3_000_000), (0.1, 100_000), (999999.999999, 999999999999)],
)
def test_a_time_is_what_is_written_not_what_a_float_holds(written, picoseconds):
    accelerator = accelerator_from_json(content_with("crossbar.mvm_latency_us", written), where="test")
    assert accelerator.mvm_latency_ps == picoseconds


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("crossbar.rows", 0),
        ("crossbar.rows", 65537),
        ("crossbar.cols", "256"),
        ("crossbar.cols", 256.0),
        ("crossbar.cell_bits", 0),
        ("crossbar.cell_bits", 9),
        ("crossbar.cell_bits", True),
        ("crossbar.write_latency_us", -1),
        ("crossbar.write_latency_us", Decimal("0.0000001")),
        ("crossbar.write_latency_us", Decimal("1.4000000000000000000000000000000000000001")),
        ("crossbar.write_latency_us", Decimal("1e999999999")),
        ("crossbar.write_latency_us", Decimal("1e-999999999")),
        ("crossbar.mvm_latency_us", 0),
        ("crossbar.mvm_latency_us", "1.4"),
        ("crossbar.mvm_latency_us", True),
        ("crossbar.mvm_latency_us", float("nan")),
        ("crossbar.mvm_latency_us", Decimal("inf")),
        ("crossbar.mvm_latency_us", Decimal("sNaN")),
        ("crossbar.mvm_latency_us", 10**400),
        ("crossbar.mvm_latency_us", None),
        ("converters.dac_bits", 0),
        ("converters.dac_bits", 9),
        ("converters.adc_bits", 0),
        ("converters.adc_bits", 17),
        ("converters.adc_bits", "Ideal"),
        ("converters.adc_bits", True),
        ("mapping.encoding", "differential"),
        ("mapping.encoding", "twos-complement"),
        ("chip.crossbars", 0),
    ],
)
def test_an_impossible_value_is_an_error_that_names_file_key_and_range(key, value):
    with pytest.raises(ConfigError) as caught:
        accelerator_from_json(content_with(key, value), where="my.toml")
    assert str(caught.value).startswith(f"my.toml: {key}: is ")
    assert "expected: " in str(caught.value)


def test_other_encodings_than_the_papers_may_be_the_only_ones_that_are_allowed():
    content = content_with("mapping.allowed", {"encodings": ["twos-complement"]})
    assert not accelerator_from_json(content, where="test").mapping.allows_paper
    content = content_with("mapping.allowed", {"encodings": ["twos-complement", "offset"]})
    with pytest.raises(ConfigError, match=r"mapping\.allowed\.encodings does not name"):
        accelerator_from_json(content, where="test")


@pytest.mark.parametrize(("key", "low", "high"), [("cell_bits", 1, 8), ("rows", 1, 65536), ("cols", 1, 65536)])
def test_both_ends_of_a_range_are_possible(key, low, high):
    for value in (low, high):
        accelerator = accelerator_from_json(content_with(f"crossbar.{key}", value), where="test")
        assert getattr(accelerator.crossbar, key) == value


@pytest.mark.parametrize("adc_bits", ["ideal", 9])
def test_conversions_take_time_for_each_bit_of_any_adc(adc_bits):
    content = content_with("converters.adc_latency_us_per_bit", 0.013)
    content["converters"]["adc_bits"] = adc_bits
    accelerator = accelerator_from_json(content, where="test")
    assert accelerator.converters.adc_latency_ps_per_bit == 13_000
    assert accelerator.conversion_time is ConversionTime.SPECIFIED


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, ConversionTime.UNSPECIFIED),
        ("yours to set: nothing was found", ConversionTime.UNSPECIFIED),
        ("a paper: a read takes 1 us with its conversion", ConversionTime.WITHIN_MVM),
    ],
)
def test_a_source_says_whether_the_mvm_holds_the_time_of_conversions(source, expected):
    content = load_accelerator(PRESET).to_json()
    content["sources"] = {} if source is None else {"converters.adc_latency_us_per_bit": source}
    assert accelerator_from_json(content, where="test").conversion_time is expected


def test_a_source_for_a_key_that_does_not_exist_is_an_error():
    content = load_accelerator(PRESET).to_json()
    content["sources"] = {"crossbar.row": "nowhere"}
    with pytest.raises(ConfigError, match=r"'crossbar.row' \(did you mean 'crossbar.rows'\?\)"):
        accelerator_from_json(content, where="test")


def test_an_accelerator_cannot_be_changed():
    accelerator = load_accelerator(PRESET)
    with pytest.raises(ValidationError):
        accelerator.crossbar.rows = 1
    with pytest.raises(TypeError):
        accelerator.sources["crossbar.rows"] = "me"


def test_equal_accelerators_have_equal_hashes_and_survive_copies_and_processes():
    accelerator = load_accelerator(PRESET)
    again = accelerator_from_json(accelerator.to_json(), where="test")
    assert again == accelerator
    assert hash(again) == hash(accelerator)
    assert pickle.loads(pickle.dumps(accelerator)) == accelerator
    assert copy.deepcopy(accelerator) == accelerator


def test_every_field_is_described():
    def fields(model):
        for field in model.model_fields.values():
            yield field
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                yield from fields(field.annotation)

    assert all(field.description for field in fields(Accelerator))
