"""One case of the fuzzer: files made from a kind and a seed, read in a forked process with limits on memory and time.

A case is a well-formed file with a few changes. Its seed gives the same files everywhere, and each change has a seed of
its own, so that a failing case is reduced by leaving changes out. A failure is any exception but `MhoError`, a limit
that is exceeded, a signal, text that a terminal would not show as text, or a file that is not as it was.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import json
import mmap
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from damage import damage_bytes
from random_networks import Chooser, SeededChooser

from mho.errors import MhoError
from mho.input_files import MEMORY_KEY

LIMIT_S = 10
"""Processor time of a case, whole seconds; most take milliseconds."""
WAIT_S = 120.0
"""Wall time of a case: whoever waits takes no processor time. A busy or paused machine is no failure."""
BUDGET_GIB = "0.125"
HEADROOM_BYTES = 1 << 30
"""Address space of a case beyond that of the process: what the budget allows, and as much to work with."""
_CASES_A_PROCESS = 500
_CLI_EVERY = 50
_PHASE = mmap.mmap(-1, 1)
"""Shared with the process that reads: 1 while another library than mho is at work."""


@dataclass(frozen=True)
class Special:
    """What a folder holds beside plain files: a "fifo", a "link" to a path, or a "sparse" file of a size."""

    kind: str
    target: str = ""
    size: int = 0


Files = dict[str, bytes | Special]
"""Content by path below the folder of a case."""


class Kind:
    """A kind of file. Subclasses say how one is drawn, changed, written and read."""

    name = ""
    changes: Sequence[int] = (0, 1, 1, 1, 1, 1, 2, 2, 3, 4)
    """How many changes a case has, drawn from these."""
    is_damaged = True
    """Whether bytes are damaged too, at random."""
    rewrites = False
    """Whether reading may write to the folder."""

    def prepare(self) -> None:
        """Make what all cases share, once, before processes are forked."""

    def draw(self, chooser: Chooser) -> Any:
        """Return a well-formed file in a form that may be changed."""
        raise NotImplementedError

    def change(self, mutant: Any, chooser: Chooser) -> str:
        """Change one thing in place; return what, in words. Raises `MhoError` where nothing is left to change."""
        raise NotImplementedError

    def files(self, mutant: Any) -> Files:
        """Return what is written to disk."""
        raise NotImplementedError

    def read(self, folder: Path) -> None:
        """Read the files as mho does, and check what it makes of them. Raises `MhoError` where they are refused."""
        raise NotImplementedError

    def arguments(self, folder: Path) -> list[str]:  # noqa: ARG002
        """Return arguments of the command line that reads the files, or nothing."""
        return []


@dataclass(frozen=True)
class Case:
    """A case before it is read.

    Attributes:
        seed: that it follows from, with the kind.
        kept: numbers of the changes that are made; None: all of them.
    """

    seed: int
    kept: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: that was read.
        state: "accepted", "refused" or "failed".
        steps: numbers of the changes that were made.
        descriptions: the changes in words.
        error: of a case that was not accepted.
        seconds: that it took.
    """

    case: Case
    state: str
    steps: tuple[int, ...] = ()
    descriptions: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0

    @property
    def signature(self) -> str:
        """What failures have in common that come from one defect: where mho was, and the kind of the exception."""
        lines = self.error.strip().splitlines()
        places = [line.strip() for line in lines if "/src/mho/" in line]
        return f"{places[-1] if places else ''} {lines[-1][:40]}"


def make_files(kind: Kind, case: Case) -> tuple[Files, tuple[int, ...], tuple[str, ...]]:
    """Return the files of a case, the numbers of its changes, and these in words."""
    key = zlib.crc32(kind.name.encode())
    chooser = SeededChooser([key, case.seed])
    mutant = kind.draw(chooser)
    steps = range(chooser.choice(kind.changes))
    damaged_step = len(steps) if kind.is_damaged and chooser.integer(0, 5) == 0 else None
    if damaged_step is not None and chooser.integer(0, 1):
        steps = range(0)  # damage to a well-formed file gets deepest
    made = [step for step in steps if case.kept is None or step in case.kept]
    descriptions = []
    with contextlib.suppress(MhoError):
        for step in made:
            descriptions.append(kind.change(mutant, SeededChooser([key, case.seed, step])))
    files = kind.files(mutant)
    if damaged_step is not None and (case.kept is None or damaged_step in case.kept):
        made.append(damaged_step)
        own = SeededChooser([key, case.seed, damaged_step])
        plain = [name for name, content in files.items() if isinstance(content, bytes) and content]
        if plain:
            name = own.choice(plain)
            files[name], what = damage_bytes(files[name], own)
            descriptions.append(f"{name}: {what}")
    return files, tuple(made), tuple(descriptions)


def write_files(folder: Path, files: Files) -> None:
    """Write files to an empty folder."""
    made = {folder}
    for name, content in files.items():
        path = folder / name
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content.kind == "fifo":
            os.mkfifo(path)
        elif content.kind == "link":
            path.symlink_to(content.target)
        else:
            with path.open("wb") as file:
                file.truncate(content.size)


@contextlib.contextmanager
def at_work_elsewhere() -> Iterator[None]:
    """Mark what another library does: where it dies of a file that mho accepts, mho has not failed."""
    _PHASE[0] = 1
    try:
        yield
    finally:
        _PHASE[0] = 0


# -- a case in the process that reads it ---------------------------------------------------------------


def _read_case(kind: Kind, case: Case, folder: Path) -> Outcome:
    start, state, error = time.process_time(), "accepted", ""
    files, steps, descriptions = make_files(kind, case)
    write_files(folder, files)
    try:
        try:
            if case.seed % _CLI_EVERY == 0 and (arguments := kind.arguments(folder)):
                run_command(arguments)
            kind.read(folder)
        except MhoError as refusal:
            state, error = "refused", str(refusal)
            check_refusal(refusal)
        if not kind.rewrites:
            _check_unchanged(folder, files)
    except KeyboardInterrupt:
        raise
    except BaseException:
        state, error = "failed", traceback.format_exc()
    return Outcome(case, state, steps, descriptions, error, time.process_time() - start)


def check_refusal(error: MhoError) -> None:
    """Check that an error is a text for people, and was raised before memory was taken."""
    cause: BaseException | None = error
    while cause is not None:
        assert not isinstance(cause, MemoryError), f"memory was requested, and then refused: {error}"
        cause = cause.__cause__ or cause.__context__
    text = str(error)
    assert text.strip(), f"an error without a text: {error!r}"
    assert len(text) < 100_000, f"an error of {len(text)} characters: {text[:1000]}"
    if not _is_plain(text):
        from mho.terminal import echo_error

        with _captured() as printed:
            echo_error(text)
        _check_plain(printed())


def run_command(arguments: Sequence[str]) -> None:
    """Run the command line within this process; it ends with 0, 1 or 2 and prints plain text."""
    from mho.cli.main import main

    with _captured() as printed:
        code = main(list(arguments))
    assert code in (0, 1, 2), f"exit code {code} of mho {' '.join(arguments)}"
    _check_plain(printed())


@contextlib.contextmanager
def _captured() -> Iterator[Any]:
    content = io.BytesIO()
    stream = io.TextIOWrapper(content, encoding="utf-8", errors="strict", write_through=True)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        yield lambda: (stream.flush(), content.getvalue().decode())[1]


def _is_plain(text: str) -> bool:
    return text.isprintable() or all(
        letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cs") for letter in text
    )


def _check_plain(text: str) -> None:
    assert _is_plain(text), f"a terminal would obey: {text[:2000]!r}"


def _check_unchanged(folder: Path, files: Files) -> None:
    found = set(_list_files(str(folder), ""))
    assert found == set(files), f"files came or went: {sorted(found ^ set(files))}"
    for name, content in files.items():
        if isinstance(content, bytes):
            assert (folder / name).read_bytes() == content, f"{name} was changed"


def _list_files(folder: str, prefix: str) -> Iterator[str]:
    """Yield all that lies in a folder and is no folder itself, links to such included."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _list_files(entry.path, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


# -- processes -----------------------------------------------------------------------------------------


def run_cases(kind: Kind, cases: Sequence[Case]) -> Iterator[Outcome]:
    """Read cases one after the other in forked processes; a case that ends its process is a failed one."""
    start = 0
    while start < len(cases):
        done = 0
        with tempfile.TemporaryDirectory(prefix="mho-fuzz-") as folder:
            log = Path(folder, "log")
            _PHASE[0] = 0
            reader, writer = os.pipe()
            process = os.fork()
            if process == 0:
                os.close(reader)
                _work(kind, cases[start : start + _CASES_A_PROCESS], writer, Path(folder, "case"), log)
            os.close(writer)
            try:
                with os.fdopen(reader, encoding="utf-8") as lines:
                    for line in lines:
                        content = json.loads(line)
                        case = Case(content["case"]["seed"], _tupled(content["case"]["kept"]))
                        descriptions, steps = tuple(content["descriptions"]), tuple(content["steps"])
                        yield replace(Outcome(**content), case=case, descriptions=descriptions, steps=steps)
                        done += 1
            except BaseException:  # also where the caller wants no more cases
                os.kill(process, signal.SIGKILL)
                raise
            finally:
                _, status = os.waitpid(process, 0)
            start += done
            if start < len(cases) and done < _CASES_A_PROCESS:
                yield _outcome_of_death(kind, cases[start], status, log.read_text(errors="replace"))
                start += 1


def _work(kind: Kind, cases: Sequence[Case], writer: int, folder: Path, log: Path) -> None:
    """Read cases, report them and end the process."""
    code = 1
    try:
        errors = log.open("w")
        os.dup2(errors.fileno(), 2)
        faulthandler.enable(errors)
        faulthandler.register(signal.SIGXCPU, errors, chain=True)
        _limit()
        gc.freeze()  # what the parent made stays: else each full collection would look through it, and copy its pages
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        os.environ |= {MEMORY_KEY: BUDGET_GIB, "MHO_CACHE_DIR": str(folder.parent / "cache"), "COLUMNS": "120"}
        os.fsync = lambda _: None  # what is durable is tested elsewhere
        with os.fdopen(writer, "w", encoding="utf-8") as reports:
            for case in cases:
                folder.mkdir()
                faulthandler.dump_traceback_later(WAIT_S, exit=True, file=errors)
                resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + LIMIT_S, hard))
                outcome = _read_case(kind, case, folder)
                faulthandler.cancel_dump_traceback_later()
                reports.write(json.dumps(asdict(outcome)) + "\n")
                reports.flush()
                shutil.rmtree(folder)
                if (folder.parent / "cache").exists():
                    shutil.rmtree(folder.parent / "cache")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + HEADROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _outcome_of_death(kind: Kind, case: Case, status: int, log: str) -> Outcome:
    try:
        _, steps, descriptions = make_files(kind, case)
    except Exception as error:
        return Outcome(case, "failed", (), (), f"the fuzzer cannot make the case: {error!r}\n{log[-2000:]}")
    if _PHASE[0]:
        return Outcome(case, "accepted", steps, descriptions, "another library died of it")
    how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "it took too long, or gave up"
    return Outcome(case, "failed", steps, descriptions, f"the process ended: {how}\n{log[-6000:]}", LIMIT_S)


def _tupled(kept: list[int] | None) -> tuple[int, ...] | None:
    return None if kept is None else tuple(kept)
