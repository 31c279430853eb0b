"""Datasets known by name: digits, Fashion-MNIST, CIFAR-10, each in the layouts it is commonly found in."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO

import numpy as np

from mho.data.idx import read_idx
from mho.data.raw import RawData, Samples
from mho.data.sources import read_labelled_images
from mho.errors import DataError, InputFileError

FASHION_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist installs its files."""

_CIFAR_RECORD = 1 + 3 * 32 * 32
_CIFAR_MEAN, _CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def read_digits() -> RawData:
    """Read scikit-learn's 1 797 digits: 8x8, one channel, values 0..1."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images[:, None] / 16.0).astype(np.float32)
    names = tuple(str(digit) for digit in range(10))
    return RawData(
        "scikit-learn's digits", (images, bunch.target.astype(np.int64)), None, None, names, (0.3053,), (0.3760,)
    )


def read_fashion_mnist(root: Path | None) -> RawData:
    """Read Fashion-MNIST from IDX files: in `root`, in torchvision's `root/FashionMNIST/raw`, or Debian's package.

    Raises:
        InputFileError: no such files; says where they were looked for and how to get them.
    """
    bases = [DEBIAN_FASHION_MNIST] if root is None else [root, root / "FashionMNIST" / "raw", root / "raw"]
    parts: dict[str, Samples] = {}
    for part, stem in (("train", "train"), ("test", "t10k")):
        images = read_idx(_find(bases, f"{stem}-images-idx3-ubyte"), axes=3)
        labels = read_idx(_find(bases, f"{stem}-labels-idx1-ubyte"), axes=1)
        if images.shape[1:] != (28, 28) or len(images) != len(labels):
            raise DataError(
                f"images of shape {images.shape}, {len(labels)} labels",
                where=f"{bases[0]}, {part}",
                expected="28x28 images, one label each",
            )
        parts[part] = images[:, None], labels.astype(np.int64)
    return RawData(str(bases[0]), parts["train"], parts["test"], None, FASHION_CLASSES, (0.2860,), (0.3530,))


def _find(bases: list[Path], stem: str) -> Path:
    for base in bases:
        for path in (base / f"{stem}.gz", base / stem):
            if path.is_file():
                return path
    raise InputFileError(
        f"{stem}.gz is missing",
        where=", ".join(map(str, bases)),
        expected="Fashion-MNIST as gzipped IDX files",
        hint="apt-get install dataset-fashion-mnist, or set data.root (--data-root) to where the files lie",
    )


def read_cifar10(root: Path, cache: Path) -> RawData:
    """Read CIFAR-10 in its binary layout (folder or archive) or as images in class folders (folder or archive).

    The layout with Python pickles is refused, since reading it could run code.

    Raises:
        InputFileError, DataError: names the file.
    """
    if not root.exists():
        raise InputFileError("no such file or folder", where=str(root), hint=_CIFAR_HINT)
    if root.is_file():
        if _archive_holds_binary(root):
            return _cifar_raw(str(root), _read_binary_archive(root))
    else:
        for folder in (root, root / "cifar-10-batches-bin"):
            if (folder / "test_batch.bin").exists():
                names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
                return _cifar_raw(str(folder), {name: _read_binary_file(folder / name) for name in names})
        if (root / "cifar-10-batches-py").is_dir() or (root / "data_batch_1").exists():
            raise DataError(
                "this is CIFAR-10's Python version, which is made of pickles and is not read",
                where=str(root),
                hint=_CIFAR_HINT,
            )
    images = read_labelled_images(root, cache, channels=3)
    wrong = set(images.class_names) ^ set(CIFAR10_CLASSES)
    shape = images.train[0].shape[1:]
    if wrong or shape != (3, 32, 32) or images.test is None:
        raise DataError(
            f"not CIFAR-10: classes {', '.join(images.class_names[:12])}; images {shape}",
            where=str(root),
            expected="train/ and test/ with the ten classes, 32x32 colour images",
            hint=_CIFAR_HINT,
        )
    return RawData(str(root), images.train, images.test, None, images.class_names, _CIFAR_MEAN, _CIFAR_STD)


_CIFAR_HINT = "the binary version (cifar-10-batches-bin, or its .tar.gz) or train/<class>/ and test/<class>/ are read"


def _archive_holds_binary(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:*") as archive:
            for _ in range(4):  # the first files tell the layout
                member = archive.next()
                if member is None:
                    break
                if Path(member.name).suffix in (".bin", ".txt"):
                    return True
                if Path(member.name).parts[0] == "cifar-10-batches-py":
                    raise DataError("made of Python pickles, which are not read", where=str(path), hint=_CIFAR_HINT)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputFileError(f"not a readable archive: {error}", where=str(path), hint=_CIFAR_HINT) from error
    return False


def _read_binary_archive(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = Path(member.name).name
                if member.isfile() and name.endswith(".bin"):
                    file = archive.extractfile(member)
                    assert file is not None, "a regular member has content"
                    found[name] = _read_records(file, f"{path}: {name}")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputFileError(f"damaged archive: {error}", where=str(path)) from error
    return found


def _read_binary_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _read_records(file, str(path))
    except OSError as error:
        raise InputFileError(error.strerror or "cannot be read", where=str(path)) from error


def _read_records(file: IO[bytes], where: str) -> bytes:
    data = file.read(10_000 * _CIFAR_RECORD + 1)
    if len(data) != 10_000 * _CIFAR_RECORD:
        raise InputFileError(
            f"holds {len(data)} bytes", where=where, expected=f"10 000 records of {_CIFAR_RECORD} bytes"
        )
    return data


def _cifar_raw(where: str, batches: dict[str, bytes]) -> RawData:
    names = [f"data_batch_{number}.bin" for number in range(1, 6)]
    missing = [name for name in [*names, "test_batch.bin"] if name not in batches]
    if missing:
        raise InputFileError(f"{', '.join(missing)} missing", where=where, hint=_CIFAR_HINT)
    train = _decode(b"".join(batches[name] for name in names))
    return RawData(where, train, _decode(batches["test_batch.bin"]), None, CIFAR10_CLASSES, _CIFAR_MEAN, _CIFAR_STD)


def _decode(data: bytes) -> Samples:
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, _CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
