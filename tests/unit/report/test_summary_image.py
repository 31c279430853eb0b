"""The picture of a run: its figures, and that everything fits 1200 x 630 pixels."""

from __future__ import annotations

import pytest

from mho.report.drawing import Box, Label, text_width
from mho.report.result_figures import ChipAccuracies
from mho.report.summary_image import HEIGHT, WIDTH, draw_summary


def texts(drawing) -> str:
    return " | ".join(shape.text for shape in drawing.shapes if isinstance(shape, Label))


def chips(name: str, accuracies: tuple[float, ...]) -> ChipAccuracies:
    return ChipAccuracies(name=name, label=name, images=100, hardware="x", accuracies=accuracies)


def test_it_tells_speed_accuracy_time_and_bits(result):
    shown = texts(draw_summary(result))
    for words in (
        "2.22\u00d7 | as fast as uniform 8/8 | resnet8 on pelke2026-4bit, tested on digits",
        "97.80\u202f% | integer-reference accuracy | 8/8 98.20\u202f%, float 98.40\u202f%",
        "9.00\u202fms | an inference | 8/8 20.0\u202fms",
        "4.4 / 5.1 | mean bits",
        "Made by mho 0.1.0. 1 of 2 checks of the compiled program passed.",
    ):
        assert words in shown, words
    bars = [shape for shape in draw_summary(result).shapes if isinstance(shape, Box)][1:]
    assert len(bars) == 2 * len(result.layers)


def test_it_says_of_which_hardware_time_and_accuracy_are(result):
    accuracies = chips("reference", (0.5, 0.6)), chips("found", (0.9, 0.8))
    hardware = result.accelerator | {"chip": {"crossbars": 96}}
    shown = texts(draw_summary(result.model_copy(update={"chip_accuracies": accuracies, "accelerator": hardware})))
    assert "85.00\u202f% | on 2 sampled chips | 8/8 55.00\u202f%" in shown
    assert "on one crossbar of pelke2026-4bit" in shown


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_everything_fits_also_with_long_names_and_many_layers(result, scale):
    network = result.network.model_copy(update={"source": "a-very-long-name-of-a-network-" * 4})
    changed = result.model_copy(
        update={
            "name": "run-" * 30, "network": network, "layers": result.layers * 20,
            "chip_accuracies": (chips("reference", (0.5,)), chips("found", (0.9,))),
        }
    )  # fmt: skip
    drawing = draw_summary(changed, scale=scale)
    assert (drawing.width, drawing.height) == (WIDTH * scale, HEIGHT * scale)
    for shape in drawing.shapes:
        if isinstance(shape, Box):
            assert shape.x >= 0
            assert shape.x + shape.width <= drawing.width
            assert shape.y + shape.height <= drawing.height
        elif isinstance(shape, Label):
            width = text_width(shape.text, shape.size, is_bold=shape.is_bold)
            assert (shape.x + width if shape.anchor == "start" else shape.x) <= drawing.width, shape.text
