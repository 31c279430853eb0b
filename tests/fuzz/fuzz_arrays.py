"""Arrays in .npz files: inputs and labels of programs, datasets, ranges of ADCs and corrections of channels."""

from __future__ import annotations

import copy
import io
import json
import struct
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerators import make_accelerator
from damage import HOSTILE_TEXTS, WHOLE_NUMBERS, change_tree, to_json
from fuzzing import Files, Kind
from random_networks import Chooser
from small_programs import compile_small, conv_network

import mho
from mho.cli.chip import Samples
from mho.data.loading import load_dataset
from mho.data.spec import DataSpec
from mho.program.container import write_program
from mho.simulation.executor import Executor

_TYPES = ("<f4", "<f8", "<f2", "<i8", "<i4", "|i1", "|u1", "<u8", ">f4", "<c16", "|b1")
_STRANGE_TYPES = (*_TYPES, "|O", "<U5", "|S3", "<M8[s]", "|V4", "x", "", "<f999999999", "|V999999999")
_NUMBERS = (0.0, -0.0, -1.0, 1.5, 1e-42, 1e30, 3.4e38, float("inf"), float("-inf"), float("nan"), 2**31, 2**63, 2**64)
_BOMB_BYTES = 160 << 20


@dataclass
class Entry:
    """An array of an archive: its file's name, header and data, and how it is packed."""

    name: str
    header: dict[str, Any] | str
    data: bytes
    is_deflated: bool = False
    zeros: int = 0

    @classmethod
    def of(cls, name: str, array: np.ndarray) -> Entry:
        header = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
        return cls(f"{name}.npy", header, np.ascontiguousarray(array).tobytes())

    @property
    def array(self) -> np.ndarray:
        """The array, or one number where header and data do not fit each other any more."""
        try:
            return np.frombuffer(self.data, self.header["descr"]).reshape(self.header["shape"])
        except (TypeError, ValueError, SyntaxError, KeyError):
            return np.zeros(1, np.float32)

    def content(self) -> bytes:
        """The bytes of the .npy file."""
        text = (self.header if isinstance(self.header, str) else repr(self.header)).encode("latin-1", "replace") + b"\n"
        long = len(text) > 65535
        prefix = b"\x93NUMPY" + (b"\x02\x00" if long else b"\x01\x00") + struct.pack("<I" if long else "<H", len(text))
        return prefix + text + self.data + bytes(self.zeros)


def pack(entries: list[Entry]) -> bytes:
    """Return an archive of arrays."""
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w") as archive:
        warnings.simplefilter("ignore")  # of two files with one name
        for entry in entries:
            method = zipfile.ZIP_DEFLATED if entry.is_deflated else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(entry.name or "."), entry.content(), method, compresslevel=1)
    return content.getvalue()


def change_entries(entries: list[Entry], chooser: Chooser) -> str:
    """Change one array of an archive in place."""
    if not entries:
        entries.append(Entry.of("x", np.zeros(3, np.float32)))
    place = chooser.integer(0, len(entries) - 1)
    entry = entries[place]
    try:
        return f"{entry.name}: {chooser.choice(_CHANGES)(entries, place, chooser)}"
    except (ValueError, TypeError, OverflowError, IndexError) as error:  # NumPy's: no such type, shape or number
        return f"{entry.name}: nothing ({error})"


def _rename(entries: list[Entry], place: int, chooser: Chooser) -> str:
    name = chooser.choice(("labels", "x", entries[place - 1].name.removesuffix(".npy"), *HOSTILE_TEXTS[:-1]))
    entries[place].name = name.replace("\0", "0") + chooser.choice((".npy", ".npy", ""))
    return f"is called {name!r}"


def _drop(entries: list[Entry], place: int, chooser: Chooser) -> str:
    del entries[place]
    return "left out"


def _double(entries: list[Entry], place: int, chooser: Chooser) -> str:
    entries.append(copy.deepcopy(entries[place]))
    return "there twice"


def _take_other(entries: list[Entry], place: int, chooser: Chooser) -> str:
    other = copy.deepcopy(chooser.choice(entries))
    entries[place].header, entries[place].data = other.header, other.data
    return f"holds what {other.name} holds"


def _describe_otherwise(entries: list[Entry], place: int, chooser: Chooser) -> str:
    """Change what the header says, and not what follows it."""
    header = entries[place].header
    if isinstance(header, str):
        return "nothing"
    key = chooser.choice(("descr", "shape", "shape", "fortran_order"))
    if key == "descr":
        header[key] = chooser.choice((*_STRANGE_TYPES, [("a", "<f4")], [("a", "|O")], 7))
    elif key == "shape":
        shape = list(header[key] or [1])
        shape[chooser.integer(0, len(shape) - 1)] = chooser.choice((0, -1, True, 2.0, *WHOLE_NUMBERS, 2**63, 10**30))
        header[key] = chooser.choice((tuple(shape), tuple(shape[:-1]), shape, (2**31, 2**31, 0), None, (1,) * 70))
    else:
        header[key] = chooser.choice((True, 3, "x"))
    return f"{key} is {header[key]!r:.60}"


def _write_header(entries: list[Entry], place: int, chooser: Chooser) -> str:
    header = chooser.choice(
        ("", "{", "[" * 5000, "{'descr': '<f4'}", "__import__('os')", "1" * 70000, "-" * 30000 + "1")
    )
    entries[place].header = header
    return f"its header is {header[:30]!r}"


def _convert(entries: list[Entry], place: int, chooser: Chooser) -> str:
    kind = chooser.choice(_TYPES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _replace(
            entries[place], entries[place].array.astype(kind, casting="unsafe") if entries[place].array.size else None
        )
    return f"as {kind}"


def _reshape(entries: list[Entry], place: int, chooser: Chooser) -> str:
    array = np.atleast_1d(entries[place].array)
    shaped = (
        array[None], array[..., None], array[:1], array[:0], array[..., :-1], array.reshape(-1), array.T,
        np.concatenate([array, array]), array.sum(keepdims=False) if array.dtype.kind == "f" else array[::-1],
    )  # fmt: skip
    _replace(entries[place], chooser.choice(shaped))
    return f"of shape {entries[place].array.shape}"


def _set_number(entries: list[Entry], place: int, chooser: Chooser) -> str:
    array = entries[place].array.copy()
    if array.dtype.kind == "U" and array.size:
        return _set_text(entries[place], array, chooser)
    if array.dtype.kind not in "fiu" or not array.size:
        return "nothing"
    number, index = chooser.choice(_NUMBERS), chooser.integer(0, array.size - 1)
    if array.dtype.kind in "iu" and not (np.iinfo(array.dtype).min <= number <= np.iinfo(array.dtype).max):
        array = array.astype(np.uint64 if number == 2**63 else np.float64)
    array.reshape(-1)[slice(index, index + chooser.choice((1, 1, array.size)))] = number
    _replace(entries[place], array)
    return f"{number} at {index}"


def _set_text(entry: Entry, array: np.ndarray, chooser: Chooser) -> str:
    """Change a name, or the JSON that an array of a single text holds."""
    if array.ndim == 0:
        tree = [json.loads(array.item())]
        what = change_tree(tree, chooser)
        _replace(entry, np.array(to_json(tree[0] if tree else None).decode()))
        return what
    texts = array.astype(object)
    texts[chooser.integer(0, array.size - 1)] = chooser.choice(HOSTILE_TEXTS)
    _replace(entry, np.array(texts.tolist()))
    return f"holds {texts.tolist()!r:.80}"


def _deflate(entries: list[Entry], place: int, chooser: Chooser) -> str:
    entries[place].is_deflated = True
    entries[place].zeros = _BOMB_BYTES if chooser.integer(0, 19) == 0 else 0
    if entries[place].zeros and isinstance(entries[place].header, dict):
        entries[place].header |= {"descr": "<f4", "shape": (_BOMB_BYTES // 4,)}
    return f"deflated, {entries[place].zeros} zeros behind it"


def _replace(entry: Entry, array: np.ndarray | None) -> None:
    if array is not None:
        made = Entry.of(entry.name.removesuffix(".npy"), array)
        entry.header, entry.data = made.header, made.data


_CHANGES = (
    _rename, _drop, _double, _take_other, *(_describe_otherwise,) * 3, _write_header, *(_convert,) * 2,
    *(_reshape,) * 3, *(_set_number,) * 4, _deflate,
)  # fmt: skip


class ArchiveKind(Kind):
    """An .npz file."""

    file = ""
    bases: list[list[Entry]]

    def draw(self, chooser: Chooser) -> Any:
        return copy.deepcopy(chooser.choice(self.bases))

    def change(self, mutant: Any, chooser: Chooser) -> str:
        return change_entries(mutant, chooser)

    def files(self, mutant: Any) -> Files:
        return {self.file: pack(mutant)}


class InputsKind(ArchiveKind):
    """Inputs of a program with labels; runs the program on them."""

    name, file = "inputs", "inputs.npz"

    def prepare(self) -> None:
        generator = np.random.default_rng(0)
        self.program = compile_small(conv_network())
        x = generator.standard_normal((3, 1, 2, 4, 5)).astype(np.float32)
        labels = np.array([0, 5, 11])
        self.bases = [
            [Entry.of("x", x), Entry.of("labels", labels)],
            [Entry.of("x", x)],
            [Entry.of("x", x[:, 0]), Entry.of("labels", labels)],
        ]
        self.shared = tempfile.TemporaryDirectory(prefix="mho-fuzz-")
        self.program_file = Path(self.shared.name, "program.mho")
        write_program(self.program, self.program_file)

    def read(self, folder: Path) -> None:
        samples = Samples.read(folder / self.file, self.program)
        samples.check(self.program)
        results = Executor(self.program).run(samples.inputs)
        assert all(array.dtype == np.float32 for array in results.values())
        samples.tell_accuracy(with_exact_integers=results)

    def arguments(self, folder: Path) -> list[str]:
        return ["simulate", str(self.program_file), "--inputs", str(folder / self.file)]


class DataKind(ArchiveKind):
    """A dataset of one's own; cuts it into splits."""

    name, file = "data-npz", "data.npz"

    def prepare(self) -> None:
        generator = np.random.default_rng(0)

        def make(*shape: int) -> list[Entry]:
            images = generator.integers(0, 256, (20, *shape)).astype(np.uint8)
            labels = np.arange(20) % 3
            parts = {"x_train": images, "y_train": labels, "x_test": images[:6], "y_test": labels[:6]}
            return [Entry.of(name, array) for name, array in parts.items()]

        self.bases = [make(1, 4, 4), make(5, 4), make(7)]

    def read(self, folder: Path) -> None:
        spec = DataSpec(name="npz", root=folder / self.file, calibration=4, validation=4)
        dataset = load_dataset(spec, np.random.default_rng(0), folder / "cache")
        for split in dataset.splits.values():
            assert np.isfinite(split.inputs(slice(None))).all()


class _ChipKind(ArchiveKind):
    """What was found for a program on a chip; runs the program on it."""

    changes = (1, 1, 1, 1, 2)

    def prepare(self) -> None:
        hardware = make_accelerator(
            16, 16, 2, 2, adc_bits=5, converters={"adc_range": "calibrated-columns"}, array={"programming_error": 0.1}
        )
        self.program = compile_small(conv_network(), hardware)
        self.inputs = np.random.default_rng(0).standard_normal((2, 1, 2, 4, 5)).astype(np.float32)
        self.ranges = mho.calibrate(self.program, self.inputs, seed=3)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "found.npz")
            mho.save(self.found(), path)
            with np.load(path) as archive:
                self.bases = [[Entry.of(name, archive[name]) for name in archive.files]]

    def found(self) -> Any:
        raise NotImplementedError

    def run(self, **given: Any) -> None:
        outputs = mho.simulate(self.program, self.inputs, seed=3, **given)
        assert not any(np.isnan(array).any() for array in outputs.values())  # huge corrections may give infinities


class RangesKind(_ChipKind):
    name, file = "ranges", "ranges.npz"

    def found(self) -> Any:
        return self.ranges

    def read(self, folder: Path) -> None:
        self.run(ranges=folder / self.file)


class CorrectionsKind(_ChipKind):
    name, file = "corrections", "corrections.npz"

    def found(self) -> Any:
        return mho.recalibrate(self.program, self.inputs, seed=3, ranges=self.ranges)

    def read(self, folder: Path) -> None:
        self.run(ranges=self.ranges, corrections=folder / self.file)
