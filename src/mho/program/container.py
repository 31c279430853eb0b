"""The file of a program: one versioned, checksummed container of a JSON header and raw arrays. No pickle, no code.

    magic (8 bytes) | version u32 | header length u64 | file length u64 | SHA-256 of the header (32 bytes)
    | header (JSON, UTF-8) | zeros to a multiple of 64 | arrays, each followed by zeros to a multiple of 64

Numbers are little-endian. The header's table tells, for every array, its type, shape, place (from the end of the
header's zeros) and SHA-256. Every byte of the file is checked; arrays are mapped into memory, not copied. Reading and
writing again gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mho.cache_folder import open_atomically
from mho.errors import InputFileError, MemoryBudgetError, ProgramError, file_errors
from mho.hardware.loading import accelerator_from_json
from mho.input_files import check_memory, check_regular_file, parse_json, tell_kind
from mho.program.codec import decode_instructions, decode_schedule, encode_instructions, encode_schedule
from mho.program.program import Buffer, BufferKind, Program
from mho.program.reloads import ProgramReloads
from mho.program.verify import verify_program

MAGIC = b"MHOPROG\n"
FORMAT_VERSION = 3
RELOAD_VERSION = 4
"""Of programs whose tiles are reloaded into several crossbars, which version 3 does not have; all else is the same."""
ALIGNMENT = 64
_PREFIX = struct.Struct("<8sIQQ32s")
_DTYPES = ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool")
_HEADER_KEYS = (
    "name",
    "accelerator",
    "inputs",
    "outputs",
    "buffers",
    "constants",
    "instructions",
    "schedule",
    "metadata",
)
_MAX_RANK = 16
_MAX_ELEMENTS = 1 << 48
"""Of an array, axes of size 0 left out: NumPy holds no more."""


def write_program(program: Program, path: str | Path) -> None:
    """Write `program` to `path`, atomically: either the whole file appears or none.

    Raises:
        InputFileError: the folder cannot be written to.
        ProgramError: a constant has a type that the container does not hold.
    """
    path = Path(path)
    header, arrays = _encode(program)
    offset = sum(_aligned(array.nbytes) for array in arrays.values())
    body_start = _aligned(_PREFIX.size + len(header))
    prefix = _PREFIX.pack(
        MAGIC, _find_version(program), len(header), body_start + offset, hashlib.sha256(header).digest()
    )
    with file_errors(path, "cannot be written"), open_atomically(path) as file:
        file.write(prefix)
        _write_padded(file, header, _PREFIX.size + len(header))
        for array in arrays.values():
            _write_padded(file, _bytes(array), array.nbytes)


def program_digest(program: Program) -> str:
    """Return what identifies a program: the SHA-256 of its file's header, which holds those of all arrays, in hex.

    Raises:
        ProgramError: a constant has a type that the container does not hold.
    """
    return hashlib.sha256(_encode(program)[0]).hexdigest()


def read_program(path: str | Path) -> Program:
    """Read and verify a program file. Its constants are mapped into memory, read-only.

    Raises:
        InputFileError: missing, not a program, truncated or damaged.
        MemoryBudgetError: the file, or the buffers of one sample, are larger than the budget.
        ProgramError: written by a newer mho, or inconsistent with itself.
        ConfigError: its accelerator is impossible.
    """
    path, expected = Path(path), "a program of `mho compile`"
    check_memory(check_regular_file(path, expected=expected), "the file", where=str(path))
    try:
        content: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        what = "the file is empty" if isinstance(error, ValueError) else error.strerror or "cannot be read"
        raise InputFileError(what, where=str(path), expected=expected) from error
    version, header, body = _split(content, str(path))
    try:
        program = _program(header, body, str(path))
        if version != _find_version(program):
            raise _other_version(version, program.name)
        verify_program(program)
    except (ProgramError, MemoryBudgetError) as error:
        where = f"{path}: {error.where}"
        raise type(error)(error.what, where=where, expected=error.expected, hint=error.hint) from error
    return program


def _encode(program: Program) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """Return the header of a program's file, and its arrays in their order."""
    arrays = {name: _plain_array(name, array) for name, array in program.constants.items()}
    table, offset = {}, 0
    for name, array in arrays.items():
        digest = hashlib.sha256(_bytes(array)).hexdigest()
        table[name] = {"dtype": array.dtype.name, "shape": list(array.shape), "offset": offset, "sha256": digest}
        offset += _aligned(array.nbytes)
    return _header(program, table), arrays


def _header(program: Program, table: dict[str, Any]) -> bytes:
    header = {
        "name": program.name,
        "accelerator": program.accelerator.to_json(),
        "inputs": list(program.inputs),
        "outputs": list(program.outputs),
        "buffers": {name: _buffer_entry(buffer) for name, buffer in program.buffers.items()},
        "constants": table,
        "instructions": encode_instructions(program.instructions),
        "schedule": encode_schedule(program.schedule),
        "metadata": dict(program.metadata),
    }
    return json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()


def _find_version(program: Program) -> int:
    return RELOAD_VERSION if isinstance(program.schedule, ProgramReloads) else FORMAT_VERSION


def _other_version(version: int, where: str) -> ProgramError:
    return ProgramError(
        f"program format {version}", where=where, expected=f"format {FORMAT_VERSION} or {RELOAD_VERSION}",
        hint="compile it again with this mho, or update mho",
    )  # fmt: skip


def _split(content: NDArray[np.uint8], where: str) -> tuple[int, dict[str, Any], NDArray[np.uint8]]:
    """Check prefix, lengths and the header's checksum; return the version, the header and what follows it."""
    if content.size < _PREFIX.size or bytes(content[: len(MAGIC)]) != MAGIC:
        kind = tell_kind(where, content[: _PREFIX.size].tobytes())
        raise InputFileError(
            f"not a program file, but {kind}" if kind and not where.endswith(".mho") else "not a program file",
            where=where,
            expected="a program of `mho compile`",
            hint=f"mho compile {where} --accelerator NAME -o P.mho makes one" if where.endswith(".onnx") else "",
        )
    _, version, header_length, file_length, digest = _PREFIX.unpack(bytes(content[: _PREFIX.size]))
    if version not in (FORMAT_VERSION, RELOAD_VERSION):
        raise _other_version(version, where)
    header_stop = _PREFIX.size + header_length
    if file_length != content.size or header_stop > content.size:
        raise InputFileError(
            f"{content.size} bytes long",
            where=where,
            expected=f"{file_length} bytes",
            hint="it is truncated or damaged",
        )
    text = bytes(content[_PREFIX.size : header_stop])
    if hashlib.sha256(text).digest() != digest:
        raise InputFileError("the header's checksum does not match", where=where, hint="the file is damaged")
    header = parse_json(text, where=f"{where}: header")
    body_start = _aligned(header_stop)
    if body_start > content.size or content[header_stop:body_start].any():
        raise InputFileError("the header is not followed by zeros", where=where, hint="the file is damaged")
    return version, header, content[body_start:]


def _program(header: Any, body: NDArray[np.uint8], where: str) -> Program:
    if not isinstance(header, dict) or tuple(header) != _HEADER_KEYS:
        raise ProgramError("wrong keys", where="header", expected=", ".join(_HEADER_KEYS))
    return Program(
        name=_text(header["name"], "name"),
        accelerator=accelerator_from_json(header["accelerator"], where=f"{where}: accelerator"),
        inputs=_names(header["inputs"], "inputs"),
        outputs=_names(header["outputs"], "outputs"),
        buffers={name: _buffer(entry, name) for name, entry in _object(header["buffers"], "buffers").items()},
        constants=_arrays(_object(header["constants"], "constants"), body, where),
        instructions=decode_instructions(header["instructions"], "instructions"),
        schedule=decode_schedule(header["schedule"], "schedule"),
        metadata=_object(header["metadata"], "metadata"),
    )


def _arrays(table: dict[str, Any], body: NDArray[np.uint8], where: str) -> dict[str, NDArray[Any]]:
    arrays, offset = {}, 0
    for name, entry in table.items():
        if not isinstance(entry, dict) or tuple(entry) != ("dtype", "shape", "offset", "sha256"):
            raise ProgramError("wrong entry", where=f"constants.{name}", expected="dtype, shape, offset, sha256")
        shape = _shape(entry["shape"], f"constants.{name}")
        if entry["dtype"] not in _DTYPES or entry["offset"] != offset:
            raise ProgramError("wrong type or place", where=f"constants.{name}", expected=", ".join(_DTYPES))
        dtype = np.dtype(entry["dtype"]).newbyteorder("<")
        size = math.prod(shape) * dtype.itemsize
        stop = offset + _aligned(size)
        if stop > body.size:
            raise InputFileError(f"constant {name!r} lies beyond the end", where=where, hint="the file is damaged")
        raw = body[offset : offset + size]
        if hashlib.sha256(raw.data).hexdigest() != entry["sha256"] or body[offset + size : stop].any():
            raise InputFileError(
                f"the checksum of constant {name!r} does not match", where=where, hint="the file is damaged"
            )
        arrays[name] = raw.view(dtype).reshape(shape) if size else np.empty(shape, dtype)
        offset = stop
    if offset != body.size:
        raise InputFileError("bytes follow the last constant", where=where, hint="the file is damaged")
    return arrays


def _plain_array(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.name not in _DTYPES:
        raise ProgramError(f"a constant of type {array.dtype}", where=name, expected=", ".join(_DTYPES))
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _write_padded(file: BinaryIO, content: bytes | memoryview, position: int) -> None:
    file.write(content)
    file.write(bytes(_aligned(position) - position))


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProgramError("not an object", where=where)
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ProgramError("not a text", where=where)
    return value


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ProgramError("not a list of names", where=where)
    return tuple(_text(item, where) for item in value)


def _shape(value: Any, where: str) -> tuple[int, ...]:
    is_shape = isinstance(value, list) and len(value) <= _MAX_RANK and all(type(s) is int and s >= 0 for s in value)
    if not is_shape or math.prod(size for size in value if size) > _MAX_ELEMENTS:
        raise ProgramError("no shape", where=where, expected=f"at most {_MAX_RANK} sizes of together 2^48 elements")
    return tuple(value)


def _buffer(entry: Any, name: str) -> Buffer:
    kinds: Mapping[str, BufferKind] = {kind.value: kind for kind in BufferKind}
    if not isinstance(entry, list) or len(entry) < 2 or not isinstance(entry[0], str) or entry[0] not in kinds:
        raise ProgramError("wrong entry", where=f"buffers.{name}", expected=f"[{' | '.join(kinds)}, shape]")
    kind, limits = kinds[entry[0]], entry[2:]
    if [type(one) for one in limits] != ([int, int, float] if kind is BufferKind.INTEGERS else []):
        raise ProgramError("wrong limits", where=f"buffers.{name}", expected="low, high and scale of integers alone")
    return Buffer(kind, _shape(entry[1], f"buffers.{name}"), *limits)


def _buffer_entry(buffer: Buffer) -> list[Any]:
    limits = [buffer.low, buffer.high, buffer.scale] if buffer.kind is BufferKind.INTEGERS else []
    return [buffer.kind.value, list(buffer.shape), *limits]
