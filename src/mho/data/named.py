"""Datasets known by name: digits, Fashion-MNIST, CIFAR-10, each in the layouts it is commonly found in."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from mho.data.archives import read_archive
from mho.data.idx import read_idx
from mho.data.raw import RawData, Samples
from mho.data.sources import read_labelled_images
from mho.errors import DataError, InputFileError
from mho.input_files import is_folder, read_file

FASHION_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist installs its files."""

_CIFAR_RECORD = 1 + 3 * 32 * 32
_CIFAR_BATCH = 10_000 * _CIFAR_RECORD
_CIFAR_FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
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
    beside = 0
    for part, stem in (("train", "train"), ("test", "t10k")):
        images = read_idx(_find(bases, f"{stem}-images-idx3-ubyte"), axes=3, beside=beside)
        beside = images.nbytes
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
    if not is_folder(root):
        if _archive_holds_binary(root):
            members = (member for member in read_archive(root) if Path(member.name).name in _CIFAR_FILES)
            return _cifar_raw(str(root), {Path(one.name).name: _check_batch(one.read(), one.where) for one in members})
    else:
        for folder in (root, root / "cifar-10-batches-bin"):
            if (folder / "test_batch.bin").exists():
                files = {name: folder / name for name in _CIFAR_FILES}
                return _cifar_raw(str(folder), {k: _check_batch(read_file(v), str(v)) for k, v in files.items()})
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
    for member in itertools.islice(read_archive(path), 4):  # the first files show the layout
        if Path(member.name).suffix in (".bin", ".txt"):
            return True
        if Path(member.name).parts[:1] == ("cifar-10-batches-py",):
            raise DataError("made of Python pickles, which are not read", where=str(path), hint=_CIFAR_HINT)
    return False


def _check_batch(content: bytes, where: str) -> bytes:
    if len(content) != _CIFAR_BATCH:
        raise InputFileError(
            f"holds {len(content)} bytes", where=where, expected=f"10 000 records of {_CIFAR_RECORD} bytes"
        )
    return content


def _cifar_raw(where: str, batches: dict[str, bytes]) -> RawData:
    if missing := [name for name in _CIFAR_FILES if name not in batches]:
        raise InputFileError(f"{', '.join(missing)} missing", where=where, hint=_CIFAR_HINT)
    *names, test = _CIFAR_FILES
    train = _decode(b"".join(batches[name] for name in names))
    return RawData(where, train, _decode(batches[test]), None, CIFAR10_CLASSES, _CIFAR_MEAN, _CIFAR_STD)


def _decode(data: bytes) -> Samples:
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, _CIFAR_RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
