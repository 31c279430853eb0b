from decimal import Decimal

import pytest
from accelerators import make_accelerator

from mho.cost_model.area import AreaComponent, area_chip
from mho.hardware.loading import accelerator_from_json, load_accelerator

AREAS = {
    "crossbar_um2": 25,
    "adc_um2": 1200,
    "dac_um2": 0.5,
    "digital_um2": 300,
    "buffers_um2": 4000,
    "router_um2": 700,
    "outside_um2": 9000,
}


@pytest.mark.parametrize(("name", "square_millimetres"), [("isaac", 85.4), ("puma", 90.6), ("hermes-pcm", 63.1 / 1.55)])
def test_chips_are_as_large_as_their_papers_say(name, square_millimetres):
    assert area_chip(load_accelerator(name)).total_mm2 == pytest.approx(square_millimetres, rel=1e-3)


def test_a_tile_of_isaac_is_as_large_as_its_table_says():
    area = area_chip(load_accelerator("isaac"))
    tiles = area.total_mm2 - float(area.component_um2[AreaComponent.OUTSIDE]) / 1e6
    assert tiles / 168 == pytest.approx(0.372, rel=2e-3)


def test_each_component_by_hand():
    hardware = make_accelerator(
        rows=8, cols=10, crossbars=6, chip={"cores": 2}, converters={"columns_per_adc": 4}, area=AREAS
    )
    area = area_chip(hardware)
    assert area.component_um2 == {
        AreaComponent.CROSSBAR: 6 * 25,
        AreaComponent.ADC: 6 * 3 * 1200,
        AreaComponent.DAC: 6 * 8 * Decimal("0.5"),
        AreaComponent.DIGITAL: 2 * 300,
        AreaComponent.BUFFER: 2 * 4000,
        AreaComponent.INTERCONNECT: 2 * 700,
        AreaComponent.OUTSIDE: 9000,
    }
    assert area.unspecified == ()
    assert area.total_mm2 == (150 + 21600 + 24 + 600 + 8000 + 1400 + 9000) / 1e6


def test_spare_columns_take_the_area_of_as_many_others_and_of_their_adcs():
    hardware = make_accelerator(rows=8, cols=10, crossbars=6, converters={"columns_per_adc": 4}, area=AREAS)
    content = hardware.to_json()
    content["array"].update(spare_cols=3)
    area = area_chip(accelerator_from_json(content, where="test"))
    assert area.component_um2[AreaComponent.CROSSBAR] == 6 * Decimal("32.5")
    assert area.component_um2[AreaComponent.ADC] == 6 * 4 * 1200
    assert area.component_um2[AreaComponent.DAC] == area_chip(hardware).component_um2[AreaComponent.DAC]


@pytest.mark.parametrize(("difference", "shared", "adcs"), [("digital", 1, 9), ("analog", 1, 5), ("analog", 4, 3)])
def test_two_columns_share_an_adc_where_their_difference_is_converted(difference, shared, adcs):
    converters = {"column_difference": difference, "columns_per_adc": shared}
    area = area_chip(make_accelerator(cols=9, converters=converters, area={"adc_um2": 10}))
    assert area.component_um2[AreaComponent.ADC] == 10 * adcs


def test_what_there_is_and_is_not_specified_is_listed():
    one_core = area_chip(make_accelerator(area={"adc_um2": 1}))
    assert tuple(one_core.component_um2) == (AreaComponent.ADC,)
    assert AreaComponent.INTERCONNECT not in one_core.unspecified
    assert AreaComponent.OUTSIDE not in one_core.unspecified
    two_cores = area_chip(make_accelerator(crossbars=2, chip={"cores": 2}))
    assert AreaComponent.INTERCONNECT in two_cores.unspecified
    assert two_cores.total_mm2 == 0


def test_areas_are_frozen_values():
    area = area_chip(make_accelerator(area=AREAS))
    with pytest.raises(TypeError):
        area.component_um2[AreaComponent.ADC] = Decimal(0)
    assert area == area_chip(make_accelerator(area=AREAS))
    assert hash(area) == hash(area_chip(make_accelerator(area=AREAS)))
