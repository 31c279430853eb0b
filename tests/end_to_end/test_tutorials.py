"""Tutorials run, print what their pages show, and become notebooks."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "tools"))

import tutorials

ROOT = tutorials.ROOT
PAGES = sorted(tutorials.PAGES.glob("*.md"))


@pytest.mark.pages
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_prints_what_its_page_shows(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    cells = tutorials.read_cells(page.read_text(encoding="utf-8"))
    assert sum(bool(cell.output) for cell in cells) >= 3
    for cell, ran in zip(cells, tutorials.run_cells(cells, page.name), strict=True):
        assert cell.matches(ran.output), f"{page.name}, line {cell.line}:\n{ran.output}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_python_block_and_output_of_a_page_is_a_cell(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    cells = tutorials.read_cells(text)
    assert len(cells) == text.count("\n```python")
    assert sum(bool(cell.output) for cell in cells) == text.count('\n```text title="Output')
    assert tutorials.write_outputs(text, cells) == text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_has_the_cells_and_outputs_of_its_page(page: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("jupytext")
    text = page.read_text(encoding="utf-8")
    notebook = json.loads(tutorials.to_notebook(text))
    nbformat.validate(notebook)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    cells = tutorials.read_cells(text)
    assert ["".join(cell["source"]) + "\n" for cell in code] == [cell.code for cell in cells]
    shown = ["".join("".join(output["text"]) for output in cell["outputs"]) for cell in code]
    assert shown == [cell.output for cell in cells]
    words = "".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert "```python" not in words
    assert 'title="Output' not in words


@pytest.mark.parametrize(
    ("shown", "printed", "is_same"),
    [
        ("mean 90.0 %\n", "mean  97.9 %\n", True),
        ("mean 90.0 %\n", "mean 98.1 %\n", False),
        ("mean 90.0 %\n", "median 90.0 %\n", False),
        ("3 tiles, 90.0 %\n", "4 tiles, 90.0 %\n", False),
    ],
)
def test_approximate_outputs_may_differ_in_percentages_alone(shown: str, printed: str, is_same: bool) -> None:
    assert tutorials.Cell("", 1, shown, is_approximate=True).matches(printed) == is_same
    assert not tutorials.Cell("", 1, shown).matches(printed)
