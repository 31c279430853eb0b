"""Image files in class folders, from a folder or a tar archive, decoded to one array a part.

Archives are read as a stream and never unpacked, so names in them cannot reach the file system.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mho.errors import DataError, InputFileError

PARTS = ("train", "val", "test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF")
"""What is decoded, whatever a file is called. Pillow knows dozens more, and hands some (EPS) to other programs."""
MAX_IMAGE_PIXELS = 100_000_000
MAX_FILE_BYTES = 256 << 20


@dataclass(frozen=True, order=True)
class Entry:
    """One image file: its part (train, val, test), class folder and path below the root."""

    part: str
    label: str
    path: str


@dataclass(frozen=True)
class ImageOptions:
    """How images become arrays: channels (1 grey, 3 colour), short side after scaling, side of the central square."""

    channels: int
    resize: int | None
    crop: int | None


def fingerprint(root: Path, options: ImageOptions) -> str:
    """Return a key for what lies at `root`: an archive's content, or a folder's names, sizes and times."""
    digest = hashlib.sha256(repr(("images-1", options)).encode())
    if root.is_file():
        with root.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()[:24]
    for base, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = Path(base, name)
            state = path.stat()
            digest.update(repr((str(path.relative_to(root)), state.st_size, state.st_mtime_ns)).encode())
    return digest.hexdigest()[:24]


def list_folder(root: Path) -> list[Entry]:
    """List the images below `root`, sorted. Raises `DataError` for a class folder without images."""
    entries = []
    for part in PARTS:
        if not (root / part).is_dir():
            continue
        for folder in sorted(path for path in (root / part).iterdir() if path.is_dir()):
            found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
            if not found:
                raise DataError("class folder without images", where=str(folder), expected=", ".join(SUFFIXES))
            entries += [Entry(part, folder.name, str(path.relative_to(root))) for path in found]
    return entries


def list_archive(path: Path) -> list[Entry]:
    """List the images in a tar archive, sorted; one folder around the parts is allowed."""
    entries = []
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                entry = _archive_entry(member)
                if entry is not None:
                    entries.append(entry)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputFileError(f"not a readable archive: {error}", where=str(path), expected="tar or tar.gz") from error
    return sorted(entries)


def decode_parts(root: Path, entries: list[Entry], names: list[str], options: ImageOptions) -> dict[str, NDArray[Any]]:
    """Decode images to `<part>_images` uint8 [N, C, H, W] and `<part>_labels` int64 [N], in the order of `entries`."""
    where = {entry.path: index for index, entry in enumerate(entries)}
    images: NDArray[np.uint8] | None = None
    for path, data in _contents(root, entries):
        image = _decode_image(data, options, f"{root}: {path}")
        if images is None:
            images = _allocate((len(entries), *image.shape), str(root))
        if image.shape != images.shape[1:]:
            raise DataError(
                f"image is {image.shape[2]}x{image.shape[1]}, others {images.shape[3]}x{images.shape[2]}",
                where=f"{root}: {path}",
                hint="set data.resize and data.crop so that all images get one size",
            )
        images[where[path]] = image
    assert images is not None, "callers hold that there are entries"
    labels = np.array([names.index(entry.label) for entry in entries], dtype=np.int64)
    arrays: dict[str, NDArray[Any]] = {}
    for part in PARTS:
        index = np.array([number for number, entry in enumerate(entries) if entry.part == part], dtype=np.int64)
        if index.size:
            arrays[f"{part}_images"], arrays[f"{part}_labels"] = images[index], labels[index]
    return arrays


def _archive_entry(member: tarfile.TarInfo) -> Entry | None:
    parts = PurePosixPath(member.name).parts
    parts = parts[-3:] if len(parts) in (3, 4) else ()
    if not member.isfile() or not parts or parts[0] not in PARTS:
        return None
    return Entry(parts[0], parts[1], member.name) if Path(parts[2]).suffix.lower() in SUFFIXES else None


def _contents(root: Path, entries: list[Entry]) -> Iterator[tuple[str, bytes]]:
    if root.is_dir():
        for entry in entries:
            try:
                yield entry.path, (root / entry.path).read_bytes()
            except OSError as error:
                raise InputFileError(error.strerror or "cannot be read", where=str(root / entry.path)) from error
        return
    wanted = {entry.path for entry in entries}
    with tarfile.open(root, "r:*") as archive:
        for member in archive:
            if member.name not in wanted:
                continue
            if member.size > MAX_FILE_BYTES:
                raise DataError(f"{member.size} bytes", where=f"{root}: {member.name}", expected="an image file")
            file = archive.extractfile(member)
            assert file is not None, "entries are regular files"
            yield member.name, file.read()


def _decode_image(data: bytes, options: ImageOptions, where: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_IMAGE_PIXELS:
                raise DataError(
                    f"{opened.width}x{opened.height} pixels", where=where, expected="100 megapixels or less"
                )
            image = opened.convert("L" if options.channels == 1 else "RGB")
    except UnidentifiedImageError as error:
        raise DataError("not an image", where=where, expected=", ".join(FORMATS)) from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"broken image: {error}", where=where, hint="replace or remove the file") from error
    if options.resize is not None:
        scale = options.resize / min(image.size)
        size = tuple(max(options.resize, round(side * scale)) for side in image.size)
        image = image.resize(size, Image.Resampling.BICUBIC)  # type: ignore[arg-type]
    if options.crop is not None:
        if min(image.size) < options.crop:
            raise DataError(
                f"image of {image.width}x{image.height} is smaller than the crop {options.crop}",
                where=where,
                hint="set data.resize",
            )
        left, top = (image.width - options.crop) // 2, (image.height - options.crop) // 2
        image = image.crop((left, top, left + options.crop, top + options.crop))
    array = np.asarray(image, dtype=np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _allocate(shape: tuple[int, ...], where: str) -> NDArray[np.uint8]:
    size = int(np.prod(shape, dtype=np.int64))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory // 2:
        raise DataError(
            f"images of shape {shape} take {size >> 20} MiB",
            where=where,
            expected=f"at most {memory >> 21} MiB, half of this machine's memory",
            hint="lower data.resize or data.crop, or give fewer images",
        )
    return np.empty(shape, dtype=np.uint8)
