import json

import jsonschema
import pytest
from accelerators import make_accelerator
from mapped_networks import LAYERS, make_map

from mho.errors import MappingError
from mho.mapping.layer_mapping import MappingModel
from mho.report.map_document import MapDocument
from mho.schemas import json_schema


def written(found, **arguments):
    return json.loads(json.dumps(MapDocument.of("net", found, **arguments).model_dump(mode="json")))


@pytest.mark.parametrize("model", MappingModel)
def test_a_document_obeys_its_schema_and_reads_back(model):
    found = make_map(model=model)
    content = written(found)
    jsonschema.validate(content, json_schema("map"))
    assert MapDocument.model_validate(content) == MapDocument.of("net", found)


def test_figures_are_those_of_the_map():
    found = make_map(batch=4)
    content = written(found)
    assert content["latency_us"] == found.latency_ps / 1e6 / 4
    assert content["utilization"] == found.cells.utilization
    for row, layer in zip(content["layers"], found.layers, strict=True):
        assert (row["tiles"], row["mvms"]) == (layer.mapping.tiles, layer.mapping.mvms)
        assert row["digit_cells"] / row["cells"] == row["utilization"]
        assert sum(part["tiles"] for part in row["parts"]) == row["tiles"]
        assert sum(part["mvms"] for part in row["parts"]) == row["mvms"]


def test_a_window_tells_its_pixels_positions_and_how_often_it_is_used():
    found = make_map()
    for row, layer in zip(written(found)["layers"], found.layers, strict=True):
        for shown, part in zip(row["parts"], layer.mapping.parts, strict=True):
            window = shown["window"]
            assert window["counts"][0] * window["counts"][1] == part.windows
            rows = len(part.inputs) * len(window["pixels"])
            assert shown["rows"] <= rows * shown["slices_at_once"] * 2
            assert len({tuple(pixel) for pixel in window["pixels"]}) == len(window["pixels"])


def test_alternatives_and_baselines_have_ratios():
    (row,) = written(make_map(), layer="stem")["layers"]
    for one in [*row["alternatives"], *row["baselines"].values()]:
        assert one["ratio"] == pytest.approx(one["latency_us"] / row["latency_us"])


def test_one_layer_can_be_described_alone():
    found = make_map()
    content = written(found, layer="head")
    assert [row["name"] for row in content["layers"]] == ["head"]
    assert content["latency_us"] == found.latency_ps / 1e6
    with pytest.raises(MappingError):
        MapDocument.of("net", found, layer="hed")


def test_a_product_in_the_digital_unit_has_no_part():
    accelerator = make_accelerator(digital={"operation_latency_us": 0.000001})
    (row,) = written(make_map(layers=(LAYERS[2],), accelerator=accelerator))["layers"]
    assert (row["parts"], row["tiles"], row["utilization"], row["mapping"]) == ([], 0, 0.0, "digital")
    assert row["operations"] > 0
