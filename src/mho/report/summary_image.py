"""The summary of a run as one picture to share: headline figures and the bits of each layer, 1200 x 630 pixels."""

from __future__ import annotations

from pathlib import Path

from mho.formats import TIMES, format_time, plural
from mho.report.drawing import MUTED, Box, Drawing, Label, Line, Shape, fit_text, text_width, wrap_text
from mho.report.drawing_files import check_suffix, save_drawing
from mho.report.result import RunResult

WIDTH, HEIGHT = 1200, 630
"""Pixels of the picture, as sites that show previews of links want it."""
_MARGIN = 64
_FOUND, _WEIGHTS, _ACTS = "#0b7a6f", "#5252c9", "#d9730d"
_CHART_TOP, _CHART_HEIGHT, _CHART_WIDTH = 424, 120, WIDTH - 2 * _MARGIN
_MOST_BITS = 8


def write_summary(result: RunResult, path: Path) -> None:
    """Write the picture of a run as .svg or .png, wholly or not at all.

    Raises:
        ConfigError: the name ends in something else.
        InputFileError: the file cannot be written.
    """
    check_suffix(path)
    # PNG files are twice as fine as their drawing.
    drawing = draw_summary(result, scale=0.5 if path.suffix.lower() == ".png" else 1.0)
    save_drawing(drawing, path, title=result.sentence)


def draw_summary(result: RunResult, *, scale: float = 1.0) -> Drawing:
    """Return the picture; `scale` shrinks everything."""
    shapes = [*_draw_headline(result), *_draw_figures(result), *_draw_bits(result), *_draw_footer(result)]
    return Drawing(WIDTH * scale, HEIGHT * scale, tuple(_scaled(shape, scale) for shape in shapes))


def _draw_headline(result: RunResult) -> list[Shape]:
    found = result.candidate("found")
    assert found.speedup is not None, "the found policy runs on the accelerator"
    speedup = f"{found.speedup:.2f}{TIMES}"
    hardware = _name_hardware(result)
    about = f"{result.network.source} on {hardware}, tested on {result.data.name}"
    beside = _MARGIN + text_width(speedup, 104, is_bold=True) + 12
    room = WIDTH - _MARGIN - beside
    return [
        Box(0, 0, WIDTH, 12, fill=_FOUND),
        Label(_MARGIN, 76, fit_text(result.name, 26, 700), size=26, fill=MUTED),
        Label(WIDTH - _MARGIN, 76, "mho", size=30, fill=_FOUND, anchor="end", is_bold=True),
        Label(_MARGIN, 184, speedup, size=104, fill=_FOUND, is_bold=True),
        Label(beside, 146, "as fast as uniform 8/8", size=34, is_bold=True),
        *(
            Label(beside, 184 + 26 * number, fit_text(line, 22, room), size=22, fill=MUTED)
            for number, line in enumerate(wrap_text(about, 22, room)[:2])
        ),
    ]


def _name_hardware(result: RunResult) -> str:
    name, chip = str(result.accelerator.get("name", "")), result.accelerator.get("chip", {})
    return f"one crossbar of {name}" if chip.get("crossbars", 1) != 1 else name


def _draw_figures(result: RunResult) -> list[Shape]:
    figures = _figures(result)
    width = _CHART_WIDTH / len(figures)
    shapes: list[Shape] = []
    for number, (value, lines) in enumerate(figures):
        x = _MARGIN + number * width
        shapes.append(Label(x, 286, value, size=38, is_bold=True))
        shapes += [
            Label(x, 316 + 23 * row, fit_text(line, 17, width - 12), size=17, fill=MUTED)
            for row, line in enumerate(lines)
        ]
    return shapes


def _figures(result: RunResult) -> list[tuple[str, tuple[str, ...]]]:
    """Return headline figures, each with the lines below it."""
    in_float, reference, found = (result.candidate(name) for name in ("float", "reference", "found"))
    exact = found.integer_reference or found.test
    before = reference.integer_reference or reference.test
    assert found.latency_us is not None
    assert reference.latency_us is not None
    figures: list[tuple[str, tuple[str, ...]]] = []
    metric = result.task.judged_by

    def tell(accuracy: float) -> str:
        return metric.format(accuracy, page=True)

    if result.chip_accuracies:
        chips = result.chip_accuracies[-1]
        where = plural(len(chips.accuracies), "sampled chip")
        figures.append((tell(chips.mean), (f"on {where}", f"8/8 {tell(result.chip_accuracies[0].mean)}")))
    figures += [
        (
            tell(exact.accuracy),
            (
                f"integer-reference {metric.words}",
                f"8/8 {tell(before.accuracy)}, float {tell(in_float.test.accuracy)}",
            ),
        ),
        (
            format_time(found.latency_us, page=True),
            ("an inference", f"8/8 {format_time(reference.latency_us, page=True)}"),
        ),
        (f"{found.weight_bits:.1f} / {found.act_bits:.1f}", ("mean bits", "weights / activations")),
    ]
    return figures


def _draw_bits(result: RunResult) -> list[Shape]:
    """Draw a pair of bars for each layer, of weight bits and of activation bits."""
    bottom = _CHART_TOP + _CHART_HEIGHT
    shapes: list[Shape] = [
        Label(_MARGIN, _CHART_TOP - 20, "Bits of each layer:", size=17),
        Label(_MARGIN + 178, _CHART_TOP - 20, "weights", size=17, fill=_WEIGHTS, is_bold=True),
        Label(_MARGIN + 268, _CHART_TOP - 20, "activations", size=17, fill=_ACTS, is_bold=True),
    ]
    for bits in range(0, _MOST_BITS + 1, 4):
        y = bottom - bits * _CHART_HEIGHT / _MOST_BITS
        shapes += [
            Line(_MARGIN, y, WIDTH - _MARGIN, y),
            Label(_MARGIN - 8, y + 5, f"{bits}", size=14, fill=MUTED, anchor="end"),
        ]
    slot = _CHART_WIDTH / len(result.layers)
    width = min(slot * 0.4, 34.0)
    for number, layer in enumerate(result.layers):
        middle = _MARGIN + (number + 0.5) * slot
        for bits, x, colour in (
            (layer.found.weight_bits, middle - width, _WEIGHTS),
            (layer.found.act_bits, middle, _ACTS),
        ):
            height = min(bits, _MOST_BITS) * _CHART_HEIGHT / _MOST_BITS
            shapes.append(Box(x, bottom - height, max(width - 1, 0.5), height, fill=colour))
    return shapes


def _draw_footer(result: RunResult) -> list[Shape]:
    passed, version = sum(check.passed for check in result.checks), result.versions.get("mho", "")
    checks = f"{passed} of {plural(len(result.checks), 'check')} of the compiled program passed"
    return [
        Label(_MARGIN, HEIGHT - 36, f"Made by mho {version}. {checks}.", size=17, fill=MUTED),
        Label(WIDTH - _MARGIN, HEIGHT - 36, f"seed {result.seed}", size=17, fill=MUTED, anchor="end"),
    ]


def _scaled(shape: Shape, scale: float) -> Shape:
    if isinstance(shape, Box):
        return Box(
            shape.x * scale, shape.y * scale, shape.width * scale, shape.height * scale, shape.fill, shape.stroke,
            shape.thickness * scale,
        )  # fmt: skip
    if isinstance(shape, Line):
        x, y, to_x, to_y = (value * scale for value in (shape.x, shape.y, shape.to_x, shape.to_y))
        return Line(x, y, to_x, to_y, shape.stroke, shape.thickness * scale)
    assert isinstance(shape, Label), "the picture has no mosaics"
    return Label(
        shape.x * scale, shape.y * scale, shape.text, shape.size * scale, shape.fill, shape.anchor, shape.is_bold
    )
