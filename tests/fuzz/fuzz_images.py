"""Datasets of images: class folders and tar archives of them, IDX files, CIFAR-10 in its binary layout."""

from __future__ import annotations

import gzip
import io
import re
import struct
import tarfile
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from damage import HOSTILE_TEXTS, WHOLE_NUMBERS, damage_bytes
from fuzzing import Files, Kind, Special
from PIL import Image
from random_networks import Chooser

from mho.data.loading import load_dataset
from mho.data.named import CIFAR10_CLASSES
from mho.data.spec import DataSpec

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
_OTHER_FORMATS = ("GIF", "TGA", "ICO", "PCX", "EPS", "DDS", "SGI", "JPEG2000", "PDF", "MPO", "AVIF")
_MODES = ("L", "RGB", "P", "1", "LA", "RGBA", "CMYK", "I", "I;16", "F")
_SIZES = ((1, 100_000), (100_000, 1), (1, 1), (5, 6), (7, 7), (2000, 3), (300, 300))
_ENDLESS_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n{ } loop\n%%EOF\n"
_PARTS = ("train", "train", "val", "test")
_SPECIALS = (
    Special("fifo"), Special("link", "/dev/zero"), Special("link", "/etc/passwd"), Special("link", "nowhere"),
    Special("link", "."), Special("sparse", size=20 << 30), Special("sparse", size=0),
)  # fmt: skip


def draw_image(generator: np.random.Generator, size: tuple[int, int], mode: str = "L", form: str = "PNG") -> bytes:
    """Return an encoded image; grey where the format does not have the mode."""
    pixels = generator.integers(0, 256, (size[1], size[0])).astype(np.uint8)
    content = io.BytesIO()
    for chosen in (mode, "RGB", "L"):
        try:
            Image.fromarray(pixels).convert(chosen).save(content, form)
            return content.getvalue()
        except (OSError, ValueError, KeyError):
            content = io.BytesIO()
    return b"not an image"


@dataclass
class Folder:
    """Files below a root whose name says how they are read."""

    root: str
    files: Files = field(default_factory=dict)
    is_bomb: bool = False


class ImageFolderKind(Kind):
    """Class folders of images."""

    name = "image-folder"

    def prepare(self) -> None:
        generator = np.random.default_rng(0)
        self.pool = {form: [draw_image(generator, (6, 5), form=form) for _ in range(4)] for form in _FORMATS}
        self.strange = [draw_image(generator, (6, 5), mode, form) for mode in _MODES for form in _FORMATS]
        self.strange += [draw_image(generator, (6, 5), form=form) for form in _OTHER_FORMATS]
        self.strange += [_ENDLESS_EPS, b"", b"GIF89a", b"<svg/>"]
        self.sized = [draw_image(generator, size, form="PNG") for size in _SIZES]

    def draw(self, chooser: Chooser) -> Folder:
        options = f"{chooser.choice((1, 3))}-{chooser.choice((0, 0, 5, 8, 300))}-{chooser.choice((0, 0, 4, 5))}"
        forms = [chooser.choice(_FORMATS) for _ in range(2)]
        files: Files = {}
        for number in range(8):
            form = forms[number % 2]
            name = f"{_PARTS[number // 2]}/{'ab'[number % 2]}/{number}.{form.lower()}"
            files[name] = chooser.choice(self.pool[form])
        return Folder(f"images-{options}", files)

    def change(self, mutant: Folder, chooser: Chooser) -> str:
        name = chooser.choice(sorted(mutant.files) or ["train/a/0.png"])
        kind = chooser.integer(0, 8)
        if kind == 0:
            mutant.files[name] = chooser.choice(self.strange)
            return f"{name} is in another format or mode"
        if kind == 1:
            mutant.files[name] = chooser.choice(self.sized)
            return f"{name} has another size"
        if kind == 2:
            mutant.files[name] = chooser.choice(_SPECIALS)
            return f"{name} is {mutant.files[name]}"
        if kind == 3:
            return f"{name} is called {_rename(mutant.files, name, chooser)!r}"
        if kind == 4:
            part = chooser.choice(("train", "val", "test", "train/a", "test/b"))
            mutant.files = {one: content for one, content in mutant.files.items() if not one.startswith(part)}
            return f"{part} is left out"
        content = mutant.files.get(name)
        if not isinstance(content, bytes) or not content:
            return "nothing"
        if kind < 7:
            mutant.files[name], what = damage_bytes(content, chooser)
        else:
            mutant.files[name], what = change_header(content, chooser)
        return f"{name}: {what}"

    def files(self, mutant: Folder) -> Files:
        files = {name: content for name, content in mutant.files.items() if not _is_below_another(name, mutant.files)}
        return {f"{mutant.root}/{name}": content for name, content in files.items()}

    def read(self, folder: Path) -> None:
        (root,) = [path for path in folder.iterdir() if path.name.startswith("images-")] or [folder]
        read_images(root, folder.parent / "cache")


def read_images(root: Path, cache: Path) -> None:
    """Read images twice, the second time from the cache."""
    channels, resize, crop = map(int, re.findall(r"\d+", root.name)[:3] or (3, 0, 0))
    options = {"resize": resize or None, "crop": crop or None}
    if resize and crop > resize:
        options["crop"] = resize
    spec = DataSpec(name="image-folder", root=root, calibration=1, validation=1, test=1, channels=channels, **options)
    first, second = (load_dataset(spec, np.random.default_rng(0), cache) for _ in range(2))
    for name, split in first.splits.items():
        assert np.array_equal(split.images, second.splits[name].images)
        assert np.isfinite(split.inputs(slice(None))).all()


def change_header(content: bytes, chooser: Chooser) -> tuple[bytes, str]:
    """Change a number of a PNG's header and make its checksum right; of other files, one of the first bytes."""
    number = chooser.choice((0, 1, 2, 4, 8, 16, 255, 10_000, 2**31 - 1, 2**32 - 1))
    if content[12:16] != b"IHDR":
        head, what = damage_bytes(content[:40], chooser)
        return head + content[40:], what
    header, place = bytearray(content[16:29]), chooser.choice((0, 4, 8, 9, 10, 11, 12))
    header[place : place + 4] = (
        struct.pack(">I", number) if place < 8 else bytes([number % 256]) + header[place + 1 :][:3]
    )
    packed = bytes(header[:13])
    checksum = struct.pack(">I", zlib.crc32(b"IHDR" + packed))
    return content[:16] + packed + checksum + content[33:], f"{number} at {place} of its header"


def _rename(files: Files, name: str, chooser: Chooser) -> str:
    text = chooser.choice(HOSTILE_TEXTS[:-1]).replace("\0", "").replace("/", "_").strip(".") or "_"
    renamed = chooser.choice(
        (f"train/{text}/0.png", f"train/a/{text}.png", f"{name}.txt", f"test/c/{text}.jpg", f"val/a/x/{text}.png")
    )
    content = files.pop(name, b"")
    if ".." not in Path(renamed).parts:
        files[renamed] = content
    return renamed


def _is_below_another(name: str, files: Files) -> bool:
    return any(parent.as_posix() in files for parent in Path(name).parents)


class ImageArchiveKind(ImageFolderKind):
    """The same in a tar archive, which may say anything about its members."""

    name = "image-archive"
    is_damaged = True

    def prepare(self) -> None:
        super().prepare()
        bomb = io.BytesIO()
        with tarfile.open(fileobj=bomb, mode="w:gz", compresslevel=1) as archive:
            info = tarfile.TarInfo("train/a/0.png")
            info.size = 160 << 20
            archive.addfile(info, io.BytesIO(bytes(info.size)))
        self.bomb = bomb.getvalue()

    def draw(self, chooser: Chooser) -> Folder:
        drawn = super().draw(chooser)
        drawn.root += chooser.choice((".tar", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"))
        return drawn

    def change(self, mutant: Folder, chooser: Chooser) -> str:
        if chooser.integer(0, 2):
            return super().change(mutant, chooser)
        if chooser.integer(0, 19) == 0:
            mutant.is_bomb = True
            return "a bomb"
        name = chooser.choice(sorted(mutant.files) or ["train/a/0.png"])
        types = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"S", b"x", b"L")
        names = (f"../{name}", f"/{name}", f"x/{name}", f"./{name}", name * 60, "train/a/1.png")
        headers = {"path": chooser.choice(("a\nb", "x" * 500, name)), "size": chooser.choice(("1e9", "-1", "7"))}
        links = ("/etc/passwd", name, "..", "train/a/0.png")
        key, value = chooser.choice(
            (
                ("size", chooser.choice(WHOLE_NUMBERS[:2] + WHOLE_NUMBERS[5:])),
                ("type", chooser.choice(types)),
                ("linkname", chooser.choice(links)),
                ("name", chooser.choice(names)),
                ("mtime", 2**33),
                ("pax_headers", headers),
            )
        )
        content = mutant.files.get(name, b"")
        mutant.files[name] = ({**(content[0] if isinstance(content, tuple) else {}), key: value}, _bytes(content))
        return f"{name}: {key} is {value!r:.60}"

    def files(self, mutant: Folder) -> Files:
        if mutant.is_bomb:
            return {mutant.root: self.bomb}
        return {mutant.root: pack_archive(mutant.files, mutant.root.rpartition(".tar.")[2])}


def _bytes(content: Any) -> bytes:
    return content[1] if isinstance(content, tuple) else content if isinstance(content, bytes) else b""


def pack_archive(files: dict[str, Any], packing: str) -> bytes:
    """Return a tar archive; a member is bytes, a `Special`, or what its header says with bytes."""
    content = io.BytesIO()
    mode = f"w:{packing}" if packing in ("gz", "bz2", "xz") else "w"
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name, member in files.items():
            info, data = tarfile.TarInfo(name), _bytes(member)
            info.size = len(data)
            if isinstance(member, Special):
                info.type = tarfile.FIFOTYPE if member.kind == "fifo" else tarfile.SYMTYPE
                info.linkname = member.target
            for key, value in (member[0] if isinstance(member, tuple) else {}).items():
                setattr(info, key, value)
            archive.fileobj.write(_header(info))
            archive.fileobj.write(data + bytes(-len(data) % 512))
            archive.offset += 512 + len(data) + -len(data) % 512
    return content.getvalue()


def _header(info: tarfile.TarInfo) -> bytes:
    try:
        return info.tobuf(tarfile.PAX_FORMAT if info.pax_headers else tarfile.GNU_FORMAT)
    except (ValueError, OverflowError, UnicodeError):
        return tarfile.TarInfo("train/a/9.png").tobuf()


class IdxKind(Kind):
    """Fashion-MNIST in gzipped IDX files."""

    name = "idx"

    def prepare(self) -> None:
        generator = np.random.default_rng(0)
        self.base: dict[str, tuple[bytes, bytes]] = {}
        for stem, count in (("train", 30), ("t10k", 10)):
            images = generator.integers(0, 256, (count, 28, 28)).astype(np.uint8)
            labels = (np.arange(count) % 10).astype(np.uint8)
            for what, array in (("images-idx3", images), ("labels-idx1", labels)):
                header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
                self.base[f"{stem}-{what}-ubyte"] = header, array.tobytes()

    def draw(self, chooser: Chooser) -> Any:
        return {"parts": dict(self.base), "packed": chooser.integer(0, 3) > 0, "zeros": ""}

    def change(self, mutant: Any, chooser: Chooser) -> str:
        name = chooser.choice(sorted(mutant["parts"]) or ["x"])
        header, data = mutant["parts"].get(name, (b"\0" * 8, b"x"))
        kind = chooser.integer(0, 6)
        if kind < 3:
            number, place = (
                chooser.choice((0, 1, 27, 29, 2**31, 2**32 - 1)),
                4 * chooser.integer(0, len(header) // 4),
            )
            header = header[:place] + struct.pack(">I", number) + header[place + 4 :]
            what = f"{number} at {place}"
        elif kind == 3:
            header, what = damage_bytes(header, chooser)
        elif kind == 4:
            data, what = damage_bytes(data or b"x", chooser)
        elif kind == 5 and chooser.integer(0, 19) == 0:
            mutant["zeros"], what = name, "a bomb"
        else:
            mutant["parts"].pop(name, None)
            return f"{name} left out"
        mutant["parts"][name] = (header, data)
        return f"{name}: {what}"

    def files(self, mutant: Any) -> Files:
        plain = {name: header + data for name, (header, data) in mutant["parts"].items()}
        if mutant["zeros"] in plain:
            plain[mutant["zeros"]] += bytes(160 << 20 if mutant["packed"] else 1 << 20)
        if not mutant["packed"]:
            return plain
        return {f"{name}.gz": gzip.compress(content, 1, mtime=0) for name, content in plain.items()}

    def read(self, folder: Path) -> None:
        load_dataset(DataSpec(name="fashion-mnist", root=folder, calibration=4, validation=4), np.random.default_rng(0))


class CifarKind(Kind):
    """CIFAR-10: its binary layout, which is too large to be drawn whole, and small class folders of images."""

    name = "cifar10"

    def prepare(self) -> None:
        generator = np.random.default_rng(0)
        self.images = ImageFolderKind()
        self.images.prepare()
        pixels = [draw_image(generator, (32, 32), "RGB") for _ in range(3)]
        self.base = {
            f"{part}/{name}/{number}.png": pixels[number]
            for part in ("train", "test")
            for name in CIFAR10_CLASSES
            for number in range(2 if part == "train" else 1)
        }

    def draw(self, chooser: Chooser) -> Folder:
        if chooser.integer(0, 1):
            return Folder(chooser.choice(("images", "images.tar", "images.tar.gz")), dict(self.base))
        batches = [f"data_batch_{number}.bin" for number in range(1, 6)]
        content = bytes(range(256)) * 40
        folder = chooser.choice(("", "cifar-10-batches-bin/"))
        files = {f"{folder}{name}": content for name in (*batches, "test_batch.bin", "batches.meta.txt")}
        return Folder(chooser.choice(("binary", "binary.tar", "binary.tar.gz")), files)

    def change(self, mutant: Folder, chooser: Chooser) -> str:
        if chooser.integer(0, 1):
            return self.images.change(mutant, chooser)
        name = chooser.choice(sorted(mutant.files) or ["test_batch.bin"])
        other = chooser.choice(
            ("test_batch.bin", "cifar-10-batches-py/data_batch_1", "data_batch_1", "batches.meta.txt", name)
        )
        mutant.files[other] = chooser.choice((b"", b"\x80\x04.", bytes(3073), mutant.files.get(name, b"")))
        return f"{other} is {mutant.files[other]!r:.40}"

    def files(self, mutant: Folder) -> Files:
        if ".tar" in mutant.root:
            return {mutant.root: pack_archive(mutant.files, mutant.root.rpartition(".tar.")[2])}
        return self.images.files(mutant)

    def read(self, folder: Path) -> None:
        found = sorted(folder.iterdir())
        root = found[0] if found else folder
        with warnings.catch_warnings():
            spec = DataSpec(name="cifar10", root=root, calibration=4, validation=4)
            load_dataset(spec, np.random.default_rng(0), folder.parent / "cache")
