"""The folder of one run: finished stages under the hash of what they came from, unfinished ones to go on with.

    lock                    held while a run uses the folder; freed by the system however the process ends
    run.json                marks the folder as a run's
    stages/NAME/            a finished stage: its files and stage.json (key, figures, hashes of its files)
    stages/NAME.partial/    a stage in the making: checkpoints and logs that it goes on from, and its key

A stage becomes finished by one rename, so it is there wholly or not at all.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mho.cache_folder import write_atomically
from mho.errors import InputFileError, MhoError, file_errors
from mho.input_files import read_json

LOCK_FILE, MARK_FILE = "lock", "run.json"
STAGE_FILE, KEY_FILE, CLOCK_FILE = "stage.json", "key.txt", "clock.json"
_OWN_FILES = (STAGE_FILE, KEY_FILE, CLOCK_FILE)


@dataclass(frozen=True, eq=False)
class StageResult:
    """A finished stage.

    Attributes:
        name: of the stage.
        key: hash of everything that it came from.
        digest: hash of the key and of what it made, figures and files: what later stages come from.
        folder: where its files lie.
        figures: JSON values that later stages and the report read; equal for equal keys.
        files: SHA-256 of each file, by path inside the folder.
        seconds: working time, over all interruptions.
    """

    name: str
    key: str
    digest: str
    folder: Path
    figures: Mapping[str, Any]
    files: Mapping[str, str]
    seconds: float


class RunDirectory:
    """Opens, locks and keeps the folder of a run. Use `open_run_directory`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stages = path / "stages"

    def finished(self, name: str, key: str) -> StageResult | None:
        """Return the finished stage of that key; None where there is none, or where its files were changed."""
        result = _read_stage(self._stages / name)
        return result if result is not None and result.key == key else None

    def check_owner(self) -> None:
        """Raise `InputFileError` where the folder is there, and is that of something else. Changes nothing."""
        if self.path.is_dir():
            found = {entry.name for entry in self.path.iterdir()}
            if LOCK_FILE not in found:
                _check_owner(found, self.path, MARK_FILE, "run")

    def begin(self, name: str, key: str) -> Path:
        """Return the folder in which a stage is made; what a stage of another key left there is removed."""
        folder = self._stages / f"{name}.partial"
        key_file = folder / KEY_FILE
        if not key_file.is_file() or key_file.read_bytes() != key.encode():
            return self.begin_anew(name, key)
        for path in list(folder.rglob(".*")):  # what a kill left of files that were being written
            _remove(path)
        return folder

    def begin_anew(self, name: str, key: str) -> Path:
        """Return an empty folder in which a stage is made; what lies there is removed."""
        folder = self._stages / f"{name}.partial"
        _remove(folder)
        folder.mkdir(parents=True)
        write_atomically(folder / KEY_FILE, key.encode())
        return folder

    def commit(self, name: str, key: str, figures: Mapping[str, Any], seconds: float) -> StageResult:
        """Turn the folder given by `begin` into the finished stage."""
        partial, final = self._stages / f"{name}.partial", self._stages / name
        files = hash_files(partial)
        content = {
            "name": name,
            "key": key,
            "digest": hash_json([key, dict(figures), files]),
            "figures": dict(figures),
            "files": files,
            "seconds": round(seconds, 3),
        }
        write_atomically(partial / STAGE_FILE, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())
        _remove(final)
        partial.replace(final)
        _sync_folder(self._stages)
        result = _read_stage(final)
        if result is None:
            raise InputFileError("a finished stage does not read back", where=str(final), hint="is the disk full?")
        return result

    def clock(self, name: str) -> StageClock:
        """Return the clock of the stage in the making; goes on from what earlier attempts took."""
        return StageClock(self._stages / f"{name}.partial" / CLOCK_FILE)


def list_stages(path: Path, prefix: str) -> Iterator[StageResult]:
    """Yield the finished stages of a run directory whose names begin with `prefix`, by name."""
    for folder in sorted((path / "stages").glob(f"{prefix}*")):
        if (stage := _read_stage(folder)) is not None:
            yield stage


def _read_stage(folder: Path) -> StageResult | None:
    """Return a finished stage; None where it is not finished, or where anything of it was changed."""
    try:
        content = read_json(folder / STAGE_FILE, expected="a finished stage")
        key, figures = content["key"], content["figures"]
        files = hash_files(folder)
        digest = hash_json([key, figures, files])
        if (content["name"], content["files"], content["digest"]) != (folder.name, files, digest):
            return None
        return StageResult(folder.name, key, digest, folder, figures, files, _read_seconds(content))
    except (MhoError, OSError, ValueError, KeyError, TypeError):
        return None


def _read_seconds(content: Any) -> float:
    """Return a working time that was kept, 0 where it was damaged."""
    seconds: Any = content.get("seconds") if isinstance(content, dict) else None
    return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e12 else 0.0


class StageClock:
    """Working time of a stage, kept beside it so that interruptions do not shorten it."""

    _EVERY_SECONDS = 2.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = 0.0
        with suppress(MhoError):
            self._before = _read_seconds(read_json(path, expected="a working time"))
        self._start = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Working time so far."""
        return self._before + time.monotonic() - self._start

    def tick(self) -> None:
        """Save the time, now and then."""
        now = time.monotonic()
        if now - self._saved >= self._EVERY_SECONDS:
            self._saved = now
            write_atomically(self._path, json.dumps({"seconds": self.seconds}).encode())


@contextmanager
def open_run_directory(path: Path, *, fresh: bool = False) -> Iterator[RunDirectory]:
    """Open a run directory, made where it does not exist, for this process alone.

    Args:
        path: the folder.
        fresh: forget what earlier runs left in it.

    Raises:
        MhoError: another run is using it.
        InputFileError: it cannot be made, or is a folder of something else.
    """
    with use_folder_alone(path, MARK_FILE, "run"):
        write_atomically(path / MARK_FILE, b'{"format": "mho-run", "version": 1}\n')
        if fresh:
            for entry in path.iterdir():
                if entry.name not in (LOCK_FILE, MARK_FILE):
                    _remove(entry)
        yield RunDirectory(path)


@contextmanager
def use_folder_alone(path: Path, mark: str, owner: str) -> Iterator[None]:
    """Let this process alone use a folder, made where it does not exist, until the block ends.

    The lock is taken before anything else is written, and the system frees it however the process ends. So a folder
    that holds files but no lock and no mark belongs to something else, however many processes start at once.

    Args:
        path: the folder.
        mark: name of a file that only such folders hold.
        owner: what such folders belong to, for messages: ``"run"``.

    Raises:
        MhoError: another process uses it.
        InputFileError: it cannot be made or locked, or is a folder of something else.
    """
    with file_errors(path, "cannot be made"):
        path.mkdir(parents=True, exist_ok=True)
        found = {entry.name for entry in path.iterdir()}
        if LOCK_FILE not in found:
            _check_owner(found, path, mark, owner)
        lock = (path / LOCK_FILE).open("a+b")
    with lock:
        _take_lock(lock, path, owner)
        _check_owner({entry.name for entry in path.iterdir()}, path, mark, owner)
        with suppress(OSError):  # a full disk: only messages need the number
            os.ftruncate(lock.fileno(), 0)
            os.pwrite(lock.fileno(), str(os.getpid()).encode(), 0)
        yield


def _check_owner(found: set[str], path: Path, mark: str, owner: str) -> None:
    # Names that begin with a dot: a process that was killed while it wrote the mark leaves its temporary file.
    others = sorted(name for name in found if name != LOCK_FILE and not name.startswith(f".{mark}-"))
    if others and mark not in others:
        raise InputFileError(
            f"the folder is not a {owner}'s: it holds {others[0]!r}", where=str(path), hint="name a new folder"
        )


def _take_lock(lock: BinaryIO, path: Path, owner: str) -> None:
    # A record lock belongs to the process: its children do not inherit it, and the system frees it at any end.
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise InputFileError(
                f"cannot be locked: {error.strerror}", where=str(path), hint="name a folder on another disk"
            ) from error
        process = os.pread(lock.fileno(), 32, 0).decode(errors="replace").strip()
        raise MhoError(
            f"another {owner} is using this folder",
            where=str(path),
            hint=f"wait for process {process}, or give another folder" if process else "give another folder",
        ) from error


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder` that a stage made, by path inside it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in _OWN_FILES and not path.name.startswith("."):
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def hash_json(content: Any) -> str:
    """Return the SHA-256 of JSON content, independent of the order of keys."""
    text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # Renamed first: a kill in the middle must not leave half a stage under its name.
        aside = path.with_name(f".{path.name}.removed")
        shutil.rmtree(aside, ignore_errors=True)
        path.replace(aside)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
