"""What docs/isa.md says beside the definitions in the code: legal values, times, and what digital operations compute."""

# ruff: noqa: E501 - lines of a page
from mho.deploy import image_format as form

RANGES = {
    "crossbar": "0 .. crossbars - 1",
    "address": "with all offsets inside of the buffer, for all values of the loops",
    "target": "inside of the sums, with all offsets, for all values of the loops",
    "stored_address": "as `address`, of the stored operand",
    "start": "0 .. size of the target - codes",
    "scale": "a positive float32",
    "zero_point": "within +-2^20",
    "qmin": "below qmax; within +-2^20",
    "qmax": "within +-2^20",
    "offset": "within +-2^20; where sums are requantized, 64 bits",
    "addend": "within +-2^20",
    "stored_factor": "within +-2^20; 0 without `stored_sums`",
    "binary": "0, or 1 with qmin = -1 and qmax = 1",
    "index": "0 .. tiles - 1",
    "rows": "not empty, inside of the constant; on the crossbar",
    "cols": "not empty, inside of the constant; on the crossbar",
    "corner": "0 .. rows - height, 0 .. columns - width",
    "limit": "0 .. 2^62",
    "low": "at most `high`; within +-2^20, and what the buffer holds",
    "high": "within +-2^20, and what the buffer holds",
    "joins": "0 or 1; 1 only right after a write of the same crossbar",
    "shift": "0 .. 62 with `row_shifts`",
    "dac_bits": "those of the chip",
    "cell_bits": "those of the chip",
    "row_signs": "+1, -1",
    "column_signs": "+1, -1",
    "first_row": "0 .. rows - driven rows",
    "first_col": "0 .. columns - counted columns",
    "column_offsets": "-1 or more",
    "count": "1 .. 2^31 - 1; all loops around an instruction together at most 10^11 turns",
    "pads": "0 or more, a pair for each axis",
}
"""What a loader refuses otherwise, by field."""

OPERANDS = {
    "source": "buffer of f32", "target": "buffer", "accumulators": "buffer of sums", "codes": "buffer of codes",
    "stored": "buffer of codes, or constant", "stored_sums": "buffer of sums, or none", "cells": "constant of cells",
    "correction": "constant, one a channel", "sum_factors": "constant, one a channel, or none",
    "multiplier": "constant of f32, one a channel", "bias": "constant of f32, one a channel, or none",
}  # fmt: skip
"""What an operand is, by field; all others are constants of whole numbers."""

TIMES = {
    "WriteTile": "one write of the crossbar (`write_latency_us`); none where it joins",
    "WriteDynamicTile": "one write of the crossbar (`write_latency_us`)",
    "Mvm": "one read (`mvm_latency_us`, with what DACs and ADCs take)",
    "ShiftAdd": "conversions of its columns, where `adc_latency_us` is given; its operations, where the digital unit's are",
    "SumInputs": "as many operations of the digital unit as codes, where those take time",
    "DigitalProduct": "rows times columns operations of the digital unit, where those take time",
}

EXTRA = {
    "QuantizeInput": "After them, the sizes of the source: one word an axis.",
    "WriteDynamicTile": "After them, the buffer (u8) that keeps the cells.",
    "WriteTile": "`cells` is a constant of cells.",
    "Requantize": "`limit` takes two words, the lower first.",
    "Layer": "Operands: its number (u32); then the words of its body. Name and ADC bits stand in the table of layers.",
    "Loop": "Operands: `count` (u32); then the words of its body. The loop's level is how many loops enclose it.",
    "Window": "Its operands are the words of its body.",
}

UNARY = {
    "relu": "max(x, 0)", "clip": "min(max(x, p0), p1)", "leaky_relu": "x >= 0 ? x : x p0",
    "thresholded_relu": "x <= p0 ? 0 : x", "hard_sigmoid": "min(max(x p0 + p1, 0), 1)",
    "hard_swish": "x min(max(x (1/6) + 0.5, 0), 1)", "neg": "-x", "abs": "|x|", "reciprocal": "1 / x",
    "softsign": "x / (1 + |x|)", "sqrt": "square root, correctly rounded", "cast_float16": "to float16 and back",
    "cast_bfloat16": "to bfloat16 and back",
    "fake_quantize": "(clamp(round_half_even(x / p0) + p1, p2, p3) - p1) p0", "exp": "e^x (*)", "log": "ln x (*)",
    "erf": "erf x (*)", "sigmoid": "1 / (1 + e^-x) (*)", "silu": "x / (1 + e^-x) (*)", "tanh": "tanh x (*)",
    "gelu": "x (1 + erf(x / sqrt 2)) / 2 (*)", "gelu_tanh": "its approximation by tanh (*)",
    "elu": "x < 0 ? d0 (e^x - 1) : x (*)", "celu": "x < 0 ? d0 (e^(x / d0) - 1) : x (*)",
    "selu": "d1 (x < 0 ? d0 (e^x - 1) : x) (*)", "softplus": "ln(1 + e^x) (*)", "mish": "x tanh(ln(1 + e^x)) (*)",
    "whole_power": "x^n by repeated squaring, n = p0 as int32 (*)", "large_power": "e^(d0 ln|x|), the sign of x where p2 (*)",
    "power": "e^(d0 ln x) (*)", "is_nan": "1 where x is NaN, else 0", "floor": "floor x", "ceil": "ceil x",
    "round": "to nearest, halves to even", "sign": "-1, 0 or 1", "sin": "sin x (*)", "cos": "cos x (*)",
}  # fmt: skip

DIGITAL = (
    ("UNARY", "function, out, in, count, p0, p1, p2, p3", "out[i] = f(in[i]), i < count"),
    (
        "BINARY", "function, out, a, b, mask or none, walk(a, b, mask)",
        "out[i] = f(a[..], b[..]), for the ith step of the walk",
    ),
    ("MOVE", "out, in, out base, in base, walk(in, out)", "out[base + ..] = in[base + ..]"),
    ("FILL", "out, value (float32)", "out[i] = value"),
    ("GATHER", "out, in, indices, outer, size, inner, count", "out[o, i, k] = in[o, indices[i], k]"),
    (
        "REDUCE", "function, out, in, walk(in), walk(in)",
        "out[i] = the sum, mean or maximum over the second walk, from the ith step of the first, by the tree",
    ),
    (
        "POOL", "0 maximum, 1 mean; out, in, planes, height, width, out height, out width, kernel (2), strides (2), pads "
        "(top, left), dilations (2), first counted (2), end of counted (2)",
        "each window of each plane, by the tree over its taps, row by row; a mean takes 0 outside, and divides by the taps "
        "within the counted rows and columns",
    ),
    (
        "SOFTMAX", "0, or 1 for its logarithm; out, in, outer, size, inner",
        "e = e^(x - max); e / sum by the tree; or (x - max) - ln(sum)",
    ),
    (
        "LAYER_NORM", "out, in, scale, bias or none, epsilon, outer, size, walk(scale, bias)",
        "c = x - mean; c / sqrt(mean(c c) + epsilon) scale + bias; means by the tree",
    ),
    ("EMBED", "out, in, table, rows, width", "out[i] = table[in[i]], rows from the end where in[i] < 0"),
    ("SCATTER", "out, indices, in, outer, size, inner",
     "out[o, indices[i], k] = in[o, i, k], i in order; slices from the end where indices[i] < 0"),
    ("ORDER", "function, largest, last, out, in, outer, size, inner, count",
     "the `count` largest of in[o, :, k], or smallest, in order (function 1: where they stand); of equal ones the "
     "earlier first, or the later where `last`; NaN is larger than every number"),
    ("INT_QUANTIZE", "out, in (f32), count, scale, low, high", "clamp(round_half_even(in[i] / scale))"),
    ("INT_DEQUANTIZE", "out (f32), in, count, scale", "in[i] scale"),
    ("INT_CLAMP", "out, in, count, low, high", "clamp(in[i])"),
    ("INT_SCALE", "out, in, m, o, shift, low, high, walk(in, m, o)", "clamp(RS(in m + o, shift))"),
    (
        "INT_ADD", f"out, n (1 .. {form.MOST_OPERANDS}), shift, low, high, n operands, n multipliers, walk(operands)",
        "clamp(RS(the sum of multiplier operand, shift))",
    ),
    ("INT_MUL", "out, a, b, multiplier, shift, low, high, walk(a, b)", "clamp(RS(a b multiplier, shift))"),
    ("INT_TABLE", "out, in, table, count, first", "table[in[i] - first], the ends beyond"),
    (
        "INT_POOL", "out, in, m, the windows of POOL, shift, low, high, strides of m (down, right)",
        "clamp(RS((the sum of the taps inside) m, shift))",
    ),
    ("INT_REDUCE", "out, in, multiplier, shift, low, high, walk(in), walk(in)", "clamp(RS(sum multiplier, shift))"),
    (
        "INT_SOFTMAX", "out, in, fine, coarse, outer, size, inner, multiplier, shift, low, high",
        "d = max - x; e = (fine[d & 255] coarse[d >> 8]) >> 30; clamp(RS(floor(e 2^30 / sum) multiplier, shift))",
    ),
    (
        "INT_LAYER_NORM", "out, in, m, o, epsilon (64 bits), outer, size, shift, low, high, walk(m, o)",
        "c = n x - sum; V = n (sum of squares) - sum^2 + epsilon; k the largest with V 4^k < 2^62; "
        "r = RS(c floor(2^61 / floor(sqrt(V 4^k))), 41 - k), 0 where V is 0; clamp(RS(r m + o, shift))",
    ),
    ("INT_RMS_NORM", "those of INT_LAYER_NORM", "the same with 0 for the sum: c = n x; V = n (sum of squares) + epsilon"),
    ("INT_EMBED", "out, in, table, rows, width", "out[i] = table[in[i]], rows from the end where in[i] < 0"),
    (
        "INT_DIV", "those of INT_MUL",
        "clamp(floor((2 a multiplier sign(b) + d) / (2 d))), d = &#124;b&#124; 2^shift; where b is 0, low, 0 or high by the sign of a",
    ),
)  # fmt: skip
