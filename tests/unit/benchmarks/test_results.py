"""The records of results: what pages show is what they hold, and a rerun finds its figures."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

import results
from results import Record

NAMES = results.record_names()
OUTPUT = """
  one on two: energy
│ vgg16 │ +0  │ 1.5x │
│       │ +16 │ 2.5x │
(took 3 s)
"""
RULES = (
    {"line": r"(?P<title>\w+) on"},
    {
        "line": r"^│ (?P<network>\S*) +│ \+(?P<more>\d+) +│ (?P<gain>\S+) │",
        "row": ["{network}, {more} more", "{title}", "{gain}"],
        "fill": ["network"],
    },
)
MADE = Record(
    name="made",
    command="python benchmarks/made.py",
    date="2026-01-02",
    spread="Two seeds.",
    columns=("network", "title", "gain"),
    rows=(("VGG-16, 0 more", "one", "1.5x"), ("VGG-16, 16 more", "one", "2.5x")),
    rules=RULES,
    names={"vgg16": "VGG-16"},
    summary={"what": "gain of one", "measured": "up to {VGG-16, 16 more | gain}"},
)


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RECORDS", tmp_path)
    monkeypatch.setattr(results, "run", lambda *_: OUTPUT)
    MADE.save()
    return MADE


@pytest.mark.parametrize("page", results.pages(), ids=lambda page: page.name)
def test_pages_show_what_the_records_hold(page):
    text = page.read_text(encoding="utf-8")
    assert results.render(text) == text, "run python benchmarks/results.py --write"


def test_every_record_is_shown_once_in_the_docs():
    readme, *docs = sorted(results.pages(), key=lambda page: page.name != "README.md")
    shown = [name for page in docs for name in results.shown_on(page.read_text(encoding="utf-8"))]
    assert (readme.name, sorted(shown)) == ("README.md", NAMES)
    assert set(results.shown_on(readme.read_text(encoding="utf-8"))) <= set(NAMES)


def test_files_of_records_are_as_the_script_writes_them():
    for name in NAMES:
        assert Record.load(name).to_json() == (results.RECORDS / f"{name}.json").read_text(encoding="utf-8"), name


def test_a_record_without_a_reason_can_be_run_again_by_its_rules():
    assert [record.name for record in map(Record.load, NAMES) if not (record.rules or record.not_rerun)] == []


def test_rules_find_the_rows_of_an_output(made):
    assert made.parse(OUTPUT) == made.rows


def test_a_record_is_read_as_it_was_written(made):
    assert Record.load("made") == made


def test_a_rerun_says_when_and_with_what(made):
    again = results.rerun(made, {}, timeout_s=1)
    assert again.rows == made.rows
    assert again.date > made.date
    assert again.version
    assert again.processor


def test_figures_that_differ_are_named(made, capsys, monkeypatch):
    assert results.is_same("made", {}, timeout_s=1)
    monkeypatch.setattr(results, "run", lambda *_: OUTPUT.replace("2.5x", "2.4x"))
    assert not results.is_same("made", {}, timeout_s=1)
    assert "| VGG-16, 16 more | one | 2.5x | is now | VGG-16, 16 more | one | 2.4x |" in capsys.readouterr().out


def test_an_output_of_fewer_rows_is_refused(made, monkeypatch):
    monkeypatch.setattr(results, "run", lambda *_: "nothing")
    with pytest.raises(SystemExit, match="0 rows in the output, 2 in the record"):
        results.rerun(made, {}, timeout_s=1)


def test_a_page_is_rendered_between_its_markers(made):
    text = f"before\n<!-- results: made -->\nold\n{results.END}\n<!-- summary: made -->\n{results.END}\nafter\n"
    page = results.render(text)
    assert "| VGG-16, 0 more | one | 1.5x |" in page
    assert "`python benchmarks/made.py` (2026-01-02). Two seeds." in page
    assert "| gain of one | up to 2.5x | `python benchmarks/made.py` |" in page
    assert "old" not in page
    assert results.render(page) == page


def test_what_was_not_rerun_says_why(made):
    text = dataclasses.replace(made, not_rerun="hours", processor="a processor").render()
    assert "(recorded 2026-01-02, a processor, not rerun: hours)" in text


def test_figures_without_a_command_say_so(made):
    text = dataclasses.replace(made, command="", not_rerun="by a script that is not kept").render()
    assert "\nRecorded 2026-01-02, not rerun: by a script that is not kept. Two seeds." in text


def test_a_headline_of_no_cell_is_an_error(made):
    with pytest.raises(SystemExit, match=r"made: there is no cell VGG-19 \| gain"):
        dataclasses.replace(made, summary={"what": "", "measured": "{VGG-19 | gain}"}).headline()


def test_a_row_of_too_many_cells_is_refused(made):
    content = json.loads((results.RECORDS / "made.json").read_text(encoding="utf-8"))
    content["rows"][0].append("more")
    (results.RECORDS / "made.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SystemExit, match="made: a row has more or fewer cells"):
        Record.load("made")


def test_commands_run_with_the_files_that_are_given(tmp_path):
    (tmp_path / "hello.py").write_text("import sys; print(sys.argv[1])", encoding="utf-8")
    assert results.run(f"python {tmp_path}/hello.py CIFAR10", {"CIFAR10": "/data"}, timeout_s=60) == "/data\n"
    with pytest.raises(SystemExit, match="as --with CIFAR10=PATH"):
        results.run("python hello.py CIFAR10", {}, timeout_s=60)
    with pytest.raises(SystemExit, match="exit code 2"):
        results.run("python missing.py", {}, timeout_s=60)


@pytest.mark.slow
def test_the_published_networks_are_as_recorded():
    assert results.is_same("paper", {}, timeout_s=600)
