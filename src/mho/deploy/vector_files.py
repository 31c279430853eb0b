"""Test vectors as files: `$readmemh` for RTL, JSON and .npz for scripts, parameters for a testbench, a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.array_files import write_arrays
from mho.deploy.backends import Job
from mho.deploy.vector_recorder import VectorArray
from mho.deploy.vectors import LayerVectors, record_vectors
from mho.errors import ConfigError
from mho.formats import plural

VERSION = 1
"""Of the files. A change that a reader must know of raises it."""


class VectorsBackend:
    """The backend `vectors`."""

    summary = "test vectors of one layer for RTL: $readmemh files, JSON and .npz, with a manifest"
    options: Mapping[str, str] = MappingProxyType(
        {
            "layer": "name of the MVM layer; needed",
            "windows": "FIRST:STOP, the windows that are recorded; by default all",
            "sample": "number of the sample, by default 0",
            "adc-bits": "bits of ADCs that read whole steps and clip; by default the accelerator's",
        }
    )

    def emit(self, job: Job, directory: Path) -> Sequence[str]:
        """Write the vectors of one layer."""
        if job.inputs is None:
            raise ConfigError("vectors are those of a sample", expected="inputs")
        if "layer" not in job.options:
            names = ", ".join(layer.name for layer in job.program.layers)
            raise ConfigError("vectors are those of one layer", expected=f"option layer: {names}")
        bits = job.options.get("adc-bits")
        vectors = record_vectors(
            job.program,
            job.inputs,
            job.options["layer"],
            windows=read_windows(job.options["windows"]) if "windows" in job.options else None,
            sample=_read_integer("sample", job.options.get("sample", "0")),
            adc_bits=None if bits is None else _read_integer("adc-bits", bits),
        )
        write_vectors(vectors, directory)
        return list(describe(vectors))


BACKEND = VectorsBackend()


def read_windows(text: str) -> tuple[int, int]:
    """Return what FIRST:STOP says. Raises `ConfigError`."""
    first, colon, stop = text.partition(":")
    if not colon or not first.isdecimal() or not stop.isdecimal() or len(text) > 40:
        raise ConfigError(f"windows {text!r}", expected="FIRST:STOP, such as 0:4")
    return int(first), int(stop)


def _read_integer(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ConfigError(f"option {name} is {text!r}", expected="a whole number")
    return int(text)


def describe(vectors: LayerVectors) -> tuple[str, ...]:
    """Return lines that say what was recorded."""
    drives, codes = vectors.arrays["drives"].values, vectors.arrays["codes"].values
    first, stop = vectors.windows
    lines = [
        f"layer {vectors.layer}: {plural(len(drives), 'MVM')} of {plural(stop - first, 'window')}, "
        f"{drives.shape[1]} x {codes.shape[1]} cells of {plural(vectors.cell_bits, 'bit')}, "
        f"{vectors.dac_bits}-bit DACs, {vectors.adc_bits}-bit ADCs",
    ]
    if vectors.clipped is not None:
        lines.append(f"the ADCs clip {plural(vectors.clipped, 'conversion')}; sums follow from what they read")
    if not vectors.requantized_by:
        lines.append("no codes of the next layer: between them lie operations on more than single elements")
    return tuple(lines)


def write_vectors(vectors: LayerVectors, directory: Path) -> None:
    """Write all files into a folder that is there."""
    for name, one in vectors.arrays.items():
        (directory / f"{name}.hex").write_text(_to_hex(one), encoding="ascii")
    values = {name: one.values for name, one in vectors.arrays.items()}
    write_arrays(directory / "vectors.npz", values)
    text = json.dumps({name: array.tolist() for name, array in values.items()})
    (directory / "vectors.json").write_text(text + "\n", encoding="utf-8")
    (directory / "manifest.json").write_text(json.dumps(_manifest(vectors), indent=2) + "\n", encoding="utf-8")
    (directory / "parameters.svh").write_text(_parameters(vectors), encoding="ascii")


def _to_hex(one: VectorArray) -> str:
    """Return values as `$readmemh` reads them: words in C order, those of the last axis in one line."""
    digits = -(-one.bits // 4)
    values = _to_words(one.values, one.bits)
    rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(-1, 1)
    return "".join(" ".join(f"{word:0{digits}x}" for word in row) + "\n" for row in rows.tolist())


def _to_words(values: NDArray[Any], bits: int) -> NDArray[np.uint64]:
    if values.dtype == np.float32:
        return values.view(np.uint32).astype(np.uint64)
    return values.astype(np.int64).view(np.uint64) & np.uint64((1 << bits) - 1)


def _manifest(vectors: LayerVectors) -> dict[str, Any]:
    return {
        "format": "mho vectors",
        "version": VERSION,
        "program": vectors.program,
        "program_sha256": vectors.digest,
        "accelerator": vectors.accelerator,
        "layer": vectors.layer,
        "sample": vectors.sample,
        "windows": list(vectors.windows),
        "cell_bits": vectors.cell_bits,
        "dac_bits": vectors.dac_bits,
        "adc_bits": vectors.adc_bits,
        "clipped_conversions": vectors.clipped,
        "requantized_by": vectors.requantized_by or None,
        "order": "words of a .hex file are in C order: the last axis is the fastest, and is one line",
        "negative": "two's complement of the given bits; float32 as its IEEE 754 bits",
        "arrays": {
            name: {
                "file": f"{name}.hex",
                "shape": list(one.values.shape),
                "axes": list(one.axes),
                "bits": one.bits,
                "signed": one.is_signed,
                "type": "float32" if one.values.dtype == np.float32 else "integer",
                "meaning": one.meaning,
            }
            for name, one in vectors.arrays.items()
        },
    }


def _parameters(vectors: LayerVectors) -> str:
    """Return local parameters of SystemVerilog: what a testbench needs to declare its memories."""
    arrays = vectors.arrays
    writes, rows, cols = arrays["cells"].values.shape
    signed = {"DRIVE": arrays["drives"], "CODE": arrays["codes"]}
    values = {
        "WRITES": writes,
        "ROWS": rows,
        "COLS": cols,
        "READS": len(arrays["drives"].values),
        "OUTPUTS": len(arrays["totals"].values),
        "CELL_BITS": arrays["cells"].bits,
        "DRIVE_BITS": arrays["drives"].bits,
        "COUNT_BITS": arrays["counts"].bits,
        "ADC_BITS": arrays["codes"].bits,
        "WEIGHT_BITS": arrays["weights"].bits,
        "SUM_BITS": arrays["sums"].bits,
    } | {f"{name}_SIGNED": int(one.is_signed) for name, one in signed.items()}
    return "".join(f"localparam int {name} = {value};\n" for name, value in values.items())
