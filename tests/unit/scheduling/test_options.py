import pytest
from accelerators import make_accelerator
from mapped_networks import LAYERS, conv

from mho.errors import PolicyError, ScheduleError
from mho.hardware.loading import load_accelerator
from mho.mapping.best_mapping import choose_mapping
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import LayerIntegers, MvmLayer
from mho.policy import BitWidths, Policy
from mho.scheduling.options import CopyCost, list_chip_options, list_network_options

BITS = BitWidths(8, 8)


def test_a_copy_may_take_more_crossbars_for_fewer_windows():
    accelerator = load_accelerator("pelke2026-4bit")
    options = list_chip_options(conv("layer", 64, 32, 28), BITS, accelerator, MappingModel.BEST)
    costs = [CopyCost.of(option, accelerator) for option in options]
    assert costs[0].crossbars < costs[-1].crossbars
    assert costs[0].work_ps > costs[-1].work_ps
    assert all(part.outputs.stop - part.outputs.start == 64 for option in options for part in option.parts)


def test_all_tiles_of_a_copy_are_read_at_the_same_time():
    layer = MvmLayer("layer", "linear", 16, 40, 3, 1)
    one, many = (make_accelerator(rows=64, cols=cols, cell_bits=8, dac_bits=8) for cols in (32, 8))
    costs = [CopyCost.of(list_chip_options(layer, BITS, one, MappingModel.PAPER)[0], one)]
    costs.append(CopyCost.of(list_chip_options(layer, BITS, many, MappingModel.PAPER)[0], many))
    assert [cost.crossbars for cost in costs] == [1, 4]
    assert [cost.window_ps for cost in costs] == [1_300_001, 1_300_001]


def test_conversions_of_an_ideal_adc_take_the_bits_that_its_rows_need():
    """40 rows of 15 at most, driven with 1 bit: 64 * 15 = 960 of all rows, 10 bits; 32 columns on 16 ADCs; 8 steps."""
    layer = MvmLayer("layer", "linear", 16, 40, 3, 1)
    converters = {"columns_per_adc": 2, "adc_latency_us_per_bit": 0.01}
    hardware = make_accelerator(rows=64, cols=32, cell_bits=4, converters=converters)
    (mapping,) = list_chip_options(layer, BitWidths(4, 8), hardware, MappingModel.PAPER)
    assert CopyCost.of(mapping, hardware).window_ps == 8 * (1_300_001 + 2 * 10 * 10_000)


def test_a_stored_activation_is_written_and_its_sums_are_charged():
    integers = LayerIntegers(0, 255, 8, takes_input_sums=False, takes_stored_sums=True)
    layer = MvmLayer("layer", "matmul", 5, 7, 3, 2, integers=integers)
    accelerator = make_accelerator(cell_bits=8, dac_bits=8, digital={"operation_latency_us": 0.001})
    (mapping,) = list_chip_options(layer, BITS, accelerator, MappingModel.PAPER)
    cost = CopyCost.of(mapping, accelerator)
    assert cost.write_ps == 53_000_007 + 2 * 5 * 7 * 1_000
    assert cost.windows == 3
    assert cost.window_ps == 1_300_001 + 2 * 10 * 1_000  # shift and add of ten columns, for each of two heads


def test_a_mapping_in_several_parts_is_not_for_a_chip():
    accelerator = make_accelerator(rows=32, cols=24)
    split = choose_mapping(MvmLayer("split", "linear", 40, 70, 16, 1), BitWidths(4, 3), accelerator)
    assert len(split.parts) > 1
    with pytest.raises(ScheduleError, match=r"layer split: mapped in \d parts"):
        CopyCost.of(split, accelerator)


@pytest.mark.parametrize("model", MappingModel)
def test_a_network_has_options_for_every_layer_by_name(model):
    accelerator = make_accelerator(rows=32, cols=24)
    layers = (*LAYERS, conv("twin", 4, 2, 8))
    policy = Policy({layer.name: BitWidths(4, 2 + (layer.name == "head")) for layer in layers})
    options = list_network_options(layers, policy, accelerator, model)
    assert list(options) == [layer.name for layer in layers]
    for layer in layers:
        assert options[layer.name] == list_chip_options(layer, policy[layer.name], accelerator, model)
    with pytest.raises(PolicyError):
        list_network_options(layers[1:], policy, accelerator, model)
