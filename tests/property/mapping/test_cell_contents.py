"""Every mapping, executed cell by cell as it is described, gives the integers of a plain convolution or product."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_mappings import random_mapping
from random_networks import choosers

from mho.hardware.loading import accelerator_from_json, load_accelerator
from mho.hardware.spec import PAPER_ENCODINGS, Encoding
from mho.mapping.best_mapping import MappingChoice
from mho.mapping.cell_contents import lay_out
from mho.mapping.encoding import CORRECTION, StoredRange, weight_offset
from mho.mapping.slicing import count_input_slices
from mho.network.layers import ConvShape, LayerIntegers, MvmLayer
from mho.policy import BitWidths


@st.composite
def accelerators(draw):
    content = load_accelerator("pelke2026-4bit").to_json()
    rows = draw(st.integers(2, 40))
    content["crossbar"].update(
        rows=rows,
        cols=draw(st.integers(2, 40)),
        cell_bits=draw(st.integers(1, 8)),
        write_latency_us=draw(st.sampled_from([0, 1, 10, 1000])),
        active_rows=draw(st.sampled_from(["all", max(1, rows // 2), max(1, rows // 3)])),
    )
    dac_bits, cell_bits = draw(st.integers(1, 8)), content["crossbar"]["cell_bits"]
    least = (((1 << dac_bits) - 1) * ((1 << cell_bits) - 1)).bit_length() + 1
    adc_bits = draw(st.sampled_from(["ideal", *range(least, 17)]))
    content["converters"].update(dac_bits=dac_bits, adc_bits=adc_bits)
    encodings = draw(st.sets(st.sampled_from(Encoding), min_size=1))
    own = draw(st.sampled_from(PAPER_ENCODINGS))
    content["mapping"].update(encoding=own)
    content["mapping"]["allowed"].update(
        encodings=sorted(encodings | {own}),
        window_positions=draw(st.sampled_from([1, 4, 65536])),
        input_slices_per_mvm=draw(st.sampled_from([1, 2, 65536])),
        groups_per_tile=draw(st.sampled_from([1, 65536])),
        splits=draw(st.booleans()),
    )
    return accelerator_from_json(content, where="drawn")


@st.composite
def convolutions(draw):
    kernel, strides, dilations = ((draw(st.integers(1, high)), draw(st.integers(1, high))) for high in (3, 3, 2))
    if draw(st.booleans()):
        # What patterns of windows are made for.
        kernel, strides, dilations = (3, 3), draw(st.sampled_from([(1, 1), (2, 2)])), (1, 1)
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    least = [
        max(1, d * (k - 1) + 1 - pads[i] - pads[i + 2]) for i, (d, k) in enumerate(zip(dilations, kernel, strict=True))
    ]
    in_size = tuple(low + draw(st.integers(0, 5)) for low in least)
    out_size = tuple(
        (in_size[i] + pads[i] + pads[i + 2] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in (0, 1)
    )
    batch = draw(st.integers(1, 2))
    conv = ConvShape(batch, in_size, out_size, kernel, strides, dilations, pads)
    inputs = draw(st.integers(1, 4)) * kernel[0] * kernel[1]
    return MvmLayer(
        "conv",
        "conv",
        draw(st.integers(1, 5)),
        inputs,
        batch * out_size[0] * out_size[1],
        draw(st.integers(1, 4)),
        conv,
    )


@st.composite
def products(draw):
    kind = draw(st.sampled_from(["linear", "matmul"]))
    repeat = draw(st.integers(1, 4)) if kind == "matmul" else 1
    return MvmLayer(kind, kind, draw(st.integers(1, 20)), draw(st.integers(1, 30)), draw(st.integers(1, 9)), repeat)


@st.composite
def ranges(draw, weight_bits):
    if weight_bits == 1:
        return StoredRange(-1, 1, 2)
    narrow = (1 << (weight_bits - 1)) - 1
    return draw(
        st.sampled_from(
            [StoredRange(-narrow, narrow), StoredRange(-narrow - 1, narrow), StoredRange(0, (1 << weight_bits) - 1)]
        )
    )


@st.composite
def layers_and_choices(draw):
    """An accelerator, widths, and the choice of mappings of a layer of stored integers of some range."""
    hardware = draw(accelerators())
    layer = draw(st.one_of(convolutions(), products()))
    bits = BitWidths(draw(st.integers(1, 8)), draw(st.integers(1, 8)))
    values = draw(ranges(bits.weight_bits))
    layer = replace(layer, integers=LayerIntegers(values.qmin, values.qmax, bits.weight_bits, False, False))
    return hardware, layer, bits, MappingChoice(layer, bits.weight_bits, hardware, batch=1)


@given(layers_and_choices(), st.integers(0, 2**32 - 1))
@settings(max_examples=examples(80), deadline=None, suppress_health_check=list(HealthCheck))
def test_the_best_mapping_gives_the_integers_of_a_plain_product(case, seed):
    hardware, _, bits, choice = case
    check_mapping(choice.mapping(bits), hardware, np.random.default_rng(seed))


@given(layers_and_choices(), choosers(), st.integers(0, 2**32 - 1))
@settings(max_examples=examples(250), deadline=None, suppress_health_check=list(HealthCheck))
def test_every_allowed_mapping_gives_the_integers_of_a_plain_product(case, chooser, seed):
    hardware, layer, bits, _ = case
    check_mapping(random_mapping(chooser, layer, bits, hardware), hardware, np.random.default_rng(seed))


def check_mapping(mapping, hardware, generator):
    layer, values = mapping.layer, mapping.values
    shape = (layer.repeat, layer.outputs, layer.inputs)
    weights = generator.integers(0, (values.qmax - values.qmin) // values.step + 1, shape) * values.step + values.qmin
    # The extremes are where digits and offsets fail first.
    weights[:, :, 0], weights[:, -1, -1] = values.qmin, values.qmax
    codes = Codes.draw(layer, mapping.bits.act_bits, generator)
    sums, tiles, mvms = execute(mapping, hardware, weights, codes)
    np.testing.assert_array_equal(sums, plain(layer, weights, codes))
    assert (tiles, mvms) == (mapping.tiles, mapping.mvms)


class Codes:
    """Padded input codes of a layer, [groups, channels, batch, height, width]."""

    def __init__(self, array):
        self.array = array

    @classmethod
    def draw(cls, layer, act_bits, generator):
        conv = layer.conv
        if conv is None:
            return cls(generator.integers(0, 1 << act_bits, (layer.repeat, layer.inputs, 1, 1, layer.positions)))
        top, left, bottom, right = conv.pads
        channels = layer.inputs // (conv.kernel[0] * conv.kernel[1])
        height, width = conv.in_size[0] + top + bottom, conv.in_size[1] + left + right
        array = np.full((layer.repeat, channels, conv.batch, height, width), generator.integers(0, 1 << act_bits))
        inner = array[..., top : top + conv.in_size[0], left : left + conv.in_size[1]]
        inner[...] = generator.integers(0, 1 << act_bits, inner.shape)
        return cls(array)

    def seen_by(self, layer):
        """The codes as a mapping sees them: of 1x1 convolutions without stride and padding, in one row."""
        conv = layer.conv
        if conv is None or (conv.kernel == (1, 1) == conv.strides and not any(conv.pads)):
            return self.array.reshape(*self.array.shape[:3], 1, -1)
        return self.array


def plain(layer, weights, codes):
    """[groups, outputs, batch, out height, out width], or positions along the last axis."""
    conv = layer.conv
    if conv is None:
        return np.einsum("gok,gkbyp->gobyp", weights, codes.array)
    result = np.zeros((layer.repeat, layer.outputs, conv.batch, *conv.out_size), dtype=np.int64)
    kernels = weights.reshape(layer.repeat, layer.outputs, -1, *conv.kernel)
    for y, x in itertools.product(*map(range, conv.kernel)):
        top, left = y * conv.dilations[0], x * conv.dilations[1]
        rows = slice(top, top + (conv.out_size[0] - 1) * conv.strides[0] + 1, conv.strides[0])
        cols = slice(left, left + (conv.out_size[1] - 1) * conv.strides[1] + 1, conv.strides[1])
        result += np.einsum("goc,gcbyx->gobyx", kernels[..., y, x], codes.array[..., rows, cols])
    return result


def execute(mapping, hardware, weights, codes):
    """Run every tile, window and step one by one; return sums like `plain`, the writes and the MVMs."""
    layer = mapping.layer
    wanted = plain(layer, weights, codes)
    writes = mvms = 0
    total = np.zeros(wanted.shape, dtype=np.int64)
    input_sums = np.zeros((layer.repeat, *wanted.shape[2:]), dtype=np.int64)
    for part in mapping.parts:
        contents = lay_out(mapping, part, hardware)
        assert contents.rows.channel.shape == (part.rows,)
        assert contents.cols.output.shape == (part.cols,)
        cells = contents.encode(weights)
        assert cells.max(initial=0) < 1 << hardware.crossbar.cell_bits
        grid = contents.grid
        seen = codes.seen_by(layer)
        shape = (seen.shape[2], grid.height.positions, grid.width.positions)
        for place in contents.tiles():
            writes += 1
            mvms += run_tile(
                contents,
                place,
                cells,
                seen,
                total.reshape(*total.shape[:2], *shape),
                input_sums.reshape(layer.repeat, *shape),
            )
    offset = weight_offset(mapping.values, mapping.encoding)
    if offset:
        true_sums = plain(replace(layer, outputs=1), np.ones((layer.repeat, 1, layer.inputs), dtype=np.int64), codes)[
            :, 0
        ]
        if mapping.encoding is Encoding.OFFSET:
            np.testing.assert_array_equal(input_sums, true_sums)
        total -= offset * true_sums[:, None]
    return total, writes, mvms


def run_tile(contents, place, cells, seen, sums, input_sums):
    """Sweep one tile over all windows and steps; return the MVMs."""
    part, grid, hardware = contents.part, contents.grid, contents.accelerator
    crossbar, dac_bits = hardware.crossbar, hardware.converters.dac_bits
    block = place.block
    rows, cols = slice(block.row_start, block.row_stop), slice(block.col_start, block.col_stop)
    first = part.groups.start
    blocks = [cells[group - first, rows, cols] for group in range(place.groups.start, place.groups.stop)]
    tile = np.zeros((crossbar.rows, crossbar.cols), dtype=np.int64)
    for number, content in enumerate(blocks):
        height, width = content.shape
        tile[number * height : (number + 1) * height, number * width : (number + 1) * width] = content
    used = block.rows * len(blocks)
    mvms, sweeps = 0, grid.sweeps(part.window)
    steps = count_input_slices(contents.mapping.bits.act_bits, dac_bits)
    assert part.num_steps == -(-steps // part.slices_at_once)
    for image, (m, ys), (n, xs) in itertools.product(range(seen.shape[2]), *map(numbered, sweeps)):
        origin = np.array([m * sweeps[0].step, n * sweeps[1].step])
        for step in range(part.num_steps):
            drives = np.zeros(crossbar.rows, dtype=np.int64)
            for number, group in enumerate(range(place.groups.start, place.groups.stop)):
                drives[number * block.rows : (number + 1) * block.rows] = drive(
                    contents, rows, seen[group, :, image], origin, step
                )
            counts = np.zeros(crossbar.cols, dtype=np.int64)
            for start in range(0, used, part.rows_at_once):
                active = slice(start, min(start + part.rows_at_once, used))
                assert_resolved(hardware, contents.mapping.encoding, drives[active] @ tile[active])
                counts += drives[active] @ tile[active]
                mvms += 1
            for number, group in enumerate(range(place.groups.start, place.groups.stop)):
                part_counts = counts[number * block.cols : (number + 1) * block.cols]
                add(
                    contents,
                    cols,
                    part_counts << (step * contents.step_shift),
                    origin,
                    (ys, xs),
                    sums[group, :, image],
                    input_sums[group, image],
                )
    return mvms


def assert_resolved(hardware, encoding, counts):
    if hardware.converters.adc_bits != "ideal":
        sign = encoding is Encoding.DIFFERENTIAL_ROWS
        assert sign or counts.min() >= 0
        assert np.abs(counts).max() < 1 << (hardware.converters.adc_bits - sign)


def numbered(sweep):
    """Every window along an axis, with its positions and whether they are in the layer, by the runs of a program."""
    numbers = 0
    for run in sweep.runs():
        for number in range(run.first, run.first + run.count):
            numbers += 1
            yield number, dict(zip(sweep.offsets, run.inside, strict=True))
    assert numbers == sweep.count


def drive(contents, rows, codes, origin, step):
    layout, grid = contents.rows, contents.grid
    pixel = layout.pixel[rows] + origin * (grid.height.stride, grid.width.stride)
    inside = ((pixel >= 0) & (pixel < codes.shape[1:])).all(axis=1)
    y, x = np.where(inside[:, None], pixel, 0).T
    code = codes[layout.channel[rows], y, x]
    dac_bits = contents.accelerator.converters.dac_bits
    piece = (code >> (layout.shift[rows] + step * contents.step_shift)) & ((1 << dac_bits) - 1)
    return np.where(inside, piece * layout.sign[rows], 0)


def add(contents, cols, counts, origin, inside, sums, input_sums):
    layout = contents.cols
    for output, position, value in zip(
        layout.output[cols], layout.position[cols], counts * layout.weight[cols], strict=True
    ):
        if inside[0][int(position[0])] and inside[1][int(position[1])]:
            y, x = position + origin
            if output == CORRECTION:
                input_sums[y, x] += value
            else:
                sums[output, y, x] += value
