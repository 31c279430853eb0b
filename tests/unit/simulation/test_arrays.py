import zipfile

import numpy as np
import pytest

from mho.errors import InputFileError
from mho.simulation.arrays import read_arrays, write_arrays


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


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputFileError):
        read_arrays(tmp_path / "none.npz")
    with pytest.raises(InputFileError):
        write_arrays(tmp_path / "x.npz" / "y.npz", {}) if (tmp_path / "x.npz").write_text("") == 0 else None


def test_what_is_no_array_and_what_fits_no_memory_are_told(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999, 9), }".ljust(117) + b"\n"
    for name, content, message in (
        ("readme.txt", b"text", "not an array"),
        ("x.npy", b"\x93NUMPY\x01\x00v\x00" + header, "too large"),
    ):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr(name, content)
        with pytest.raises(InputFileError, match=message):
            read_arrays(tmp_path / "x.npz")
