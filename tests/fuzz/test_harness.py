"""The fuzzer finds what it is there to find, and a seed gives the same case again."""

import json
import os
import signal
import time

import fuzzing
import numpy as np
import pytest
from damage import change_tree, to_json, to_toml
from failures import Replayed, reduce, save
from fuzzing import Case, Kind, Special, make_files, run_cases
from random_networks import SeededChooser

from mho.errors import InputFileError, MemoryBudgetError


class Planted(Kind):
    """A list of numbers, whose reader has a defect."""

    name = "planted"

    def __init__(self, read):
        self.reader = read

    def draw(self, chooser):
        return [chooser.integer(0, 9) for _ in range(4)]

    def change(self, mutant, chooser):
        mutant.append(chooser.integer(10, 99))
        return f"{mutant[-1]} added"

    def files(self, mutant):
        return {"numbers.json": json.dumps(mutant).encode()}

    def read(self, folder):
        self.reader(folder / "numbers.json")


def fail(path):
    raise KeyError("a defect")


def refuse_too_late(path):
    try:
        np.ones(1 << 40)
    except MemoryError as error:
        raise MemoryBudgetError("too large") from error


def take_memory(path):
    np.ones(fuzzing.HEADROOM_BYTES // 4)


def end_by_signal(path):
    os.kill(os.getpid(), signal.SIGSEGV)


def exit_silently(path):
    os._exit(0)


def change_the_file(path):
    path.write_bytes(b"[]")


def leave_a_file(path):
    (path.parent / "more").write_bytes(b"")


def wait_for_ever(path):
    while True:
        time.sleep(1)


def compute_for_ever(path):
    while True:
        pass


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        (fail, "KeyError"),
        (refuse_too_late, "memory was requested"),
        (take_memory, "MemoryError"),
        (end_by_signal, "SIGSEGV"),
        (exit_silently, "the process ended"),
        (change_the_file, "was changed"),
        (leave_a_file, "came or went"),
        (wait_for_ever, "Timeout"),
        (compute_for_ever, "SIGXCPU"),
    ],
)
def test_defects_are_found_and_the_next_case_is_read_all_the_same(monkeypatch, defect, message):
    if defect is wait_for_ever:  # a busy machine may take a second for any other
        monkeypatch.setattr(fuzzing, "WAIT_S", 1.0)
    if defect is compute_for_ever:
        monkeypatch.setattr(fuzzing, "LIMIT_S", 0)
    kind = Planted(lambda path: defect(path) if b" 9" in path.read_bytes() else None)
    planted = [seed for seed in range(12) if b" 9" in make_files(kind, Case(seed))[0]["numbers.json"]]
    assert 1 < len(planted) < 11
    seeds = range(12) if defect not in (wait_for_ever, compute_for_ever) else [planted[0], *set(range(12)) - {*planted}]
    outcomes = list(run_cases(kind, [Case(seed) for seed in seeds]))
    assert [outcome.case.seed for outcome in outcomes] == list(seeds)
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    assert [outcome.case.seed for outcome in failed] == [seed for seed in planted if seed in seeds]
    assert all(message in outcome.error for outcome in failed)


def test_what_is_refused_in_words_is_no_failure():
    def refuse(path):
        raise InputFileError("not what was expected", where=str(path))

    (outcome,) = run_cases(Planted(refuse), [Case(0)])
    assert (outcome.state, outcome.error[-21:]) == ("refused", "not what was expected")


def test_where_another_library_dies_the_file_is_accepted():
    def read(path):
        with fuzzing.at_work_elsewhere():
            end_by_signal(path)

    (outcome,) = run_cases(Planted(read), [Case(0)])
    assert outcome.state == "accepted"


def test_a_seed_gives_the_same_case():
    kind = Planted(fail)
    for seed in range(20):
        assert make_files(kind, Case(seed)) == make_files(kind, Case(seed))
    assert len({str(make_files(kind, Case(seed))) for seed in range(20)}) > 15


def test_a_failing_case_is_reduced_saved_and_read_again(tmp_path):
    def read(path):
        numbers = json.loads(path.read_bytes())
        if len(numbers) > 4 and numbers[-1] > 50:
            raise KeyError("the last number is large")

    kind = Planted(read)
    kind.changes, kind.is_damaged = (4,), False
    failure = next(outcome for outcome in run_cases(kind, [Case(s) for s in range(20)]) if outcome.state == "failed")
    reduced = reduce(kind, failure)
    assert len(failure.steps) == 4
    assert len(reduced.steps) == 1
    place = save(kind, reduced, tmp_path)
    assert json.loads((place / "files" / "numbers.json").read_bytes())[-1] > 50
    (again,) = run_cases(Replayed(kind, place), [Case(failure.case.seed)])
    assert again.state == "failed"
    assert "the last number is large" in again.error


def test_what_is_no_plain_file_is_saved_as_a_recipe(tmp_path):
    class Strange(Planted):
        def files(self, mutant):  # noqa: ARG002
            return {
                "pipe": Special("fifo"),
                "huge": Special("sparse", size=20 << 30),
                "deep/link": Special("link", ".."),
            }

    def read(path):
        assert (path.parent / "pipe").is_fifo()
        assert (path.parent / "huge").stat().st_size == 20 << 30
        raise KeyError("a defect")

    kind = Strange(read)
    (outcome,) = run_cases(kind, [Case(0)])
    place = save(kind, outcome, tmp_path)
    assert not list((place / "files").iterdir())
    (again,) = run_cases(Replayed(kind, place), [Case(0)])
    assert "a defect" in again.error


def test_trees_are_changed_and_written():
    import tomllib

    base = {"a": 1, "b": {"c": [1, 2.5, "x"], "d e": True}, "f": None}
    assert json.loads(to_json(base)) == base
    assert tomllib.loads(to_toml(base).decode()) == {key: value for key, value in base.items() if value is not None}
    seen = set()
    for seed in range(50):
        tree = json.loads(to_json(base))
        change_tree(tree, SeededChooser(seed))
        seen.add(to_json(tree))
    assert len(seen) > 40
