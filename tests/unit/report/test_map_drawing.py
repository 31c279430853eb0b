import re
from itertools import pairwise

import numpy as np
import pytest
from accelerators import make_accelerator
from mapped_networks import LAYERS, conv, make_map, make_stack

from mho.errors import ConfigError, InputFileError, MappingError
from mho.mapping.encoding import CORRECTION
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.occupancy import PartOccupancy
from mho.report.cell_colours import CellColours
from mho.report.drawing import Label, Mosaic, text_width
from mho.report.drawing_files import draw_slowest, write_drawing
from mho.report.map_drawing import draw_layer
from mho.report.palette import CORRECTION as CORRECTION_COLOUR
from mho.report.palette import ZERO


def labels(drawing):
    return [shape.text for shape in drawing.shapes if isinstance(shape, Label)]


def mosaics(drawing):
    return [shape for shape in drawing.shapes if isinstance(shape, Mosaic)]


def colours_of(mosaic):
    return np.array(mosaic.colours)[mosaic.cells]


@pytest.mark.parametrize("name", [layer.name for layer in LAYERS])
@pytest.mark.parametrize("model", MappingModel)
def test_every_layer_can_be_drawn_with_its_figures(name, model):
    found = make_map(model=model)
    layer = found.layer(name)
    texts = labels(draw_layer(found, name, tiles=10_000))
    assert texts[0] == name
    for value in (f"{layer.mapping.tiles:,}", f"{layer.mapping.mvms:,}", f"{layer.cells.utilization:.1%}"):
        assert value in texts
    assert sum(text.startswith("Tile ") for text in texts) == layer.mapping.tiles


def test_no_label_of_a_line_runs_into_the_next():
    """Widths are estimated from above, so labels that keep apart by them keep apart on the page."""
    for name in (layer.name for layer in LAYERS):
        drawing = draw_layer(make_map("8/8"), name)
        lines = {}
        for shape in drawing.shapes:
            if isinstance(shape, Label) and not shape.is_rotated and shape.size >= 9:
                width = text_width(shape.text, shape.size, is_bold=shape.is_bold)
                left = shape.x - {"start": 0, "middle": width / 2, "end": width}[shape.anchor]
                lines.setdefault(round(shape.y, 1), []).append((left, left + width, shape.text))
                assert left >= 0, shape.text
                assert left + width <= drawing.width, shape.text
        for line in lines.values():
            line.sort()
            for (_, end, one), (start, _, other) in pairwise(line):
                assert end <= start + 1, (one, other)


def test_tiles_that_are_left_out_are_counted():
    found = make_map("8/8")
    count = found.layer("head").mapping.tiles
    texts = labels(draw_layer(found, "head", tiles=2))
    assert count > 2
    assert any(f"{count - 2} of them not drawn" in text for text in texts)
    assert len(mosaics(draw_layer(found, "head", tiles=2))) == 2


def test_parts_that_are_left_out_are_named():
    found = make_map(layers=(conv("layer", 8, 8, 16),), accelerator=make_accelerator(rows=32, cols=32, cell_bits=4))
    parts = len(found.layers[0].mapping.parts)
    assert parts > 1
    assert any(text.startswith("Not drawn: part") for text in labels(draw_layer(found, "layer", tiles=1)))
    assert len(mosaics(draw_layer(found, "layer"))) >= parts


def test_cells_have_the_colour_of_what_they_hold():
    """Zero for all weights, ones, and one hue for each position of the window, in the whole tile."""
    accelerator = make_accelerator(
        rows=32, cols=24, encoding="offset", mapping={"allowed": {"encodings": ["offset"], "splits": False}}
    )
    found = make_map(layers=(LAYERS[0],), accelerator=accelerator)
    occupancy = PartOccupancy.of(found.layers[0].mapping, 0, accelerator)
    colours = CellColours(occupancy)
    place = next(occupancy.contents.tiles())
    cells = occupancy.tile(place)
    drawn = colours_of(mosaics(draw_layer(found, "stem", tiles=1))[0])
    is_one = occupancy.contents.cols.output[cells.col] == CORRECTION
    assert len(occupancy.positions) > 1
    assert (drawn[~cells.held] == ZERO).all()
    assert (drawn[:, is_one][cells.held[:, is_one]] == CORRECTION_COLOUR).all()
    for row, col in np.argwhere(cells.held & ~is_one):
        hue = int(occupancy.position_of_col[cells.col[col]])
        table = colours.table[2 + 2 * hue * len(colours.digits) : 2 + 2 * (hue + 1) * len(colours.digits)]
        assert drawn[row, col] in table


def test_groups_that_share_a_tile_have_hues_of_their_own():
    found = make_map(layers=(LAYERS[2],), accelerator=make_accelerator(rows=32, cols=32, cell_bits=4))
    occupancy = PartOccupancy.of(found.layers[0].mapping, 0, found.accelerator)
    assert occupancy.contents.part.groups_per_tile > 1
    assert len(occupancy.positions) == 1
    drawn = colours_of(mosaics(draw_layer(found, "scores", tiles=1))[0])
    blocks = len(next(occupancy.contents.tiles()).groups)
    assert len(set(drawn.reshape(-1)) - {ZERO}) == blocks


def test_digits_and_negative_parts_are_shades():
    accelerator = make_accelerator(
        rows=32, cols=24, mapping={"allowed": {"encodings": ["differential-columns"], "window_positions": 1}}
    )
    found = make_map(layers=(LAYERS[3],), accelerator=accelerator)
    colours = CellColours(PartOccupancy.of(found.layers[0].mapping, 0, accelerator))
    assert colours.has_subtracted
    assert len(set(colours.table)) == 2 + 2 * len(colours.digits)
    texts = labels(draw_layer(found, "head"))
    assert "digits, least to most significant" in texts
    assert "subtracted: negative part or sign" in texts


def test_rows_that_are_driven_one_after_the_other_are_reported():
    accelerator = make_accelerator(rows=32, cols=24, crossbar={"active_rows": 8})
    found = make_map(layers=(LAYERS[3],), accelerator=accelerator)
    texts = labels(draw_layer(found, "head"))
    assert any("driven together, up to 8" in text for text in texts)


def test_a_product_in_the_digital_unit_has_no_tile():
    accelerator = make_accelerator(digital={"operation_latency_us": 0.000001})
    drawing = draw_layer(make_map(layers=(LAYERS[2],), accelerator=accelerator), "scores")
    assert mosaics(drawing) == []
    assert any("digital unit computes the product" in text for text in labels(drawing))


def test_very_large_crossbars_are_drawn_by_some_of_their_lines():
    found = make_map(layers=(LAYERS[3],), accelerator=make_accelerator(rows=5000, cols=3000))
    (mosaic,) = mosaics(draw_layer(found, "head"))
    assert max(mosaic.cells.shape) <= 1024


def test_an_unknown_layer_and_no_tile_are_errors():
    with pytest.raises(MappingError, match="did you mean 'stem'"):
        draw_layer(make_map(), "stam")
    with pytest.raises(ConfigError, match="at least 1"):
        draw_layer(make_map(), "stem", tiles=0)


@pytest.mark.parametrize("name", ["tiles.svg", "TILES.PNG"])
def test_files_are_of_the_kind_that_their_names_say(tmp_path, name):
    write_drawing(make_map(), "stem", tmp_path / "new" / name)
    start = (tmp_path / "new" / name).read_bytes()[:8]
    assert start == (b"\x89PNG\r\n\x1a\n" if name.endswith("PNG") else b"<svg xml")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize("name", ["tiles.pdf", "tiles"])
def test_other_kinds_of_files_are_errors(tmp_path, name):
    with pytest.raises(ConfigError, match=r"name it tiles\.svg"):
        write_drawing(make_map(), "stem", tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "tiles.svg").mkdir()
    with pytest.raises(InputFileError, match=r"tiles\.svg"):
        write_drawing(make_map(), "stem", tmp_path / "tiles.svg")


def test_pictures_of_a_page_are_the_slowest_layers_under_different_names():
    found = make_map()
    pictures = draw_slowest(found, 3)
    times = {layer.name: layer.cost.latency_ps for layer in found.layers}
    assert [picture.layer for picture in pictures] == sorted(times, key=times.get, reverse=True)[:3]
    names = [set(re.findall(r'id="([^"]+)"', picture.svg)) for picture in pictures]
    assert not set.intersection(*names)
    for picture, own in zip(pictures, names, strict=True):
        assert set(re.findall(r'href="#([^"]+)"', picture.svg)) <= own
        assert "http" not in picture.svg


def test_other_layers_of_a_crossbar_are_drawn_where_they_lie():
    found = make_stack()
    drawing = draw_layer(found, "second")
    other, own = mosaics(drawing)
    first, second = (layer.placement for layer in found.layers)
    step = own.width / own.cells.shape[1]
    assert ((own.x - other.x) / step, (own.y - other.y) / step) == (second.col - first.col, second.row - first.row)
    occupancy = PartOccupancy.of(found.layers[0].mapping, 0, found.accelerator)
    np.testing.assert_array_equal(other.cells, occupancy.tile(next(occupancy.contents.tiles())).held)
    texts = labels(drawing)
    assert "first" in texts
    assert "1, shared" in texts
    assert "other layers of the crossbar, written at once" in texts
    assert "free" not in [shape.text for shape in drawing.shapes if isinstance(shape, Label) and shape.size > 10.5]
