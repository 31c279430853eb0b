"""Widths and policies as values, texts and files; bits of ADCs stand there only where a layer has its own."""

from __future__ import annotations

import itertools
import json

import pytest

from mho.errors import InputFileError, PolicyError
from mho.policy import BitWidths, Policy, policy_schema


@pytest.mark.parametrize(
    ("text", "widths"), [("4/8", BitWidths(4, 8)), (" 4 / 8 ", BitWidths(4, 8)), ("4/8/6", BitWidths(4, 8, 6))]
)
def test_widths_are_read_from_text_and_written_as_it(text, widths):
    assert BitWidths.parse(text) == widths
    assert BitWidths.parse(str(widths)) == widths
    assert str(widths) == text.replace(" ", "")


@pytest.mark.parametrize("bits", [0, 17, True, "6", 6.0])
def test_impossible_bits_of_adcs_are_refused(bits):
    with pytest.raises(PolicyError, match="adc_bits"):
        BitWidths(4, 4, bits)


def test_widths_are_ordered_by_weight_activation_and_adc_and_those_of_the_accelerator_come_last():
    ordered = [BitWidths(3, 8, 2), BitWidths(4, 2), BitWidths(4, 4, 5), BitWidths(4, 4, 16), BitWidths(4, 4)]
    for shuffled in itertools.permutations(ordered):
        assert sorted(shuffled) == ordered


def test_a_policy_without_bits_of_adcs_is_written_without_them():
    policy = Policy({"a": BitWidths(4, 8), "b": BitWidths(8, 8)})
    layers = {"a": {"weight_bits": 4, "act_bits": 8}, "b": {"weight_bits": 8, "act_bits": 8}}
    assert json.dumps(policy.to_json()) == json.dumps({"layers": layers})
    assert policy.adc_bits == {}


def test_bits_of_adcs_come_back_from_a_file(tmp_path):
    policy = Policy({"a": BitWidths(4, 8, 5), "b": BitWidths(8, 8)})
    (tmp_path / "policy.json").write_text(json.dumps(policy.to_json()), encoding="utf-8")
    read = Policy.load(tmp_path / "policy.json")
    assert read == policy
    assert hash(read) == hash(policy) != hash(policy.with_adc_bits({"b": 8}))
    assert read.adc_bits == {"a": 5}
    assert set(policy_schema()["properties"]["layers"]["additionalProperties"]["properties"]) == set(
        policy.to_json()["layers"]["a"]
    )


@pytest.mark.parametrize("bits", [None, 0, 17, "6", True])
def test_a_file_with_impossible_bits_of_adcs_names_the_layer(bits):
    content = {"layers": {"a": {"weight_bits": 4, "act_bits": 8, "adc_bits": bits}}}
    with pytest.raises(PolicyError, match="adc_bits") as caught:
        Policy.from_json(content, where="p.json")
    assert caught.value.where == "p.json: a"


@pytest.mark.parametrize(
    "text", ["{", "[" * 10**5, r'{"layers": {"\ud800": {"weight_bits": 8, "act_bits": 8}}}', "1" * 5000]
)
def test_a_damaged_file_is_one_error(tmp_path, text):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(InputFileError, match=r"p\.json: not JSON"):
        Policy.load(tmp_path / "p.json")


@pytest.mark.parametrize(
    "text", ["9" * 5000 + "/8", "8/" + "9" * 5000, "8", "8/8/8/8", "a/8", "/", "4/8/", "4/8/ideal", "/4"]
)
def test_a_text_that_is_no_pair_of_widths_is_refused(text):
    with pytest.raises(PolicyError, match="not a pair"):
        BitWidths.parse(text)


@pytest.mark.parametrize(("text", "wrong"), [("4/8/0", "adc_bits is 0"), ("4/8/17", "adc_bits is 17"), ("4/9", "act")])
def test_a_text_with_a_width_out_of_range_is_refused(text, wrong):
    with pytest.raises(PolicyError, match=wrong):
        BitWidths.parse(text)


def test_a_key_that_is_nearly_adc_bits_is_refused():
    with pytest.raises(PolicyError, match="adc_bit'"):
        Policy.from_json({"layers": {"a": {"weight_bits": 4, "act_bits": 8, "adc_bit": 4}}})


def test_bits_of_adcs_are_given_by_layer():
    policy = Policy({"a": BitWidths(4, 8), "b": BitWidths(8, 8, 7)})
    assert policy.with_adc_bits({"a": 5}) == Policy({"a": BitWidths(4, 8, 5), "b": BitWidths(8, 8, 7)})
    with pytest.raises(PolicyError, match="unknown layer"):
        policy.with_adc_bits({"c": 5})
