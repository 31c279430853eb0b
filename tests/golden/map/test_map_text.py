"""What `mho map` prints and draws for a small network; refreshed with --refresh-golden."""

import io
from pathlib import Path

import pytest
from mapped_networks import make_map, make_stack

from mho.mapping.layer_mapping import MappingModel
from mho.report.map_drawing import draw_layer
from mho.report.map_text import print_comparison, print_layer, print_map
from mho.report.svg import to_svg
from mho.terminal import Console

HERE = Path(__file__).parent


def text_of(show, *arguments, **options):
    console = Console(file=io.StringIO(), width=80)
    show(console, *arguments, **options)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


@pytest.mark.parametrize("model", MappingModel)
def test_the_table_of_layers_reads_as_before(check_golden, model):
    check_golden(HERE / f"table-{model}.txt", text_of(print_map, make_map(model=model), "network"))


def test_the_comparison_reads_as_before(check_golden):
    check_golden(HERE / "comparison.txt", text_of(print_comparison, make_map("3/4", batch=2)))


@pytest.mark.parametrize("name", ["stem", "depthwise", "scores", "head"])
def test_a_layer_reads_as_before(check_golden, name):
    check_golden(HERE / f"{name}.txt", text_of(print_layer, make_map(), name))


def test_a_drawing_looks_as_before(check_golden):
    check_golden(HERE / "stem.svg", to_svg(draw_layer(make_map(), "stem"), title="stem"))


def test_layers_in_one_crossbar_read_as_before(check_golden):
    found = make_stack()
    check_golden(
        HERE / "stack.txt", text_of(print_map, found, "network") + "\n" + text_of(print_layer, found, "second")
    )
