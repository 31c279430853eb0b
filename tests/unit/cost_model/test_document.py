import json
from decimal import Decimal

import jsonschema
import pytest

from mho.cost_model.document import CostDocument, to_microseconds
from mho.cost_model.latency import cost_network
from mho.hardware.loading import load_accelerator
from mho.mapping.layer_mapping import MappingModel
from mho.network.layers import MvmLayer
from mho.policy import BitWidths, Policy
from mho.schemas import json_schema

ACCELERATOR = load_accelerator("pelke2026-4bit")
LAYERS = (MvmLayer("z", "conv", 64, 576, 50176, 1), MvmLayer("a", "matmul", 50, 64, 50, 12))


def document(bits="4/8"):
    cost, reference = (
        cost_network(LAYERS, Policy.uniform(("z", "a"), widths), ACCELERATOR, model=MappingModel.PAPER)
        for widths in (BitWidths.parse(bits), BitWidths(8, 8))
    )
    return CostDocument.of("net", cost, reference, ACCELERATOR), cost


def test_a_layer_has_the_published_keys_in_execution_order():
    rows = document()[0].model_dump(mode="json")["layers"]
    assert rows[0] == {
        "name": "z",
        "outputs": 64,
        "inputs": 576,
        "rows": 576,
        "cols": 128,
        "positions": 50176,
        "repeat": 1,
        "weight_bits": 4,
        "act_bits": 8,
        "tiles": 3,
        "writes": 3,
        "written_with": None,
        "mvms": 1204224,
        "latency_us": 1686081.6,
        "bound_us": 1264603.2,
        "encoding": "differential-columns",
        "layout": "im2col",
    }
    assert [row["name"] for row in rows] == ["z", "a"]


def test_times_in_json_are_exact():
    content, cost = document()
    read = json.loads(json.dumps(content.model_dump(mode="json")), parse_float=Decimal)
    assert read["latency_us"] * 10**6 == cost.latency_ps
    assert sum(row["latency_us"] for row in read["layers"]) == read["latency_us"]


@pytest.mark.parametrize("picoseconds", [0, 1, 10**6, 123456789012345, 999999999999999])
def test_microseconds_are_written_to_the_picosecond(picoseconds):
    assert Decimal(repr(to_microseconds(picoseconds))) * 10**6 == picoseconds


def test_the_speedup_is_over_8_bit_weights_and_activations():
    content, _ = document("4/4")
    assert content.speedup == content.reference_latency_us / content.latency_us > 1
    assert document("8/8")[0].speedup == 1


def test_a_document_obeys_its_schema_and_reads_back():
    content = document()[0]
    written = json.loads(json.dumps(content.model_dump(mode="json")))
    jsonschema.validate(written, json_schema("cost"))
    assert CostDocument.model_validate(written) == content
