"""Drawings of layers: as files, SVG or PNG as the name says, and inside of a page."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from mho.cache_folder import write_atomically
from mho.cost_model.network_map import LayerMap, NetworkMap
from mho.errors import ConfigError, file_errors
from mho.report.drawing import Drawing
from mho.report.map_drawing import draw_layer
from mho.report.png import to_png
from mho.report.svg import to_svg

SUFFIXES = (".svg", ".png")
"""Endings of names that say what file is meant, in any case."""


def check_suffix(path: Path) -> None:
    """Refuse names that are neither SVG nor PNG. Raises `ConfigError`."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"drawings are {' or '.join(SUFFIXES)} files, not {path.suffix or 'without an ending'}",
            where=str(path),
            hint=f"name it {path.stem or 'layer'}{SUFFIXES[0]}",
        )


@dataclass(frozen=True)
class Picture:
    """A layer's drawing that can stand in a page: its name, and the text of an SVG element."""

    layer: str
    svg: str


def draw_slowest(network_map: NetworkMap, count: int) -> tuple[Picture, ...]:
    """Draw the slowest layers for a page; of layers that are mapped alike, the first.

    Args:
        network_map: the network on its accelerator.
        count: how many at most.
    """
    different: dict[Hashable, LayerMap] = {}
    for layer in network_map.layers:
        if not layer.mapping.is_digital:
            different.setdefault((layer.mapping.layer.without_name(), layer.mapping.bits), layer)
    slowest = sorted(different.values(), key=lambda layer: layer.cost.latency_ps, reverse=True)[:count]
    return tuple(
        Picture(
            layer.name,
            to_svg(draw_layer(network_map, layer.name), title=layer.name, prefix=f"layer{number}-", is_file=False),
        )
        for number, layer in enumerate(slowest)
    )


def write_drawing(network_map: NetworkMap, layer: str, path: Path, *, tiles: int | None = None) -> None:
    """Draw a layer into a file, which is there wholly or not at all.

    Args:
        network_map: the network on its accelerator.
        layer: name of the layer.
        path: ends in .svg or .png.
        tiles: how many of its tiles are drawn at most, at least 1; None for a few.

    Raises:
        ConfigError: the name ends in something else, or `tiles` is below 1.
        MappingError: there is no such layer.
        InputFileError: the file cannot be written.
    """
    check_suffix(path)
    save_drawing(draw_layer(network_map, layer, tiles=tiles), path, title=f"{layer} on crossbars")


def save_drawing(drawing: Drawing, path: Path, *, title: str) -> None:
    """Write a drawing as the kind of file that its name says; it is there wholly or not at all.

    Raises:
        ConfigError: the name ends in neither .svg nor .png.
        InputFileError: the file cannot be written.
    """
    check_suffix(path)
    content = to_png(drawing) if path.suffix.lower() == ".png" else to_svg(drawing, title=title).encode()
    with file_errors(path, "cannot be written"):
        write_atomically(path, content)
