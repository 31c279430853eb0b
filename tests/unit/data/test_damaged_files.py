"""Image folders and archives as a stranger or a broken disk would hand them in: one error, within time and memory."""

import gzip
import io
import os
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mho.array_files import read_arrays, write_arrays
from mho.data import Dataset, DataSpec, load_dataset
from mho.data.archives import read_archive
from mho.data.idx import read_idx
from mho.errors import DataError, InputFileError, MemoryBudgetError, MhoError


def load(tmp_path: Path, root: Path, **spec) -> Dataset:
    spec = {"name": "image-folder", "calibration": 2, "validation": 2, "channels": 1, **spec}
    return load_dataset(DataSpec(root=root, **spec), np.random.default_rng(7), tmp_path / "cache")


def png(size: tuple[int, int] = (4, 4), value: int = 0) -> bytes:
    content = io.BytesIO()
    Image.new("L", size, value).save(content, "PNG")
    return content.getvalue()


def names(parts=("train", "test"), classes=("a", "b"), count=4) -> list[str]:
    return [f"{part}/{label}/{number}.png" for part in parts for label in classes for number in range(count)]


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in names():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(png())
    return tmp_path / "data"


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def tar(members: list[tuple[str, bytes]], end: bytes = bytes(1024)) -> bytes:
    return b"".join(header(name, len(content)) + padded(content) for name, content in members) + end


def images_tar() -> bytes:
    return tar([(name, png()) for name in names()])


# -- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to("nowhere.png"),
        lambda path: path.symlink_to(path.name),
        Path.mkdir,
    ],
)
def test_what_is_no_regular_file_among_images_is_named_and_never_opened(tmp_path, folder, make):
    make(folder / "train" / "a" / "z.png")
    with pytest.raises(InputFileError, match=r"train/a/z\.png"):
        load(tmp_path, folder)


def test_a_sparse_file_of_twenty_gigabytes_is_refused_by_its_size(tmp_path, folder):
    with (folder / "train" / "a" / "z.png").open("wb") as file:
        file.truncate(20 << 30)
    with pytest.raises(MemoryBudgetError, match=r"z\.png: the file would take 20\.0 GiB"):
        load(tmp_path, folder)


@pytest.mark.parametrize(("options", "size"), [({"resize": 224, "crop": 8}, (1, 2_000)), ({}, (400, 400))])
def test_an_image_above_the_budget_is_refused_before_it_is_decoded(tmp_path, folder, monkeypatch, options, size):
    (folder / "test" / "a" / "z.png").write_bytes(png(size))
    monkeypatch.setenv("MHO_MEMORY_GIB", str(1 / 1024))
    with pytest.raises(MemoryBudgetError, match=r"z\.png: an image of"):
        load(tmp_path, folder, **options)


def test_images_above_the_budget_together_are_refused(tmp_path, folder, monkeypatch):
    monkeypatch.setenv("MHO_MEMORY_GIB", str(300 / (1 << 30)))
    assert load(tmp_path, folder).sample_shape == (1, 4, 4)
    for number in range(10, 20):
        (folder / "train" / "a" / f"{number}.png").write_bytes(png())
    with pytest.raises(MemoryBudgetError, match="26 images of shape"):
        load(tmp_path, folder)


def test_an_image_of_another_size_is_named_before_it_is_decoded(tmp_path, folder):
    content = png((6, 4))
    (folder / "test" / "a" / "1.png").write_bytes(content[: content.index(b"IDAT") + 4] + b"no pixels")
    with pytest.raises(DataError, match="image is 6x4, others 4x4"):
        load(tmp_path, folder)


def test_a_jpeg_that_goes_over_its_pixels_without_end_is_refused(tmp_path, folder, monkeypatch):
    content = io.BytesIO()
    Image.new("L", (4, 4)).save(content, "JPEG", progressive=True)
    scan = content.getvalue()[content.getvalue().rindex(b"\xff\xda") : -2]
    monkeypatch.setattr("mho.data.images.MAX_SCANNED_PIXELS", 16 * 100)
    for repeats, message in ((50, None), (100, "scans of 4x4 pixels")):
        (folder / "test" / "a" / "1.png").write_bytes(content.getvalue()[:-2] + scan * repeats + b"\xff\xd9")
        if message is None:
            load(tmp_path, folder)
            continue
        with pytest.raises(DataError, match=message):
            load(tmp_path, folder)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF"])
def test_a_damaged_image_is_read_or_named_whatever_its_decoder_raises(tmp_path, folder, kind):
    generator = np.random.default_rng(5)
    content = io.BytesIO()
    Image.fromarray(generator.integers(0, 255, (4, 4), dtype=np.uint8)).save(content, kind)
    for _ in range(40):
        damaged = np.frombuffer(content.getvalue(), np.uint8).copy()
        damaged[generator.integers(0, len(damaged), 3)] = generator.integers(0, 256, 3)
        (folder / "test" / "b" / "3.png").write_bytes(
            damaged[: generator.integers(len(damaged) // 2, len(damaged) + 1)]
        )
        try:
            load(tmp_path, folder)
        except MhoError as error:
            assert "test/b/3.png" in str(error)  # noqa: PT017


def test_names_that_are_not_utf_8_and_names_that_cannot_be_are_refused(tmp_path, folder):
    with pytest.raises(MhoError):
        load(tmp_path, tmp_path / ("a" * 5000))
    for part in ("train", "test"):
        (folder / part / "b").rename(folder / part / os.fsdecode(b"\xff"))
    with pytest.raises(DataError, match="UTF-8"):
        load(tmp_path, folder)


def test_a_class_name_may_hold_a_line_break(tmp_path, folder):
    for part in ("train", "test"):
        (folder / part / "b").rename(folder / part / "b\nc")
    for _ in range(2):
        assert load(tmp_path, folder).class_names == ("a", "b\nc")


# -- the cache --------------------------------------------------------------------------------------------------------


def test_an_image_replaced_by_one_of_the_same_size_and_time_is_read_anew(tmp_path, folder):
    path = folder / "test" / "a" / "0.png"
    path.write_bytes(png(value=1))
    times, before = path.stat(), load(tmp_path, folder)
    path.write_bytes(png(value=2))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    assert (before.test.images.max(), load(tmp_path, folder).test.images.max()) == (1, 2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays: arrays.pop("classes"),
        lambda arrays: arrays.pop("train_images"),
        lambda arrays: arrays.pop("test_labels"),
        lambda arrays: arrays.update(train_labels=arrays["train_labels"] + 9),
        lambda arrays: arrays.update(train_labels=arrays["train_labels"][1:]),
        lambda arrays: arrays.update(train_images=arrays["train_images"][0]),
        lambda arrays: arrays.update(classes=np.array("a")),
    ],
)
def test_a_cache_that_lacks_something_is_made_anew(tmp_path, folder, damage):
    first = load(tmp_path, folder)
    (kept,) = (tmp_path / "cache").iterdir()
    arrays = read_arrays(kept)
    damage(arrays)
    write_arrays(kept, arrays)
    again = load(tmp_path, folder)
    np.testing.assert_array_equal(again.train.images, first.train.images)
    assert set(read_arrays(kept)) >= {"classes", "train_images", "test_labels"}


# -- archives ---------------------------------------------------------------------------------------------------------


def test_an_archive_of_images_is_read_plain_and_gzipped(tmp_path):
    for content in (images_tar(), gzip.compress(images_tar())):
        (tmp_path / "x.tar").write_bytes(content)
        assert load(tmp_path, tmp_path / "x.tar").sample_shape == (1, 4, 4)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        images_tar()[:-1024],  # as long as whole members, without the end
        images_tar()[:3000],
        images_tar()[:1024] + b"\x07" + images_tar()[1025:],  # a damaged header
        tar([(names()[0], png())] * 2),
        header("train/a/0.png", size=-512),
        header("other", size=-1024) + header("train/a/0.png"),
        header("x", (1 << 20) + 1, tarfile.XHDTYPE) + bytes(1 << 21),
        header("x", 9, tarfile.XHDTYPE) + padded(b"9 size=x\n") + images_tar(),
        header("x", 2, tarfile.GNUTYPE_LONGNAME) * 3000,
        header("train/a/0.png", size=1 << 70),
        header("train/a/0.png", size=1 << 40) + png(),
        bytes(10_240),
    ],
)
def test_a_damaged_archive_is_one_error(tmp_path, packed, content):
    (tmp_path / "x.tar").write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(MhoError, match=r"x\.tar"):
        load(tmp_path, tmp_path / "x.tar")


def test_a_byte_that_changed_anywhere_in_a_gzipped_archive_is_detected(tmp_path):
    content = gzip.compress(tar([(name, np.random.default_rng(0).bytes(99)) for name in names(count=1)]))
    for place in range(10, len(content), 5):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        (tmp_path / "x.tar").write_bytes(damaged)
        with pytest.raises(MhoError):
            list(read_archive(tmp_path / "x.tar"))


def zeros(head: bytes, gib: int) -> bytes:
    """`head` and gigabytes of zeros, gzipped to a thousandth, without making them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    once = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block + once * (gib * 64) + packer.flush()


def test_a_gzipped_archive_that_unpacks_to_more_than_the_budget_is_refused_without_unpacking_it(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(zeros(header("other", 8 << 30), 1))
    with pytest.raises(MemoryBudgetError, match=r"the unpacked archive would take 8\.0 GiB"):
        load(tmp_path, tmp_path / "x.tar.gz")


def test_an_archive_of_more_headers_than_fit_its_bytes_is_refused(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(header("other") * 50_000 + bytes(1024)))
    with pytest.raises(InputFileError, match="more files than it has room for"):
        load(tmp_path, tmp_path / "x.tar.gz")


def test_links_pipes_and_devices_in_an_archive_are_passed_over(tmp_path):
    odd = [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]
    content = b"".join(header(f"train/a/x{kind!r}.png", kind=kind) for kind in odd) + images_tar()
    (tmp_path / "x.tar").write_bytes(content)
    assert len(load(tmp_path, tmp_path / "x.tar").train) == 4


def test_a_pipe_and_a_device_are_no_archives(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "nothing"):
        for name in ("image-folder", "cifar10"):
            with pytest.raises(InputFileError, match=r"regular|no such"):
                load(tmp_path, path, name=name)


# -- IDX and arrays ---------------------------------------------------------------------------------------------------


def test_an_idx_file_above_the_budget_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(zeros(struct.pack(">4B3I", 0, 0, 8, 3, 3 << 20, 32, 32), 1))
    with pytest.raises(MemoryBudgetError, match=r"3\.0 GiB"):
        read_idx(path, axes=3)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x1f\x8b", gzip.compress(bytes(9), mtime=0)[:-3], b"\x1f\x8b\x08\x00" + bytes(30)],
    ids=["empty", "magic", "truncated", "zeros"],
)
def test_a_damaged_idx_file_is_one_error(tmp_path, content):
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(MhoError, match=r"x\.gz"):
        read_idx(tmp_path / "x.gz", axes=3)


@pytest.mark.parametrize("label", [2**63, 2**40, 2**31 - 1, 13, -1])
def test_labels_far_from_any_number_of_classes_are_refused(tmp_path, label):
    images = np.zeros((12, 4), np.float32)
    labels = np.arange(12).astype(np.uint64 if label > 0 else np.int64)
    labels[5] = label
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(DataError, match=r"label|classes"):
        load(tmp_path, tmp_path / "x.npz", name="npz")


def test_arrays_that_would_grow_above_the_budget_as_float32_are_refused(tmp_path, monkeypatch):
    images = np.zeros((12, 100), np.float16)
    np.savez(tmp_path / "x.npz", x_train=images, y_train=np.arange(12), x_test=images, y_test=np.arange(12))
    monkeypatch.setenv("MHO_MEMORY_GIB", str(6000 / (1 << 30)))
    with pytest.raises(MemoryBudgetError, match="images would take"):
        load(tmp_path, tmp_path / "x.npz", name="npz")


def test_normalization_is_that_of_all_images_whatever_their_number(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (20_004, 2, 1, 1), dtype=np.uint8)
    labels = np.zeros(20_004, int)
    labels[0::2] = 1
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_test=images[:2], y_test=labels[:2])
    data = load(tmp_path, tmp_path / "x.npz", name="npz")
    shown = data.train.images.astype(np.float64) / 255
    np.testing.assert_allclose(data.train.mean, shown.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(data.train.std, shown.std(axis=(0, 2, 3)), rtol=1e-12)
