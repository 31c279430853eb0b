"""What acts: keys are those of the tables, and what needs nothing always acts."""

from __future__ import annotations

import pytest

from mho.array.conductances import Conditions
from mho.array.effects import NEEDS, acts
from mho.hardware.array import Array
from mho.hardware.converters import Converters

CONVERTERS = Converters(dac_bits=1, adc_bits="ideal")


def test_keys_are_those_of_the_tables():
    fields = {"array": Array.model_fields, "converters": Converters.model_fields}
    fields["conditions"] = Conditions.__dataclass_fields__
    assert all(key.split(".")[1] in fields[key.split(".")[0]] for key in NEEDS)


def test_errors_always_act_and_what_belongs_to_them_acts_beside_them():
    assert acts("array.read_noise", Array(), CONVERTERS, Conditions())
    assert not acts("array.read_noise_of", Array(), CONVERTERS, Conditions())
    assert acts("array.read_noise_of", Array(read_noise=0.1), CONVERTERS, Conditions())


@pytest.mark.parametrize(
    ("conditions", "does"),
    [(Conditions(), False), (Conditions(50), True), (Conditions(None, 350), True), (Conditions(None, 250), False)],
)
def test_drift_acts_where_time_passes(conditions, does):
    array = Array(drift_exponent=0.1, drift_activation_ev=0.3)
    assert acts("array.drift_exponent", array, CONVERTERS, conditions) is does
