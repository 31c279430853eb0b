"""The program image: what a device reads instead of a program file. Numbers of opcodes and operations, and its tables.

Little-endian throughout; `docs/isa.md` describes every byte, and is generated from here and from the instructions.
Version 1.0 is frozen: a number that is given is never given another meaning. A later minor version only adds numbers; a
loader refuses an image of a later version than its own.
"""

from __future__ import annotations

import struct
from typing import Final

from mho.program.instructions import (
    ClearAccumulators,
    Dequantize,
    DigitalProduct,
    Layer,
    LoadInput,
    Loop,
    Mvm,
    QuantizeInput,
    Requantize,
    ShiftAdd,
    SumInputs,
    Window,
    WriteDynamicTile,
    WriteTile,
)

MAGIC: Final = b"MHOIMG\r\n"
VERSION: Final = (1, 3)
"""The newest; an image has the least minor version that has its opcodes."""

HEADER_FIELDS: Final = (
    ("magic", "8s", "`MHOIMG\\r\\n`"),
    ("major", "H", "version: 1"),
    ("minor", "H", "the least whose opcodes are used: 0 to 3"),
    ("file_bytes", "I", "length of the image"),
    ("checksum", "I", "CRC-32 (IEEE 802.3, as zlib's) of all bytes that follow this field"),
    ("regime", "I", "0 one crossbar, 1 weight-stationary, 2 time-multiplexed"),
    ("arena_bytes", "I", "memory for all buffers of one sample"),
    ("crossbars", "I", "crossbars that the program uses, numbered from 0"),
    ("rows", "I", "rows of a crossbar"),
    ("cols", "I", "columns of a crossbar"),
    ("cell_bits", "I", "bits of a cell"),
    ("dac_bits", "I", "bits of an input slice"),
    ("adc_bits", "I", "bits of an ADC; 0: ideal"),
    ("buffers", "I", "number of buffers"),
    ("constants", "I", "number of constants"),
    ("layers", "I", "number of layers"),
    ("inputs", "I", "number of inputs"),
    ("outputs", "I", "number of outputs"),
    ("buffers_at", "I", "byte at which the table of buffers starts"),
    ("constants_at", "I", "the same of constants"),
    ("layers_at", "I", "the same of layers"),
    ("ports_at", "I", "the same of inputs, which outputs follow"),
    ("code_at", "I", "the same of the code"),
    ("code_words", "I", "words (of four bytes) of code"),
    ("names_at", "I", "byte at which the names start"),
    ("names_bytes", "I", "length of the names: UTF-8 texts, each followed by a zero byte"),
    ("blocks", "I", "the most tiles that one write of a crossbar joins"),
    ("program", "32s", "SHA-256 of the header of the program's file, which identifies it"),
)
"""Name, type as of the module struct, meaning."""
BUFFER_FIELDS: Final = (
    ("element", "I", "type of its elements"),
    ("count", "I", "elements"),
    ("offset", "I", "first byte in the arena, a multiple of 8"),
)
CONSTANT_FIELDS: Final = (
    ("element", "H", "type of its elements"),
    ("uniform", "H", "1: all elements are equal, and one is held"),
    ("count", "I", "elements"),
    ("rows", "I", "of cells: rows of one matrix; else 0"),
    ("cols", "I", "of cells: columns of one matrix; else 0"),
    ("at", "I", "first byte in the image"),
)
LAYER_FIELDS: Final = (
    ("name_at", "I", "place of its name among the names"),
    ("adc_bits", "I", "bits of its ADCs; 0: those of the chip"),
)
PORT_FIELDS: Final = (
    ("name_at", "I", "place of its name among the names"),
    ("buffer", "I", "number of its buffer"),
    ("count", "I", "elements of one sample"),
)

OPCODES: Final = {
    QuantizeInput: 1,
    ClearAccumulators: 2,
    SumInputs: 3,
    DigitalProduct: 4,
    WriteTile: 5,
    WriteDynamicTile: 6,
    LoadInput: 7,
    Mvm: 8,
    ShiftAdd: 9,
    Dequantize: 10,
    Loop: 11,
    Window: 12,
    Layer: 13,
    Requantize: 14,
}
"""Of every instruction but `Digital`, which becomes one or several operations below."""

UNARY, BINARY, MOVE, FILL, GATHER, REDUCE, POOL, SOFTMAX, LAYER_NORM, EMBED, SCATTER, ORDER = range(32, 44)
INT_QUANTIZE, INT_DEQUANTIZE, INT_CLAMP, INT_SCALE, INT_ADD, INT_MUL, INT_TABLE, INT_POOL = range(48, 56)
INT_REDUCE, INT_SOFTMAX, INT_LAYER_NORM, INT_RMS_NORM, INT_EMBED, INT_DIV = range(56, 62)

ADDED: Final = {SCATTER: 1, ORDER: 1, INT_RMS_NORM: 2, INT_EMBED: 3, INT_DIV: 3}
"""The minor version that an opcode came with, where that is not 0."""

MOST_OPERANDS: Final = 8
"""Of an addition of integers."""

UNARY_FUNCTIONS: Final = (
    "relu", "clip", "leaky_relu", "thresholded_relu", "hard_sigmoid", "hard_swish", "neg", "abs", "reciprocal",
    "softsign", "sqrt", "cast_float16", "cast_bfloat16", "fake_quantize", "exp", "log", "erf", "sigmoid", "silu",
    "tanh", "gelu", "gelu_tanh", "elu", "celu", "selu", "softplus", "mish", "whole_power", "large_power", "power",
    "is_nan", "floor", "ceil", "round", "sign", "sin", "cos",
)  # fmt: skip
BINARY_FUNCTIONS: Final = (
    "add",
    "sub",
    "mul",
    "div",
    "minimum",
    "maximum",
    "prelu",
    "where",
    "equal",
    "less",
    "less_or_equal",
)
REDUCE_FUNCTIONS: Final = ("reduce_sum", "reduce_mean", "reduce_max")

CONSTANT_REFERENCE: Final = 0x80000000
"""Set where an operand is a constant; the other bits are its number. Without it: the number of a buffer."""
NO_REFERENCE: Final = 0xFFFFFFFF


def pack_format(fields: tuple[tuple[str, str, str], ...]) -> struct.Struct:
    """Return the struct of a table's entry."""
    return struct.Struct("<" + "".join(kind for _, kind, _ in fields))


CHECKED_FROM: Final = 20
"""The first byte that the checksum covers."""
