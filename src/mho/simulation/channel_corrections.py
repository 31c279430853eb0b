"""Corrections of a program's channels on one chip, as a value and as a file, and the program that has them.

A layer's output is total * multiplier + bias for each channel, see `Dequantize`. What errors of cells, drift and
converters do to a channel as a whole, its scale and its bias can undo: only these constants of the digital unit
change, integers and instructions do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.array_files import check_kinds, read_arrays, write_arrays
from mho.errors import ConfigError, InputFileError
from mho.program.container import program_digest
from mho.program.instructions import Dequantize, Instruction, Layer
from mho.program.program import Program, rewrite
from mho.simulation.chip_origin import ORIGIN, ChipOrigin

Floats = NDArray[np.float64]

_EXPECTED = "corrections of channels, as `mho correct-channels` writes them"
_KINDS = {"layers": ("U", 1), "shapes": ("i", 2), "scale": ("f", 1), "shift": ("f", 1)}


@dataclass(frozen=True, eq=False)
class Correction:
    """What the channels of a layer are multiplied with and what is added: y becomes scale y + shift.

    Attributes:
        scale, shift: float64 [groups, channels], finite.
    """

    scale: Floats
    shift: Floats

    @property
    def changes(self) -> bool:
        """False where every channel stays as it is."""
        return bool((self.scale != 1).any() or (self.shift != 0).any())

    def apply(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a layer's corrected output, float32 [samples, batch, groups, lines, channels, rows, columns]."""
        scale, shift = (one[None, None, :, None, :, None, None] for one in (self.scale, self.shift))
        return (output * scale + shift).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ChannelCorrections:
    """Corrections of all layers of a program on one chip.

    Attributes:
        origin: on which chip they were found, and how it was read.
        layers: by name, in execution order; layers that have no cells are left out. Read-only.
    """

    origin: ChipOrigin
    layers: Mapping[str, Correction]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def correct(self, program: Program) -> Program:
        """Return the program with corrected constants of `Dequantize`; the same one where nothing is corrected.

        Args:
            program: that they were found for.

        Raises:
            ConfigError: they were found for another program, or take a channel beyond float32.
        """
        if self.origin.program != program_digest(program):
            raise ConfigError(
                "the corrections were found for another program", where=program.name, hint="recalibrate again"
            )
        if not any(one.changes for one in self.layers.values()):
            return program
        constants = dict(program.constants)
        instructions = tuple(
            _correct(item, self.layers[item.name], constants)
            if isinstance(item, Layer) and item.name in self.layers
            else item
            for item in program.instructions
        )
        return replace(program, instructions=instructions, constants=constants)


def _correct(item: Layer, correction: Correction, constants: dict[str, NDArray[Any]]) -> Layer:
    """Return a layer whose dequantization is corrected; adds constants. A constant may be that of other layers too."""

    def correct(one: Instruction) -> tuple[Instruction, ...]:
        if not isinstance(one, Dequantize):
            return (one,)
        multiplier, bias = f"{item.name}:corrected_multiplier", f"{item.name}:corrected_bias"
        old = constants[one.bias] if one.bias else 0.0
        with np.errstate(over="ignore"):
            moved = (correction.scale * old + correction.shift).astype(np.float32)
            constants[multiplier] = (constants[one.multiplier] * correction.scale).astype(np.float32)
        if not (np.isfinite(moved).all() and np.isfinite(constants[multiplier]).all()):
            raise ConfigError("a corrected channel is beyond float32", where=item.name, hint="recalibrate again")
        if not (one.bias or moved.any()):
            return (replace(one, multiplier=multiplier),)
        constants[bias] = moved
        return (replace(one, multiplier=multiplier, bias=bias),)

    return replace(item, body=rewrite(item.body, correct))


def write_corrections(corrections: ChannelCorrections, path: str | Path) -> None:
    """Write corrections to an .npz file of plain arrays, atomically.

    Raises:
        InputFileError: it cannot be written.
    """
    layers = list(corrections.layers.values())
    scale, shift = (
        np.concatenate([np.zeros(0), *(getattr(one, part).ravel() for one in layers)]) for part in ("scale", "shift")
    )
    write_arrays(
        path,
        {
            ORIGIN: corrections.origin.to_array(),
            "layers": np.array(list(corrections.layers), dtype=np.str_),
            "shapes": np.array([one.scale.shape for one in layers], dtype=np.int64).reshape(-1, 2),
            "scale": scale,
            "shift": shift,
        },
    )


def read_corrections(path: str | Path) -> ChannelCorrections:
    """Read the corrections that `write_corrections` wrote.

    Raises:
        InputFileError: missing, damaged, or no corrections.
    """
    arrays, where = read_arrays(path), str(path)
    origin = ChipOrigin.read(arrays, where=where, expected=_EXPECTED)
    check_kinds(arrays, _KINDS, where=where, expected=_EXPECTED)
    return ChannelCorrections(origin, _cut(arrays, where))


def _cut(arrays: Mapping[str, NDArray[Any]], where: str) -> dict[str, Correction]:
    """Return the correction of each layer."""
    names, shapes = [str(name) for name in arrays["layers"]], arrays["shapes"].tolist()
    scale, shift = (arrays[part].astype(np.float64) for part in ("scale", "shift"))
    sizes = [groups * channels for groups, channels in shapes] if arrays["shapes"].shape[1] == 2 else []
    fits = len(names) == len(sizes) and len(set(names)) == len(names) and all(min(shape) > 0 for shape in shapes)
    if not fits or sum(sizes) != len(scale) or scale.shape != shift.shape:
        raise InputFileError("its arrays do not fit each other", where=where, expected=_EXPECTED)
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise InputFileError("a correction is not finite", where=where, expected=_EXPECTED)
    edges = np.cumsum([0, *sizes]).tolist()
    return {
        name: Correction(scale[start:stop].reshape(shape), shift[start:stop].reshape(shape))
        for name, shape, start, stop in zip(names, shapes, edges, edges[1:], strict=False)
    }
