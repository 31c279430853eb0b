"""Stages: what an interrupted attempt left is gone on with, or removed where it is damaged."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mho.errors import InputFileError
from mho.workflow.progress import RunProgress
from mho.workflow.run_directory import open_run_directory
from mho.workflow.stage import StageRunner


@dataclass(frozen=True)
class Counting:
    """Adds a line to a file at each attempt, and ends as it should: by an error about a file, or well."""

    errors: list[str] = field(default_factory=list)
    name: str = "counting"
    title: str = "Count"

    def ingredients(self):
        return {}

    def make(self, folder, _):
        with (folder / "lines").open("a") as file:
            file.write("line\n")
        if self.errors:
            raise InputFileError("is damaged", where=self.errors.pop(0).format(folder=folder))
        return {"lines": (folder / "lines").read_text().count("line")}

    def note(self, figures):
        return f"{figures['lines']} lines"


class Recorder(RunProgress):
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def get(tmp_path):
    """Return a function that gets a stage and returns its figures, and what was printed."""
    shown = Recorder()

    def get_one(stage):
        with open_run_directory(tmp_path / "run") as directory:
            return StageRunner(directory, shown, {}).get(stage).figures["lines"]

    get_one.shown = shown.lines
    return get_one


def test_what_an_interrupted_attempt_left_is_gone_on_with_but_for_half_written_files(get, tmp_path):
    with pytest.raises(InputFileError):
        get(Counting(["elsewhere"]))
    partial = tmp_path / "run" / "stages" / "counting.partial"
    (partial / ".checkpoint-x8s7").write_text("half of it")
    (partial / ".folder").mkdir()
    assert get(Counting()) == 2
    assert sorted(path.name for path in (tmp_path / "run" / "stages" / "counting").iterdir()) == [
        "key.txt",
        "lines",
        "stage.json",
    ]
    assert get.shown == []


def test_a_stage_whose_interrupted_attempt_left_a_damaged_file_starts_over_and_says_so(get):
    with pytest.raises(InputFileError):
        get(Counting(["elsewhere"]))
    assert get(Counting(["{folder}/checkpoint"])) == 1
    assert get.shown == ["An interrupted attempt left a damaged file: is damaged. The stage starts over."]


def test_a_stage_that_fails_anew_fails(get):
    with pytest.raises(InputFileError, match="checkpoint: is damaged"):
        get(Counting(["{folder}/checkpoint", "{folder}/checkpoint"]))


@pytest.mark.parametrize("where", ["", "elsewhere", str(Path(__file__).parent)])
def test_errors_about_other_files_end_a_stage_at_once(get, where):
    errors = [where, where]
    with pytest.raises(InputFileError):
        get(Counting(errors))
    assert len(errors) == 1
