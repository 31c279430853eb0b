"""Mappings in words: windows, loops, what lies in a tile, and why a mapping was chosen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mho.formats import PS_PER_US, plural
from mho.hardware.spec import Encoding
from mho.mapping.cell_contents import Integers, PartContents, TilePlace
from mho.mapping.encoding import CORRECTION, weight_offset
from mho.mapping.explain import OTHER_ENCODING, WITHOUT, Alternative, Explanation
from mho.mapping.layer_mapping import LayerMapping, Part, describe_mapping
from mho.mapping.occupancy import PartOccupancy
from mho.mapping.windows import Sweep
from mho.network.layers import MvmLayer

_ALIKE = 1.005
"""Ratios of times below this are called hardly slower: they would be written as 1.00."""


def tell_range(start: int, stop: int) -> str:
    """Return the numbers start .. stop - 1 as ``0-63``, or ``5``."""
    return f"{start}" if stop - start == 1 else f"{start}-{stop - 1}"


def _named(noun: str, start: int, stop: int) -> str:
    return f"{noun}{'s' if stop - start > 1 else ''} {tell_range(start, stop)}"


def tell_layer(layer: MvmLayer) -> str:
    """Return the shape of a layer: ``conv 3x3, stride 1, 64 channels to 64 outputs, 56x56 positions``."""
    conv, repeat = layer.conv, layer.repeat
    groups = f"{repeat} {'groups' if layer.kind == 'conv' else 'matrices'} of " if repeat > 1 else ""
    if conv is None:
        shape = f"{plural(layer.inputs, 'input')} to {plural(layer.outputs, 'output')}"
        return f"{layer.kind}, {groups}{shape}, {plural(layer.positions, 'position')}"
    kernel = _by(conv.kernel)
    stride = f"{conv.strides[0]}" if conv.strides[0] == conv.strides[1] else _by(conv.strides)
    dilation = f", dilation {_by(conv.dilations)}" if conv.dilations != (1, 1) else ""
    channels = layer.inputs // (conv.kernel[0] * conv.kernel[1])
    return (
        f"conv {kernel}, stride {stride}{dilation}, {groups}{plural(channels, 'channel')} to "
        f"{plural(layer.outputs, 'output')}, {_by(conv.out_size)} positions"
    )


def tell_piece(part: Part, layer: MvmLayer) -> str:
    """Return which rectangle of the layer's matrix a part holds: ``inputs 0-63, outputs 0-31``."""
    groups = f"{_named('group', part.groups.start, part.groups.stop)}, " if layer.repeat > 1 else ""
    inputs, outputs = part.inputs, part.outputs
    return f"{groups}{_named('input', inputs.start, inputs.stop)}, {_named('output', outputs.start, outputs.stop)}"


def tell_loops(contents: PartContents, *, written_with: str | None = None) -> tuple[str, ...]:
    """Return the loops over windows and steps that a part runs through, one a line, each deeper than the one above.

    Args:
        contents: of the part.
        written_with: the layer whose write holds its tile too; None where it is written by itself.
    """
    part, grid = contents.part, contents.grid
    height, width = grid.sweeps(part.window)
    is_written_once = not contents.mapping.layer.is_stored_dynamically
    lines = [f"write {plural(part.counts.tiles, 'tile')}, {'once a batch' if is_written_once else 'for every sample'}"]
    if written_with is not None:
        lines = [f"written along with {written_with}"]
    if grid.batch > 1:
        lines.append(f"for {grid.batch} samples")
    for sweep, axis in ((height, "height"), (width, "width")):
        if sweep.count > 1 or sweep.positions > 1:
            lines.append(_tell_sweep(sweep, axis if height.positions > 1 else "all positions"))
    if part.num_steps > 1 or part.slices_at_once > 1:
        lines.append(f"for {plural(part.num_steps, 'step')} of {plural(part.slices_at_once, 'input slice')}")
    reads = part.counts.mvms // (part.windows * part.num_steps)
    lines.append(f"{plural(reads, 'MVM')}, {_reads_of(part, reads)}")
    return tuple("  " * max(number - 1, 0) + line for number, line in enumerate(lines))


def _tell_sweep(sweep: Sweep, axis: str) -> str:
    """Return how many windows follow each other, how far apart, and which of them are cut by the edge."""
    cut = sum(run.count for run in sweep.runs() if not all(run.inside))
    edges = f"; {cut} at the edge serve{'s' if cut == 1 else ''} fewer positions" if cut and sweep.count > 1 else ""
    apart = f", {plural(sweep.step, 'position')} apart" if sweep.count > 1 else ""
    return f"for {plural(sweep.count, 'window')} along {axis}{apart}{edges}"


def _reads_of(part: Part, reads: int) -> str:
    tiles = part.counts.tiles
    if reads == tiles:
        return "one a tile"
    return f"up to {part.rows_at_once} rows at once"


def tell_tile(occupancy: PartOccupancy, place: TilePlace) -> tuple[str, str]:
    """Return what drives the rows of a tile and what its columns give, in words."""
    contents = occupancy.contents
    block, layer = place.block, contents.mapping.layer
    groups = ""
    if layer.repeat > 1:
        groups = f"{_named('group', place.groups.start, place.groups.stop)}: "
    channel = contents.rows.channel[block.row_start : block.row_stop]
    noun = "channel" if layer.conv is not None else "input"
    rows = f"{groups}{_named(noun, int(channel[0]), int(channel[-1]) + 1)}"
    return rows, groups + ", ".join(_tell_cols(occupancy, block.col_start, block.col_stop))


def _tell_cols(occupancy: PartOccupancy, start: int, stop: int) -> Iterator[str]:
    """Yield the outputs of columns; positions that have the same ones together."""
    cols, has_window = occupancy.contents.cols, len(occupancy.positions) > 1
    output, position = cols.output[start:stop], occupancy.position_of_col[start:stop]
    positions_of: dict[str, list[int]] = {}
    for number in np.unique(position):
        own = output[position == number]
        weights = own[own != CORRECTION]
        if len(weights):
            positions_of.setdefault(_named("output", int(weights[0]), int(weights[-1]) + 1), []).append(int(number))
        if len(weights) < len(own):
            positions_of.setdefault("sums of inputs", []).append(int(number))
    for outputs, numbers in positions_of.items():
        places = [tell_place(occupancy.contents, occupancy.positions[number]) for number in numbers]
        yield f"{outputs} at {_tell_places(places)}" if has_window else outputs


def _tell_places(places: list[str]) -> str:
    word = "position" if len(places) == 1 else "positions"
    if len(places) > _LISTED:
        return f"{len(places)} {word} {places[0]} .. {places[-1]}"
    return f"{word} {' '.join(places)}"


_LISTED = 6
"""Positions that are listed one by one."""


def tell_place(contents: PartContents, pair: Integers) -> str:
    """Return a position or pixel of a window as ``0,1``, or as ``1`` where all lie in one line."""
    is_line = contents.grid.height.positions == 1 and contents.grid.height.kernel == 1
    return str(int(pair[1])) if is_line else f"{int(pair[0])},{int(pair[1])}"


def tell_choice(explanation: Explanation, *, batch: int = 1) -> str:
    """Return in a few sentences why a mapping was chosen: what is next best, and what each thing gains.

    Args:
        explanation: of the mapping.
        batch: samples that share the writes of weights; times are those of one.
    """
    alone = explanation.by_itself
    if alone is None:
        return _tell_comparison(explanation)
    return f"{tell_stack(explanation, batch=batch)}. By itself: {_tell_comparison(alone)}"


def tell_stack(explanation: Explanation, *, batch: int = 1) -> str:
    """Return with which layers one is written at once, and what this saves a sample; nothing where with none."""
    others = list(explanation.stack)
    if not others:
        return ""
    named = others[0] if len(others) == 1 else f"{', '.join(others[:-1])} and {others[-1]}"
    saved = f"{explanation.saved_ps / batch / PS_PER_US:,.1f} us"
    return f"In one crossbar with {named}, written at once, which saves {saved} in all"


def _tell_comparison(explanation: Explanation) -> str:
    timed = [(ratio, one) for one in explanation.alternatives if (ratio := explanation.ratio(one)) is not None]
    faster = [(ratio, one) for ratio, one in timed if one.time_ps is not None and one.time_ps < explanation.time_ps]
    if faster:
        ratio, one = min(faster, key=lambda pair: pair[0])
        return f"{one.name.capitalize()} takes {tell_ratio(ratio)} the time."
    words = []
    if (next_best := explanation.next_best) is not None:
        words.append(f"Next best: {next_best.name}, {tell_ratio(explanation.ratio(next_best) or 1.0)} the time.")
    gains = [(ratio, gain) for ratio, one in timed if (gain := _name_gain(explanation, one))]
    worth = [f"{gain} {tell_ratio(ratio)}" for ratio, gain in sorted(gains, reverse=True) if ratio > _ALIKE]
    rest = [gain for ratio, gain in gains if ratio <= _ALIKE]
    if worth:
        words.append(f"Time without: {', '.join(worth)}.")
    if rest:
        words.append(f"Hardly or no slower without: {', '.join(rest)}.")
    return " ".join(words)


def tell_ratio(ratio: float) -> str:
    """Return a ratio of times as ``1.33x``, with one more digit where that would hide that it is above 1."""
    return f"{ratio:.3f}x" if 1 < ratio < _ALIKE else f"{ratio:.2f}x"


def _name_gain(explanation: Explanation, alternative: Alternative) -> str:
    """Return what the alternative has to do without; nothing where it differs in more than one thing."""
    if alternative.name.startswith(WITHOUT):
        return alternative.name.removeprefix(WITHOUT)
    return tell_encoding(explanation.mapping.encoding) if alternative.name == OTHER_ENCODING else ""


def tell_alternative(explanation: Explanation, alternative: Alternative) -> str:
    """Return an alternative's mapping in words: its parts and encoding, or why there is none."""
    mapping = alternative.mapping
    if mapping is None:
        return f"none: {alternative.reason}"
    if _is_same(mapping, explanation.mapping):
        return "the same mapping"
    return tell_mapping(mapping)


def tell_mapping(mapping: LayerMapping) -> str:
    """Return a mapping in words with its encoding: ``2x2 positions; offset``."""
    words = describe_mapping(mapping)
    return words if mapping.is_digital else f"{words}; {tell_encoding(mapping.encoding)}"


def tell_encoding(encoding: Encoding) -> str:
    """Return an encoding in words."""
    return "two's complement" if encoding is Encoding.TWOS_COMPLEMENT else encoding.replace("-", " ")


def tell_taken_back(mapping: LayerMapping) -> str:
    """Return what must be taken back from the sums of columns, and how; nothing where there is nothing."""
    offset = weight_offset(mapping.values, mapping.encoding)
    if not offset or mapping.is_digital:
        return ""
    how = "columns of ones give that sum" if mapping.encoding is Encoding.OFFSET else "the digital unit adds them up"
    return f"weights are stored {offset} higher, and {offset} times the sum of inputs is taken back: {how}"


def _is_same(one: LayerMapping, other: LayerMapping) -> bool:
    return (one.parts, one.encoding, one.extra_operations) == (other.parts, other.encoding, other.extra_operations)


def _by(pair: tuple[int, int]) -> str:
    return f"{pair[0]}x{pair[1]}"
