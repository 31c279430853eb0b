"""A mapping in words, for tables and reports."""

from __future__ import annotations

from mho.mapping.parts import LayerMapping, Part, Range
from mho.mapping.windows import SINGLE


def describe_mapping(mapping: LayerMapping) -> str:
    """Tell how a layer is mapped: ``2x2 positions, 3 slices at once`` a part, the parts joined by `` + ``."""
    if mapping.is_digital:
        return "digital"
    pieces: dict[tuple[Range, Range, Range], list[Part]] = {}
    for part in mapping.parts:
        pieces.setdefault((part.groups, part.outputs, part.inputs), []).append(part)
    return " + ".join(_describe_piece(parts, is_whole=len(pieces) == 1) for parts in pieces.values())


def _describe_piece(parts: list[Part], *, is_whole: bool) -> str:
    """Describe a rectangle of the matrix: one part, or several whose windows make a pattern."""
    part, words = parts[0], []
    if not is_whole:
        groups = f" of {len(part.groups)} groups" if len(part.groups) > 1 else ""
        words.append(f"{len(part.inputs)}x{len(part.outputs)}{groups}")
    window = "im2col" if part.window == SINGLE else str(part.window)
    words.append(f"{len(parts)} windows of {window}" if len(parts) > 1 else window)
    if part.slices_at_once > 1:
        words.append(f"{part.slices_at_once} slices at once")
    if part.groups_per_tile > 1:
        words.append(f"{part.groups_per_tile} groups a tile")
    return ", ".join(words)
