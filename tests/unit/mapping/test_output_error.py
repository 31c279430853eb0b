from decimal import Decimal

import numpy as np
import pytest
from accelerators import make_accelerator, with_array
from mapped_networks import conv

from mho.errors import ConfigError
from mho.hardware.spec import Accelerator, Encoding
from mho.mapping.best_mapping import choose_mapping, tabulate_best
from mho.mapping.event_counts import UnitTimes
from mho.mapping.layer_mapping import LayerMapping, MappingModel
from mho.mapping.network_mapping import map_layers
from mho.mapping.output_error import TOLERANCES, error_bound, is_exact, mapping_error
from mho.network.layers import MvmLayer
from mho.policy import BitWidths
from mho.scheduling.options import list_chip_options

LAYER = conv("layer", 8, 4, 8)
BITS = BitWidths(4, 4)
IDEAL = make_accelerator(rows=128, cols=128, cell_bits=4)
NOISY = with_array(IDEAL, programming_error=0.01)


def time_ps(mapping: LayerMapping, hardware: Accelerator) -> int:
    return UnitTimes.of(hardware, mapping.encoding).time_ps(mapping.counts, is_stored_dynamically=False)


def test_nothing_adds_an_error_where_cells_and_converters_are_ideal() -> None:
    assert is_exact(IDEAL)
    assert mapping_error(choose_mapping(LAYER, BITS, IDEAL), IDEAL) == 0


@pytest.mark.parametrize("bound", ["auto", "none", 0.01])
def test_mappings_of_ideal_hardware_do_not_depend_on_the_bound(bound: float | str) -> None:
    assert choose_mapping(LAYER, BITS, IDEAL.with_max_error(bound)) == choose_mapping(LAYER, BITS, IDEAL)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("array", "converters"),
    [
        ({"programming_error": 0.01}, {}),
        ({"read_noise": 0.01}, {}),
        ({"stuck_off_rate": 0.01}, {}),
        ({}, {"adc_bits": 6, "adc_range": "calibrated-columns"}),
        ({}, {"adc_bits": 12, "adc_offset_lsb": 0.5}),
    ],
)
def test_cells_and_converters_that_are_not_ideal_have_a_bound(array: dict[str, float], converters: dict) -> None:
    hardware = with_array(IDEAL, converters, **array)
    assert error_bound(hardware) == 0.1
    assert error_bound(hardware.with_max_error("none")) is None
    assert mapping_error(choose_mapping(LAYER, BITS, hardware), hardware) > 0


def test_the_mapping_keeps_the_bound_and_a_tighter_one_is_not_faster() -> None:
    fastest = choose_mapping(LAYER, BITS, NOISY.with_max_error("none"))
    assert fastest.encoding in (Encoding.OFFSET, Encoding.OFFSET_DIGITAL)
    errors, times = [mapping_error(fastest, NOISY)], [time_ps(fastest, NOISY)]
    for bound in (0.5, 0.2, 0.1, 0.06):
        mapping = choose_mapping(LAYER, BITS, NOISY.with_max_error(bound))
        errors.append(mapping_error(mapping, NOISY))
        times.append(time_ps(mapping, NOISY))
        assert errors[-1] <= bound
    assert errors[0] > 0.1
    assert times == sorted(times)


def test_about_the_least_error_is_taken_where_it_is_asked_for() -> None:
    least = mapping_error(choose_mapping(LAYER, BITS, NOISY.with_max_error("least")), NOISY)
    tight = [mapping_error(choose_mapping(LAYER, BITS, NOISY.with_max_error(at)), NOISY) for at in (0.04, 0.06, 0.1)]
    assert least <= TOLERANCES[0] * min(tight)


@pytest.mark.parametrize("cell_error", [0.02, 0.06, 0.2])
def test_where_no_mapping_keeps_the_bound_time_pays_only_for_what_errors_fall(cell_error: float) -> None:
    hardware = with_array(IDEAL, programming_error=cell_error)
    hardware = hardware.model_copy(
        update={"mapping": hardware.mapping.model_copy(update={"max_error": Decimal("0.02")})}
    )
    chosen = choose_mapping(LAYER, BITS, hardware)
    weight = time_ps(chosen, hardware) * (0.02**2 + mapping_error(chosen, hardware) ** 2)
    assert mapping_error(chosen, hardware) > 0.02
    for bound in ("none", "least", 0.05, 0.1, 0.2, 0.4):
        other = choose_mapping(LAYER, BITS, hardware.with_max_error(bound))  # type: ignore[arg-type]
        # Errors are compared in steps, so that a choice is near the best.
        assert weight <= 1.35 * time_ps(other, hardware) * (0.02**2 + mapping_error(other, hardware) ** 2)


def test_tables_and_mappings_keep_the_same_bound() -> None:
    table = tabulate_best([LAYER], NOISY).times_ps[0]
    for weight_bits, act_bits in ((2, 8), (4, 4), (5, 1), (8, 8)):
        mapping = choose_mapping(LAYER, BitWidths(weight_bits, act_bits), NOISY)
        assert table[weight_bits - 1, act_bits - 1] == time_ps(mapping, NOISY)


def test_groups_share_a_tile_as_far_as_the_bound_allows() -> None:
    layer, hardware = conv("depthwise", 1, 1, 8, repeat=16), NOISY
    shared = [
        max(part.groups_per_tile for part in choose_mapping(layer, BITS, hardware.with_max_error(bound)).parts)  # type: ignore[arg-type]
        for bound in ("none", 0.06)
    ]
    assert shared[0] > shared[1] >= 1
    assert mapping_error(choose_mapping(layer, BITS, hardware.with_max_error(0.06)), hardware) <= 0.06


def test_options_of_a_chip_keep_the_bound() -> None:
    free, bound = (
        list_chip_options(LAYER, BITS, NOISY.with_max_error(at), MappingModel.BEST)
        for at in ("none", 0.1)  # type: ignore[arg-type]
    )
    assert max(mapping_error(one, NOISY) for one in free) > 0.1
    assert all(mapping_error(one, NOISY) <= 0.1 for one in bound)


def test_layers_that_are_written_at_once_keep_the_bound() -> None:
    layers = (MvmLayer("first", "linear", 8, 16, 1, 1), MvmLayer("second", "linear", 6, 8, 1, 1))
    mapped = map_layers(layers, [BITS, BITS], NOISY, MappingModel.BEST)
    assert mapped.joins(1)
    assert all(mapping_error(one, NOISY) <= 0.1 for one in mapped.layers)


def test_errors_count_at_the_age_that_is_given() -> None:
    drifting = with_array(IDEAL, drift_exponent=0.05, drift_exponent_std=0.02)
    mapping = choose_mapping(LAYER, BITS, drifting)
    rules = drifting.mapping.model_copy(update={"elapsed_s": 86_400})
    assert mapping_error(mapping, drifting) == 0
    assert mapping_error(mapping, drifting.model_copy(update={"mapping": rules})) > 0.2


def test_the_digital_unit_takes_a_product_whose_bound_no_mapping_keeps() -> None:
    layer = MvmLayer("scores", "matmul", 64, 64, 64, 1)
    hardware = with_array(make_accelerator(rows=64, cols=64, digital={"operation_latency_us": 0.01}))
    noisy = with_array(hardware, programming_error=0.2)
    assert not choose_mapping(layer, BITS, hardware).is_digital
    assert choose_mapping(layer, BITS, noisy).is_digital


def test_a_bound_that_is_none_is_an_error() -> None:
    with pytest.raises(ConfigError, match="max_error"):
        NOISY.with_max_error(-1)
    assert float(np.array(NOISY.with_max_error(0.25).mapping.max_error, dtype=float)) == 0.25
