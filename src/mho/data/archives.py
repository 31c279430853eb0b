"""Tar archives, plain or gzipped, read as a stream and never unpacked: names in them cannot reach the file system."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mho.errors import InputFileError, MhoError
from mho.input_files import check_memory, check_regular_file

_EXPECTED = "a tar archive, plain or gzipped"
_BLOCK = 512
_LONGEST_HEADER = 1 << 20
_LEAST_PACKED = 16
"""Bytes that a member takes at least in a gzipped archive of distinct files: its header alone compresses to more."""


class _Stream:
    """What tarfile reads: headers of bounded length and, of what is gzipped, no more than the memory budget."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self.is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        self._file: BinaryIO = gzip.GzipFile(fileobj=file) if self.is_packed else file  # type: ignore[assignment]
        self._where = where
        self.tell = self._file.tell

    def seek(self, offset: int) -> None:
        self._check(offset)
        self._file.seek(offset)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self.read_content(size)

    def read_content(self, size: int) -> bytes:
        self._check(self.tell() + size)
        return self._file.read(size)

    def _check(self, end: int) -> None:
        if self.is_packed:
            check_memory(end, "the unpacked archive", where=self._where)


@dataclass(frozen=True)
class Member:
    """A regular file in an archive that is being read: its name and, until the next one is read, its content."""

    name: str
    where: str
    _stream: _Stream
    _start: int
    _size: int

    def read(self) -> bytes:
        """Return the content. Raises `InputFileError` where it is cut short, `MemoryBudgetError` where too large."""
        check_memory(self._size, "the file", where=self.where)
        with _damage(self.where):
            self._stream.seek(self._start)
            content = self._stream.read_content(self._size)
        if len(content) < self._size:
            raise InputFileError("damaged archive: it ends here", where=self.where)
        return content


def read_archive(path: Path) -> Iterator[Member]:
    """Yield the regular files of a tar archive in their order.

    Raises:
        InputFileError: not an archive, or damaged.
        MemoryBudgetError: what is gzipped unpacks to more than the budget.
    """
    size = check_regular_file(path, expected=_EXPECTED)
    with contextlib.ExitStack() as stack:
        with _damage(str(path)):
            stream = _Stream(stack.enter_context(path.open("rb")), str(path))
            archive = tarfile.TarFile(fileobj=stream)  # type: ignore[arg-type]
        for count in itertools.count(1):
            with _damage(str(path)):
                end = archive.offset
                member = archive.next()
                if member is None:
                    _check_end(stream, archive.offset)
                    return
                # TarFile has read the first one already. A size below zero leads back, in circles.
                if (archive.offset <= end and count > 1) or member.size < 0:
                    raise tarfile.ReadError("a size below zero")
                if stream.is_packed and count * _LEAST_PACKED > size + _BLOCK:
                    raise tarfile.ReadError("more files than it has room for")
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps them all
            if member.isreg() and not member.issparse():
                where = f"{path}: {member.name}"
                yield Member(member.name, where, stream, member.offset_data, member.size)


@contextlib.contextmanager
def _damage(where: str) -> Iterator[None]:
    """Turn what tarfile, gzip and zlib raise for damaged files, which is of many kinds, into one error."""
    try:
        yield
    except MhoError:
        raise
    except Exception as error:
        raise InputFileError(f"not a readable archive: {error}", where=where, expected=_EXPECTED) from error


def _check_end(stream: _Stream, offset: int) -> None:
    """Refuse an archive that does not end as archives end: tarfile takes any damaged header for the end."""
    stream.seek(offset)
    if stream.read(_BLOCK) != bytes(_BLOCK):
        raise tarfile.ReadError(f"damaged at byte {offset}")
    while stream.is_packed and stream.read(_LONGEST_HEADER):
        pass  # gzip compares the checksum at the end
