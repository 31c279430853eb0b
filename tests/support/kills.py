"""Commands that are killed at random moments, again and again, and end with the results of undisturbed ones.

As a script: ``python tests/support/kills.py --kills 100 --seed 1`` prints a line for each disturbed command, and
``--moments`` kills at moments that matter: in both trainings of a run, and within a search in processes. Commands run
in children of a process that has run them undisturbed, so that all is imported; a kill ends a child, all of its
processes, or one of its workers, at once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx_models import model, node
from tiny_run import write_squares

CONFIG = """
[run]
name = "killed"
devices = "cpu"
seed = 3
threads = 1

[network]
name = "net.onnx"

[data]
name = "npz"
root = "data.npz"
calibration = 40
validation = 60

[accelerator]
name = "pelke2026-4bit"

[float_training]
epochs = 6
batch_size = 32
learning_rate = 0.1

[evaluation.training]
steps = 2
batch_size = 32
learning_rate = 0.01

[search]
method = "random"
budget = 6
batch = 2
allowed_drop = 50
hold_first_last = "none"

[qat]
epochs = 2
batch_size = 32
learning_rate = 0.01

[simulation]
reference_images = 20
interpreter_images = 4
"""

STUDY = """
[study]
name = "killed"
seeds = [3, 5]

[program]
file = "dense.mho"

[samples]
file = "samples.npz"

[sweeps]
array.programming_error = [0.1, 0.2, 0.3]
converters.adc_bits = [2, 4, "ideal"]
"""

_TIMES = {"seconds", "digest", "files", "directory"}
"""Keys of JSON that hold times, hashes and sizes of files that do, and where the results lie."""
_LEAST_LIFE = 0.05
_MOST_KILLS = 6
"""Of one command; then it is left alone, so that every one ends."""


@dataclass(frozen=True)
class Command:
    """A command, and what it found, without times.

    Attributes:
        arguments: of ``mho``, without the directory.
        results: of a directory, by name.
        workers: that it starts.
    """

    arguments: tuple[str, ...]
    results: Callable[[Path], dict[str, Any]]
    workers: int = 0


_SEARCH, _STUDY = ("search", "killed.toml", "--storage", "sqlite"), ("study", "study.toml")
COMMANDS = {
    "run": Command(("run", "killed.toml"), lambda folder: run_results(folder)),
    "search": Command(_SEARCH, lambda folder: run_results(folder)),
    "study": Command(_STUDY, lambda folder: study_results(folder)),
    "search-workers": Command((*_SEARCH, "--processes", "2"), lambda folder: run_results(folder), 2),
    "study-workers": Command((*_STUDY, "--processes", "2"), lambda folder: study_results(folder), 2),
}


@dataclass(frozen=True)
class Moment:
    """When a command is killed.

    Attributes:
        is_reached: shown from its directory.
        victim: "driver" or "worker".
    """

    is_reached: Callable[[Path], bool]
    victim: str = "driver"


def has_checkpoint(place: str) -> Callable[[Path], bool]:
    """Return whether the training of a stage has kept something."""
    return lambda folder: (folder / "stages" / place / "checkpoint").exists()


def has_evaluations(count: int) -> Callable[[Path], bool]:
    """Return whether so many policies were evaluated."""
    return lambda folder: sum(log.read_bytes().count(b"\n") for log in folder.glob("evaluations/*.jsonl")) > count


MOMENTS = {
    "run": (Moment(has_checkpoint("float.partial")), Moment(has_checkpoint("found.partial/finalist-0"))),
    "search-workers": (Moment(has_evaluations(2), "worker"), Moment(has_evaluations(4))),
}
ALONE = {"run": "run", "search-workers": "search"}
"""The command whose results those of a killed one equal, and which goes on after the driver was killed."""


def write_inputs(folder: Path) -> None:
    """Write what the commands need into a folder."""
    from studies import write_study

    write_study(folder, STUDY)
    (folder / "small.toml").rename(folder / "study.toml")
    write_squares(folder, 200, 40)
    onnx.save(make_network(), folder / "net.onnx")
    (folder / "killed.toml").write_text(CONFIG)


def make_network(classes: int = 3) -> onnx.ModelProto:
    """Return two convolutions and a dense layer; an exported one would spend most of a run on its export."""
    draw = np.random.default_rng(5).normal
    weights = {"a": (6, 1, 3, 3), "b": (8, 6, 3, 3), "c": (classes, 128)}
    arrays = {name: draw(0, 0.3, shape).astype(np.float32) for name, shape in weights.items()}
    nodes = [
        node("Conv", "x a", "u", "first", pads=[1, 1, 1, 1]),
        node("Relu", "u", "v"),
        node("MaxPool", "v", "w", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "w b", "p", "second", pads=[1, 1, 1, 1]),
        node("Relu", "p", "q"),
        node("Flatten", "q", "r"),
        node("Gemm", "r c", "y", "last", transB=1),
    ]
    return model(nodes, {"x": ["n", 1, 8, 8]}, arrays)


def run_results(folder: Path) -> dict[str, Any]:
    """Return hashes of all files of finished stages, and JSON and logs without times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.name == "clock.json" or "/." in f"/{name}":
            continue
        if path.suffix == ".jsonl":
            records = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = sorted(json.dumps(without_times(record, {"index"}), sort_keys=True) for record in records)
        elif path.suffix == ".json" and name not in ("run.json",):
            places = {"index"} if path.name == "search.json" else set()  # in the log, which follows from times
            found[name] = without_times(json.loads(path.read_text()), places)
        elif name.startswith("stages/"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    assert not [name for name in found if ".partial/" in name], "every stage is finished"
    return found


def study_results(folder: Path) -> dict[str, Any]:
    """Return the files of a study, its log without times and order."""
    names = ("result.json", "table.txt", "table.csv", "study.html", "program.mho")
    lines = [without_times(json.loads(line)) for line in (folder / "results.jsonl").read_text().splitlines()]
    found: dict[str, Any] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    found["study.json"] = without_times(json.loads((folder / "study.json").read_text()))
    return found | {"log": sorted(json.dumps(line, sort_keys=True) for line in lines)}


def without_times(content: Any, others: frozenset[str] | set[str] = frozenset()) -> Any:
    """Return JSON content without what times make differ."""
    if isinstance(content, dict):
        kept = {key: value for key, value in content.items() if key not in _TIMES and key not in others}
        return {key: without_times(value, others) for key, value in kept.items()}
    return [without_times(item, others) for item in content] if isinstance(content, list) else content


def start(command: Command, folder: Path, directory: Path) -> int:
    """Start a command in a child that leads a process group of its own; return its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setpgid(0, 0)
            with (folder / "output.txt").open("ab") as output:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
            from mho.cli.main import main

            code = main([*command.arguments, "--directory", str(directory)])
        finally:
            sys.stdout.flush()
            os._exit(code)
    return child


def workers_of(child: int) -> list[int]:
    """Return the processes that a child started."""
    try:
        return [int(one) for one in Path(f"/proc/{child}/task/{child}/children").read_text().split()]
    except OSError:
        return []


def has_ended(child: int, seconds: float) -> bool:
    """Wait for a child for so long; True where it ended, which it must with code 0."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, f"exit code {os.waitstatus_to_exitcode(status)}"
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.002)


def disturb(command: Command, folder: Path, directory: Path, seconds: float, draw: random.Random) -> Iterator[str]:
    """Run a command to its end, killing it in between; yield whom each kill hits.

    Args:
        command: what is run.
        folder: where its inputs lie.
        directory: of its results.
        seconds: that it takes undisturbed: kills come within this time after each start.
        draw: of moments and victims.
    """
    for _ in range(draw.randint(1, _MOST_KILLS)):
        child = start(command, folder, directory)
        if has_ended(child, draw.uniform(_LEAST_LIFE, seconds)):
            return
        victim = draw.choice(("driver", "all", "worker") if command.workers else ("driver", "all"))
        workers = workers_of(child)
        if victim == "worker" and workers:
            os.kill(draw.choice(workers), signal.SIGKILL)
            yield victim
            if has_ended(child, draw.uniform(_LEAST_LIFE, seconds)):
                return
            victim = "driver"
        if victim == "all":
            os.killpg(child, signal.SIGKILL)
        else:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        yield victim
    child = start(command, folder, directory)
    assert has_ended(child, 60 + 20 * seconds), "it does not end"


def kill_at_moments(name: str, folder: Path, directory: Path) -> None:
    """Run a command to its end, killing it or a worker of it at each of its moments."""
    command = COMMANDS[name]
    child = start(command, folder, directory)
    for moment in MOMENTS[name]:
        end = time.monotonic() + 120
        while not moment.is_reached(directory):
            assert not has_ended(child, 0), "it ended before it could be killed"
            assert time.monotonic() < end, "it does not get so far"
            time.sleep(0.002)
        if moment.victim == "worker":
            workers = [one for one in workers_of(child) if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
            assert len(workers) == command.workers
            os.kill(workers[0], signal.SIGKILL)
        else:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            child = start(COMMANDS[ALONE[name]], folder, directory)
    assert has_ended(child, 120), "it does not end"


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return the names of results that differ."""
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def run_undisturbed(name: str, folder: Path, directory: Path) -> float:
    """Run a command in this process, which so imports all that it needs; return the seconds that it takes."""
    from mho.cli.main import main

    begin = time.monotonic()
    with (folder / "output.txt").open("a") as text, redirect_stdout(text), redirect_stderr(text):
        assert main([*COMMANDS[name].arguments, "--directory", str(directory)]) == 0
    return time.monotonic() - begin


def run_moments(folder: Path, say: Callable[[str], None]) -> None:
    """Kill commands at their `MOMENTS`.

    Raises:
        AssertionError: as `run_kills` does.
    """
    for name, moments in MOMENTS.items():
        whole, killed = folder / f"{name}-undisturbed", folder / f"{name}-at-moments"
        run_undisturbed(ALONE[name], folder, whole)
        kill_at_moments(name, folder, killed)
        wrong = differences(COMMANDS[name].results(whole), COMMANDS[name].results(killed))
        assert not wrong, f"{name}: {wrong} differ in {killed}"
        say(f"{len(moments):4} kills  {name:14}  at their moments")


def run_kills(names: list[str], kills: int, seed: int, folder: Path, say: Callable[[str], None]) -> tuple[int, int]:
    """Disturb commands in turns until there were so many kills; return the numbers of kills and of disturbed commands.

    Raises:
        AssertionError: a command fails, prints a traceback, or ends with other results than an undisturbed one.
    """
    draw, expected, seconds = random.Random(seed), {}, {}
    for name in names:
        for directory in (folder / f"{name}-first", folder / f"{name}-whole"):  # the first one imports everything
            seconds[name] = run_undisturbed(name, folder, directory)
        expected[name] = COMMANDS[name].results(directory)
        assert not differences(expected[name], COMMANDS[name].results(folder / f"{name}-first"))
        say(f"{name} takes {seconds[name]:.1f} s undisturbed")
    done = number = 0
    while done < kills:
        name, directory = names[number % len(names)], folder / f"killed-{number}"
        victims = list(disturb(COMMANDS[name], folder, directory, seconds[name], draw))
        wrong = differences(expected[name], COMMANDS[name].results(directory))
        output = (folder / "output.txt").read_text(errors="replace")
        assert not wrong, f"seed {seed}, {name} after kills of {victims}: {wrong} differ in {directory}"
        assert "Traceback" not in output, f"seed {seed}, {name} after kills of {victims}: {output[-3000:]}"
        done, number = done + len(victims), number + 1
        say(f"{done:4} kills  {name:14}  {', '.join(victims) or 'none'}")
        shutil.rmtree(directory)
    return done, number


def main() -> None:
    """Kill as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--moments", action="store_true")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="mho-kills-"))  # kept where anything is wrong
    begin = time.monotonic()
    write_inputs(folder)
    os.chdir(folder)
    if given.moments:
        run_moments(folder, lambda line: print(line, flush=True))
    kills, commands = run_kills(given.commands, given.kills, seed, folder, lambda line: print(line, flush=True))
    print(f"{kills} kills of {commands} commands, all results equal, {time.monotonic() - begin:.0f} s, seed {seed}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
