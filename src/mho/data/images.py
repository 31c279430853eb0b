"""Image files in class folders, from a folder or a tar archive, decoded to one array a part."""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mho.data.archives import read_archive
from mho.errors import DataError, InputFileError, MhoError
from mho.input_files import check_memory, is_folder, read_file, stat_regular_file

PARTS = ("train", "val", "test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF")
"""What is decoded, whatever a file is called. Pillow knows dozens more, and hands some (EPS) to other programs."""
MAX_SCANNED_PIXELS = 1 << 32
"""Of all scans of a JPEG together: a few seconds. Encoders make about ten scans."""


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


def fingerprint(root: Path, entries: list[Entry] | None, options: ImageOptions) -> str:
    """Return a key for what lies at `root`: names, sizes, times and inodes of its images, or of the archive.

    Nobody can set the time of a file's last change (ctime), so that a replaced image has another key whatever its
    size and modification time.

    Raises:
        InputFileError: an image, or the archive, is no regular file.
    """
    digest = hashlib.sha256(repr(("images-2", options)).encode())
    for name in [""] if entries is None else [entry.path for entry in entries]:
        state = stat_regular_file(root / name, expected="an image file" if name else "a folder or a tar archive")
        digest.update(repr((name, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)).encode())
    return digest.hexdigest()[:24]


def list_folder(root: Path) -> list[Entry]:
    """List the images below `root`, sorted.

    Raises:
        InputFileError: a folder cannot be read.
        DataError: a class folder without images.
    """
    entries = []
    try:
        for part in PARTS:
            if not (root / part).is_dir():
                continue
            for folder in sorted(path for path in (root / part).iterdir() if path.is_dir()):
                found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
                if not found:
                    raise DataError("class folder without images", where=str(folder), expected=", ".join(SUFFIXES))
                entries += [Entry(part, folder.name, str(path.relative_to(root))) for path in found]
    except OSError as error:
        raise InputFileError(error.strerror or "cannot be read", where=str(error.filename or root)) from error
    return entries


def list_archive(path: Path) -> list[Entry]:
    """List the images in a tar archive, sorted; one folder around the parts is allowed. Raises as `read_archive`."""
    entries: dict[str, Entry] = {}
    for member in read_archive(path):
        parts = PurePosixPath(member.name).parts
        parts = parts[-3:] if len(parts) in (3, 4) else ()
        if not parts or parts[0] not in PARTS or Path(parts[2]).suffix.lower() not in SUFFIXES:
            continue
        if member.name in entries:
            raise DataError("is in the archive twice", where=member.where)
        entries[member.name] = Entry(parts[0], parts[1], member.name)
    return sorted(entries.values())


def decode_parts(root: Path, entries: list[Entry], names: list[str], options: ImageOptions) -> dict[str, NDArray[Any]]:
    """Decode images to `<part>_images` uint8 [N, C, H, W] and `<part>_labels` int64 [N], in the order of `entries`.

    Raises:
        InputFileError, DataError: a file that cannot be read or decoded, or is of another size; names it.
        MemoryBudgetError: an image, or all of them, would take more memory than the budget.
    """
    by_part = {part: [entry for entry in entries if entry.part == part] for part in PARTS}
    place = {entry.path: (part, index) for part, ones in by_part.items() for index, entry in enumerate(ones)}
    arrays: dict[str, NDArray[Any]] = {}
    left, shape = set(place), None
    for path, data in _contents(root, left.copy()):
        image = _decode_image(data, options, shape, f"{root}: {path}")
        if shape is None:
            shape = image.shape
            check_memory(len(entries) * image.size, f"{len(entries)} images of shape {shape}", where=str(root))
            for part in PARTS:
                arrays[f"{part}_images"] = np.empty((len(by_part[part]), *shape), dtype=np.uint8)
        part, index = place[path]
        arrays[f"{part}_images"][index] = image
        left.discard(path)
    if left:
        raise InputFileError(f"{min(left)} is gone", where=str(root), hint="does something else change these files?")
    for part in PARTS:
        arrays[f"{part}_labels"] = np.array([names.index(entry.label) for entry in by_part[part]], dtype=np.int64)
    return {name: array for name, array in arrays.items() if len(array)}


def _contents(root: Path, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    if is_folder(root):
        for path in sorted(wanted):
            yield path, read_file(root / path, expected="an image file")
        return
    for member in read_archive(root):
        if member.name in wanted:
            yield member.name, member.read()


def _decode_image(data: bytes, options: ImageOptions, shape: tuple[int, ...] | None, where: str) -> NDArray[np.uint8]:
    """Decode an image to [C, H, W]; `shape` is that of the others."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what it can read all the same
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                # A progressive JPEG goes over the image once a scan; nothing but a scan has this marker in it.
                scans = data.count(b"\xff\xda") if opened.format in ("JPEG", "MPO") else 1
                if scans * math.prod(opened.size) > MAX_SCANNED_PIXELS:
                    raise DataError(f"{scans} scans of {opened.width}x{opened.height} pixels", where=where)
                scaled = _check_sizes(opened.size, options, shape, where)
                image = opened.convert("L" if options.channels == 1 else "RGB")
    except MhoError:
        raise
    except UnidentifiedImageError as error:
        raise DataError("not an image", where=where, expected=", ".join(FORMATS)) from error
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        raise DataError(f"broken image: {error}", where=where, hint="replace or remove the file") from error
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.BICUBIC)
    if options.crop is not None:
        left, top = (image.width - options.crop) // 2, (image.height - options.crop) // 2
        image = image.crop((left, top, left + options.crop, top + options.crop))
    array = np.asarray(image, dtype=np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _check_sizes(
    size: tuple[int, int], options: ImageOptions, shape: tuple[int, ...] | None, where: str
) -> tuple[int, int]:
    """Return width and height after scaling, from width and height in the file, before anything is decoded."""
    width, height = size
    if options.resize is not None:
        scale = options.resize / min(size)
        width, height = (max(options.resize, round(side * scale)) for side in size)
    # Pixels in the file's form and converted; scaled along one axis, then along both: four bytes each at most.
    pixels = 2 * math.prod(size) + width * size[1] + width * height
    check_memory(4 * pixels, f"an image of {size[0]}x{size[1]}, scaled to {width}x{height},", where=where)
    if options.crop is not None and min(width, height) < options.crop:
        raise DataError(
            f"image of {width}x{height} is smaller than the crop {options.crop}",
            where=where,
            hint="set data.resize",
        )
    final = (width, height) if options.crop is None else (options.crop, options.crop)
    if shape is not None and shape[1:] != final[::-1]:
        raise DataError(
            f"image is {final[0]}x{final[1]}, others {shape[2]}x{shape[1]}",
            where=where,
            hint="set data.resize and data.crop so that all images get one size",
        )
    return width, height
