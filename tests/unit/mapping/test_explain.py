import pytest
from accelerators import make_accelerator

from mho.hardware.loading import load_accelerator
from mho.hardware.spec import Encoding
from mho.mapping.explain import OTHER_ENCODING, explain_mapping, find_baselines
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.network_mapping import map_layers
from mho.mapping.windows import SINGLE
from mho.network.layers import ConvShape, MvmLayer
from mho.policy import BitWidths

HARDWARE = load_accelerator("pelke2026-4bit")
DEPTHWISE = MvmLayer(
    "depthwise", "conv", 1, 9, 28 * 28, 192,
    ConvShape(1, (28, 28), (28, 28), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
)  # fmt: skip
DENSE = MvmLayer("dense", "linear", 1000, 512, 1, 1)


def explain(layer, bits="8/8", hardware=HARDWARE, model=MappingModel.BEST, batch=1):
    widths = BitWidths.parse(bits)
    (mapping,) = map_layers([layer], [widths], hardware, model, batch=batch).layers
    return explain_mapping(mapping, hardware, model, batch=batch)


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("layer", [DEPTHWISE, DENSE], ids=lambda layer: layer.name)
def test_no_alternative_is_faster_than_the_best(layer, batch):
    explanation = explain(layer, batch=batch)
    assert explanation.alternatives
    for one in explanation.alternatives:
        assert one.time_ps >= explanation.time_ps
        assert explanation.ratio(one) == one.time_ps / explanation.time_ps


def test_alternatives_lack_what_their_names_say():
    found = {one.name: one.mapping for one in explain(DEPTHWISE).alternatives}
    best = explain(DEPTHWISE).mapping
    assert all(part.window == SINGLE for part in found["without windows"].parts)
    assert all(part.slices_at_once == 1 for part in found["without side-by-side slices"].parts)
    assert all(part.groups_per_tile == 1 for part in found["without packing"].parts)
    assert len(found["without cuts"].parts) == 1
    assert found[OTHER_ENCODING].encoding is not best.encoding
    assert found["paper's mapping, differential columns"].encoding is Encoding.DIFFERENTIAL_COLUMNS


def test_the_next_best_is_the_fastest_that_is_slower():
    explanation = explain(DEPTHWISE)
    slower = [one.time_ps for one in explanation.alternatives if one.time_ps > explanation.time_ps]
    assert explanation.next_best.time_ps == min(slower)


def test_what_the_hardware_does_not_allow_is_no_alternative():
    allowed = {"encodings": ["differential-columns"], "window_positions": 1, "input_slices_per_mvm": 1, "splits": False}
    names = [one.name for one in explain(DENSE, hardware=make_accelerator(mapping={"allowed": allowed})).alternatives]
    assert names == ["paper's mapping, differential columns"]


def test_the_papers_mapping_stands_beside_the_best_and_other_encodings():
    explanation = explain(DEPTHWISE, model=MappingModel.PAPER)
    names = [one.name for one in explanation.alternatives]
    assert names == ["paper's mapping, differential rows", "paper's mapping, offset", "best mapping"]
    assert explanation.ratio(explanation.alternatives[-1]) < 1


def test_a_mapping_that_cannot_be_has_a_reason_and_no_time():
    hardware = make_accelerator(rows=64, cols=64, adc_bits=4)
    (paper,) = (one for one in explain(DENSE, hardware=hardware).alternatives if one.name.startswith("paper"))
    assert paper.mapping is None
    assert paper.time_ps is None
    assert "ADC" in paper.reason
    assert explain(DENSE, hardware=hardware).ratio(paper) is None


def test_a_product_in_the_digital_unit_is_compared_with_crossbars():
    hardware = make_accelerator(digital={"operation_latency_us": 0.000001})
    explanation = explain(MvmLayer("scores", "matmul", 4, 8, 3, 2), hardware=hardware)
    assert explanation.mapping.is_digital
    assert [one.mapping.is_digital for one in explanation.alternatives] == [False] * len(explanation.alternatives)
    assert len(explanation.alternatives) == len(Encoding) + 1


def test_baselines_are_im2col_counted_in_two_ways():
    """Five bits of a weight: two 4-bit cells in the paper's counting, one by capacity, as magnitudes reach 15."""
    baselines = find_baselines(DENSE, BitWidths(5, 8), HARDWARE)
    assert (baselines.paper.mapping.cols, baselines.by_capacity.mapping.cols) == (4000, 2000)
    assert baselines.paper.time_ps == 2 * baselines.by_capacity.time_ps
    for one in (baselines.paper, baselines.by_capacity):
        (part,) = one.mapping.parts
        assert (part.window, part.slices_at_once, part.groups_per_tile) == (SINGLE, 1, 1)
        assert one.mapping.encoding is Encoding.DIFFERENTIAL_COLUMNS


def test_baselines_are_reported_whatever_the_hardware_allows():
    allowed = {"encodings": ["offset"], "input_slices_per_mvm": 1}
    hardware = make_accelerator(encoding="offset", mapping={"allowed": allowed})
    assert find_baselines(DENSE, BitWidths(4, 4), hardware).by_capacity.mapping.encoding is not Encoding.OFFSET
