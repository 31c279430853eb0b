import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mho.array_files import read_arrays, write_arrays
from mho.errors import InputFileError, MemoryBudgetError


def npy(descr: str, shape: object, data: bytes = b"", *, version: int = 1) -> bytes:
    """An array's file with any header."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    header = header.ljust(117) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes((version, 0)) + length + header + data


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.read_bytes()


def test_arrays_come_back_and_give_the_same_bytes(tmp_path):
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "file": np.zeros(0, np.int64), "a/b": np.ones(1)}
    for name in ("a.npz", "b.npz"):
        write_arrays(tmp_path / name, arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = read_arrays(tmp_path / "a.npz")
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_objects_are_refused_since_they_could_run_code(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{}], dtype=object))
    with pytest.raises(InputFileError, match=r"x\.npz"):
        read_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"text"])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(InputFileError, match=r"x\.npz"):
        read_arrays(tmp_path / "x.npz")


def test_a_single_array_is_refused_since_it_has_no_name(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(InputFileError, match="without a name"):
        read_arrays(tmp_path / "x.npy")


def test_a_truncated_file_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros(1000))
    content = (tmp_path / "x.npz").read_bytes()
    for length in (30, 500, len(content) - 5):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        with pytest.raises(InputFileError):
            read_arrays(tmp_path / "cut.npz")


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(InputFileError):
        read_arrays(tmp_path / "none.npz")
    with pytest.raises(InputFileError):
        write_arrays(tmp_path / "x.npz" / "y.npz", {}) if (tmp_path / "x.npz").write_text("") == 0 else None


def test_what_is_no_array_and_what_is_not_there_are_reported(tmp_path):
    for name, content, message in (
        ("readme.txt", b"text", "not an array"),
        ("x.npy", npy("<f4", (99999999999999, 9)), "holds 0 bytes"),
    ):
        write_zip(tmp_path / "x.npz", {name: content})
        with pytest.raises(InputFileError, match=message):
            read_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("descr", ["<f4", "u1", "<i8", "<c16", "?", ">f8", "<U3", "S2"])
def test_numbers_and_text_of_all_kinds_are_read(tmp_path, descr):
    array = np.zeros((2, 1), descr)
    write_zip(tmp_path / "x.npz", {"x.npy": npy(descr, (2, 1), array.tobytes())})
    np.testing.assert_array_equal(read_arrays(tmp_path / "x.npz")["x"], array)
    np.savez_compressed(tmp_path / "y.npz", x=np.asfortranarray(np.arange(6).reshape(2, 3)))
    np.testing.assert_array_equal(read_arrays(tmp_path / "y.npz")["x"], np.arange(6).reshape(2, 3))


@pytest.mark.parametrize(
    "content",
    [
        npy("<f4", (True, 1), bytes(4)),
        npy("<f4", (-1, -1), bytes(4)),
        npy("<f4", (-1,), bytes(4)),
        npy("<f4", (3,), bytes(8)),
        npy("<f4", (3,), bytes(13)),
        npy("<f4", (0, 1 << 63)),
        npy("<f4", (1,) * 65, bytes(4)),
        npy("<U0", (1 << 40,)),
        npy("|V4", (1,), bytes(4)),
        npy("<M8[s]", (1,), bytes(8)),
        npy("<f4", (1,), bytes(4), version=2),
        npy("<U1", (1,), struct.pack("<I", 0x110000)),
        npy("<U1", (1,), struct.pack("<I", 0xD800)),
        npy("<f4", (1,), bytes(4)).replace(b"'shape'", b"'sharp'"),
        npy("<f4", (1,), bytes(4)).replace(b"(1,)", b"f(1)"),
        npy("nonsense", (1,), bytes(4)),
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 0xFFFF,
        b"\x93NUMPY\x01",
    ],
)
def test_an_array_that_numpy_would_not_write_is_refused(tmp_path, content):
    write_zip(tmp_path / "x.npz", {"x.npy": content})
    with pytest.raises(InputFileError, match=r"x\.npz"):
        read_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_byte_that_changed_anywhere_in_the_data_is_detected(tmp_path, method):
    generator = np.random.default_rng(0)
    content = write_zip(tmp_path / "x.npz", {"x.npy": npy("u1", (500,), generator.bytes(500))}, method)
    for place in range(60, len(content) - 100, 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x55
        (tmp_path / "x.npz").write_bytes(damaged)
        with pytest.raises(InputFileError):
            read_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_only_what_numpy_compresses_with_is_unpacked(tmp_path, method):
    write_zip(tmp_path / "x.npz", {"x.npy": npy("u1", (5,), bytes(5))}, method)
    with pytest.raises(InputFileError, match="deflate"):
        read_arrays(tmp_path / "x.npz")


def test_encrypted_and_repeated_arrays_are_refused(tmp_path):
    content = write_zip(tmp_path / "x.npz", {"x.npy": npy("u1", (5,), bytes(5))})
    at = content.index(b"PK\x01\x02") + 8
    (tmp_path / "x.npz").write_bytes(content[:at] + b"\x01" + content[at + 1 :])
    with pytest.raises(InputFileError, match="encrypted"):
        read_arrays(tmp_path / "x.npz")
    write_zip(tmp_path / "x.npz", {"x.npy": npy("u1", (1,), b"1"), "x": npy("u1", (1,), b"2")})
    with pytest.raises(InputFileError, match="twice"):
        read_arrays(tmp_path / "x.npz")


def test_arrays_above_the_budget_together_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setenv("MHO_MEMORY_GIB", str(1 / 1024))
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(1 << 19, np.uint8), b=np.zeros(1 << 20, np.uint8))
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: np.zeros(1 << 19, np.uint8))
    with pytest.raises(MemoryBudgetError, match=r"x\.npz: b: the arrays would take"):
        read_arrays(tmp_path / "x.npz")
    assert list(read_arrays(tmp_path / "x.npz", ["a"])) == ["a"]


def test_a_table_of_contents_that_is_longer_than_arrays_need_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        for number in range(300):
            archive.writestr(zipfile.ZipInfo(f"{number}" + "x" * 60_000), b"")
    with pytest.raises(InputFileError, match="damaged"):
        read_arrays(tmp_path / "x.npz")


def test_a_pipe_is_refused_without_opening_it(tmp_path):
    os.mkfifo(tmp_path / "x.npz")
    with pytest.raises(InputFileError, match="not a regular file"):
        read_arrays(tmp_path / "x.npz")
