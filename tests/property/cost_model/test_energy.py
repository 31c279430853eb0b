"""Energy adds up, never falls with more bits, and is zero where nothing takes any."""

from __future__ import annotations

from dataclasses import fields

from accelerators import accelerators
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mho.cost_model.energy import Component, add_energies, energy_network, price_activity
from mho.cost_model.latency import cost_network
from mho.hardware.energy import Energy as UnitEnergies
from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import Encoding
from mho.mapping.activity import Activity
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy

ADC_KEYS = ("adc_pj", "adc_pj_per_bit", "adc_supply_v")
OTHER_KEYS = tuple(key for key in UnitEnergies.model_fields if key not in ADC_KEYS)

figures = st.decimals(0, 1000, places=6)
quick = settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def telling_accelerators(draw, figures=figures):
    content = draw(accelerators()).to_json()
    stated = draw(st.sets(st.sampled_from(OTHER_KEYS)))
    content["energy"] = {key: draw(figures) for key in OTHER_KEYS if key in stated}
    if (adc := draw(st.sampled_from([None, *ADC_KEYS[:2]]))) is not None:
        content["energy"][adc] = draw(figures)
    return accelerator_from_json(content, where="drawn")


@st.composite
def layers(draw, name="layer"):
    kind = draw(st.sampled_from(["linear", "matmul"]))
    sizes = [draw(st.integers(1, 60)), draw(st.integers(1, 60)), draw(st.integers(1, 9))]
    return MvmLayer(name, kind, *sizes, draw(st.integers(1, 4)) if kind == "matmul" else 1)


activities = st.builds(Activity, *[st.integers(0, 10**9)] * len(fields(Activity)))
encodings = st.sampled_from(Encoding)
widths = st.builds(BitWidths, st.integers(1, 6), st.integers(1, 6))


def energy_of(network, hardware, bits, model=MappingModel.PAPER, batch=1):
    policy = Policy.uniform([layer.name for layer in network], bits)
    return energy_network(cost_network(network, policy, hardware, model=model, batch=batch), hardware)


@given(telling_accelerators(), activities, activities, encodings)
@quick
def test_two_activities_take_what_each_takes(hardware, one, other, encoding):
    together = price_activity(one + other, hardware, encoding)
    apart = price_activity(one, hardware, encoding) + price_activity(other, hardware, encoding)
    assert together.unspecified == apart.unspecified
    assert together.component_aj.keys() == apart.component_aj.keys()
    for component, energy in together.component_aj.items():
        assert abs(energy - apart.component_aj[component]) <= 2  # each is rounded to a whole attojoule, or two


@given(telling_accelerators(), layers("a"), layers("b"), widths, st.sampled_from(MappingModel), st.integers(1, 3))
@quick
def test_layers_add_up_to_the_network(hardware, one, other, bits, model, batch):
    whole = energy_of((one, other), hardware, bits, model, batch)
    assert whole.energy == add_energies(layer.energy for layer in whole.layers)
    alone = [energy_of((layer,), hardware, bits, MappingModel.PAPER, batch).energy for layer in (one, other)]
    if model is MappingModel.PAPER:
        assert whole.energy == alone[0] + alone[1]


@given(telling_accelerators(), layers(), st.integers(1, 5), st.integers(1, 5), st.booleans())
@quick
def test_more_bits_never_take_less(hardware, layer, weight_bits, act_bits, is_weight):
    wider = BitWidths(weight_bits + is_weight, act_bits + (not is_weight))
    less = energy_of((layer,), hardware, BitWidths(weight_bits, act_bits)).energy
    more = energy_of((layer,), hardware, wider).energy
    assert less.unspecified == more.unspecified
    assert all(more.component_aj[component] >= energy for component, energy in less.component_aj.items())


@given(telling_accelerators(st.just(0)), layers(), widths, st.sampled_from(MappingModel))
@quick
def test_nothing_is_taken_where_every_unit_energy_is_zero(hardware, layer, bits, model):
    energy = energy_of((layer,), hardware, bits, model).energy
    assert energy.total_aj == 0
    assert not set(energy.component_aj) & set(energy.unspecified)


@given(telling_accelerators(), activities, encodings)
@quick
def test_a_component_is_specified_or_missing_where_it_acts_and_neither_where_not(hardware, activity, encoding):
    energy = price_activity(activity, hardware, encoding)
    does = {
        Component.CROSSBAR: activity.reads or activity.cell_reads,
        Component.ADC: activity.conversions,
        Component.DAC: activity.driven_rows,
        Component.WRITE: activity.cell_writes,
        Component.DIGITAL: activity.operations,
        Component.BUFFER: activity.buffer_bits,
        Component.INTERCONNECT: activity.hop_bits,
        Component.MEMORY: activity.memory_bits,
    }
    for component, count in does.items():
        assert (component in energy.component_aj) + (component in energy.unspecified) == bool(count)
