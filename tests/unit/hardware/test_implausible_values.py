"""What is possible in a description but hardly meant is reported, and presets hold none of it."""

import pytest

from mho.hardware.implausible_values import list_implausible_values
from mho.hardware.loading import accelerator_from_json, list_presets, load_accelerator


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (
            "array",
            {"programming_error": 3},
            "array.programming_error is 3: 300 % of the range of conductances; 3 % is 0.03",
        ),
        ("array", {"read_noise": 3}, "array.read_noise is 3: 300 % of the conductance; 3 % is 0.03"),
        ("array", {"read_noise": 1}, None),
        ("converters", {"columns_per_adc": 300}, "converters.columns_per_adc is 300, and a crossbar has 256 columns"),
        ("converters", {"columns_per_adc": 256}, None),
    ],
)
def test_what_is_hardly_meant_is_reported(section, values, message):
    content = load_accelerator("pelke2026-4bit").to_json()
    content["crossbar"]["cols"] = 256
    content.setdefault(section, {}).update(values)
    assert list_implausible_values(accelerator_from_json(content, where="x")) == (() if message is None else (message,))


def test_presets_leave_no_doubts():
    assert [name for name in list_presets() if list_implausible_values(load_accelerator(name))] == []
