import pytest
from accelerators import make_accelerator
from mapped_networks import LAYERS, conv, make_map, make_stack

from mho.hardware.spec import Encoding
from mho.mapping.explain import Alternative, Explanation
from mho.mapping.layer_mapping import MappingModel
from mho.mapping.occupancy import PartOccupancy
from mho.network.layers import ConvShape, MvmLayer
from mho.report.map_words import (
    tell_alternative,
    tell_choice,
    tell_encoding,
    tell_layer,
    tell_loops,
    tell_piece,
    tell_range,
    tell_stack,
    tell_taken_back,
    tell_tile,
)


def occupancy_of(layer, accelerator=None, model=MappingModel.BEST):
    found = make_map(layers=(layer,), accelerator=accelerator, model=model)
    return PartOccupancy.of(found.layers[0].mapping, 0, found.accelerator)


def test_ranges_have_both_ends():
    assert [tell_range(0, 64), tell_range(5, 6)] == ["0-63", "5"]


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (conv("a", 64, 3, 32), "conv 3x3, stride 1, 3 channels to 64 outputs, 32x32 positions"),
        (conv("a", 1, 1, 8, repeat=8), "conv 3x3, stride 1, 8 groups of 1 channel to 1 output, 8x8 positions"),
        (
            MvmLayer("a", "conv", 2, 8, 6, 1, ConvShape(1, (9, 9), (3, 2), (2, 4), (2, 3), (2, 1), (0, 0, 0, 0))),
            "conv 2x4, stride 2x3, dilation 2x1, 1 channel to 2 outputs, 3x2 positions",
        ),
        (MvmLayer("a", "linear", 1000, 512, 1, 1), "linear, 512 inputs to 1,000 outputs, 1 position"),
        (MvmLayer("a", "matmul", 50, 64, 50, 12), "matmul, 12 matrices of 64 inputs to 50 outputs, 50 positions"),
    ],
)
def test_layers_are_reported_by_their_shape(layer, words):
    assert tell_layer(layer) == words


def test_loops_go_from_writing_to_mvms():
    loops = tell_loops(occupancy_of(conv("a", 4, 2, 8), model=MappingModel.PAPER).contents)
    assert loops == (
        "write 1 tile, once a batch",
        "for 8 windows along height, 1 position apart",
        "  for 8 windows along width, 1 position apart",
        "    for 3 steps of 1 input slice",
        "      1 MVM, one a tile",
    )


def test_loops_tell_edges_several_reads_and_what_is_written_for_every_sample():
    accelerator = make_accelerator(rows=32, cols=24, crossbar={"active_rows": 8})
    dense = tell_loops(occupancy_of(LAYERS[3], accelerator).contents)
    assert dense[-1].endswith("up to 8 rows at once")
    assert tell_loops(occupancy_of(LAYERS[2]).contents)[0].endswith("for every sample")
    allowed = {"encodings": ["differential-columns"], "splits": False}
    wide = make_accelerator(rows=18, cols=4, cell_bits=4, mapping={"allowed": allowed})
    loops = tell_loops(occupancy_of(conv("a", 1, 1, 7), wide).contents)
    assert any("at the edge" in line for line in loops)


def test_a_tile_is_reported_by_channels_outputs_and_positions():
    allowed = {"encodings": ["offset"], "splits": False}
    accelerator = make_accelerator(rows=32, cols=24, encoding="offset", mapping={"allowed": allowed})
    occupancy = occupancy_of(LAYERS[0], accelerator)
    rows, cols = tell_tile(occupancy, next(occupancy.contents.tiles()))
    assert rows.startswith("channels 0")
    assert cols.startswith("outputs 0-3 at position")
    packed = occupancy_of(LAYERS[2], make_accelerator(rows=32, cols=32, cell_bits=4))
    rows, cols = tell_tile(packed, next(packed.contents.tiles()))
    assert rows == "groups 0-3: inputs 0-4"
    assert cols == "groups 0-3: outputs 0-5"


def test_correction_columns_are_reported_as_sums():
    accelerator = make_accelerator(rows=32, cols=24, encoding="offset")
    occupancy = occupancy_of(MvmLayer("a", "linear", 3, 8, 1, 1), accelerator, MappingModel.PAPER)
    assert tell_tile(occupancy, next(occupancy.contents.tiles()))[1] == "outputs 0-2, sums of inputs"
    assert tell_taken_back(occupancy.contents.mapping).endswith("columns of ones give that sum")


def test_nothing_is_taken_back_in_differential_columns():
    mapping = occupancy_of(LAYERS[3], model=MappingModel.PAPER).contents.mapping
    assert mapping.encoding is Encoding.DIFFERENTIAL_COLUMNS
    assert tell_taken_back(mapping) == ""


def test_pieces_name_groups_only_where_there_are_several():
    assert tell_piece(occupancy_of(LAYERS[3]).contents.part, LAYERS[3]).startswith("inputs 0")
    assert tell_piece(occupancy_of(LAYERS[1]).contents.part, LAYERS[1]).startswith("group")


def test_encodings_are_words():
    assert [tell_encoding(encoding) for encoding in Encoding] == [
        "differential columns",
        "differential rows",
        "offset",
        "offset digital",
        "two's complement",
    ]


def explanation(*alternatives):
    mapping = make_map(layers=(LAYERS[3],)).layers[0].mapping
    return Explanation(mapping, 100, tuple(Alternative(name, mapping, time) for name, time in alternatives))


def test_a_choice_is_reported_by_the_next_best_and_by_what_each_thing_gains():
    shown = tell_choice(
        explanation(
            ("another encoding", 100), ("without windows", 300), ("without cuts", 125), ("paper's mapping, offset", 900)
        )
    )
    encoding = tell_encoding(explanation().mapping.encoding)
    assert (
        shown
        == f"Next best: without cuts, 1.25x the time. Time without: windows 3.00x, cuts 1.25x. Hardly or no slower \
without: {encoding}."
    )


def test_a_choice_without_alternatives_needs_no_words():
    assert tell_choice(explanation()) == ""


def test_what_is_faster_is_said_first():
    assert tell_choice(explanation(("best mapping", 40))) == "Best mapping takes 0.40x the time."


def test_alternatives_are_reported_as_mappings_or_reasons():
    found = explanation(("without cuts", 100))
    assert tell_alternative(found, found.alternatives[0]) == "the same mapping"
    assert tell_alternative(found, Alternative("x", None, None, "no room")) == "none: no room"


def test_layers_that_are_written_at_once_tell_with_whom_and_what_that_saves():
    found = make_stack(batch=2)
    first, second = (layer.explanation for layer in found.layers)
    saved = f"{first.saved_ps / 2e6:,.1f} us"
    assert tell_stack(first, batch=2) == f"In one crossbar with second, written at once, which saves {saved} in all"
    assert tell_choice(second, batch=2).startswith(f"{tell_stack(second, batch=2)}. By itself: ")
    assert tell_stack(make_map().layers[3].explanation) == ""
    occupancy = PartOccupancy.of(found.layers[1].mapping, 0, found.accelerator)
    assert tell_loops(occupancy.contents, written_with="first")[0] == "written along with first"
