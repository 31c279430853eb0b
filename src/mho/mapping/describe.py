"""A mapping in words, for tables and reports."""

from __future__ import annotations

from mho.mapping.counts import MappedLayer
from mho.mapping.parts import BestMapping, Part
from mho.mapping.windows import SINGLE


def describe_mapping(mapping: MappedLayer) -> str:
    """Tell how a layer is mapped: ``2x2 positions, 3 slices at once`` a part, the parts joined by `` + ``."""
    if not isinstance(mapping, BestMapping):
        return "im2col"
    if mapping.is_digital:
        return "digital"
    whole = len(mapping.parts) == 1
    return " + ".join(_describe_part(part, is_whole=whole) for part in mapping.parts)


def _describe_part(part: Part, *, is_whole: bool) -> str:
    words = []
    if not is_whole:
        words.append(
            f"{len(part.inputs)}x{len(part.outputs)}" + (f"x{len(part.groups)}" if len(part.groups) > 1 else "")
        )
    words.append("im2col" if part.window == SINGLE else str(part.window))
    if part.slices_at_once > 1:
        words.append(f"{part.slices_at_once} slices at once")
    if part.groups_per_tile > 1:
        words.append(f"{part.groups_per_tile} groups a tile")
    return ", ".join(words)
