"""Tutorials: pages of docs/tutorials whose Python blocks run, one after the other, and print what the page shows.

    python tools/tutorials.py refresh [PAGE ...]    run the pages, and write what they print into them
    python tools/tutorials.py notebooks FOLDER      write them as notebooks, with their outputs

A block titled "Output" follows the block that prints it. "Output, approximate" is one of a network that was trained on
the page: its percentages depend a little on the processor. MkDocs takes this file as a hook: each page of the built
documentation links its notebook.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "tutorials"
POINTS = 8.0
"""By how much an approximate percentage may differ."""

_CELL = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text title=\"(?P<title>Output[^\"]*)\"\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?= %)")


@dataclass(frozen=True)
class Cell:
    """A block of Python, and what the page shows below it."""

    code: str
    line: int
    output: str = ""
    is_approximate: bool = False

    def matches(self, printed: str) -> bool:
        """Tell whether the page shows what was printed."""
        if not self.is_approximate:
            return printed == self.output
        shown, found = (_NUMBER.findall(text) for text in (self.output, printed))
        near = all(abs(float(a) - float(b)) <= POINTS for a, b in zip(shown, found, strict=False))
        return near and _squeeze(printed) == _squeeze(self.output)


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", " ", _NUMBER.sub("N", text))


def read_cells(text: str) -> list[Cell]:
    """Return the cells of a page."""
    return [
        Cell(m["code"], text[: m.start("code")].count("\n") + 1, m["output"] or "", "approx" in (m["title"] or ""))
        for m in _CELL.finditer(text)
    ]


def run_cells(cells: list[Cell], name: str) -> list[Cell]:
    """Run cells in the current directory; return them with what they printed."""
    names: dict[str, Any] = {"__name__": "tutorial"}
    done = []
    for cell in cells:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (cell.line - 1) + cell.code, name, "exec"), names)
        done.append(replace(cell, output=printed.getvalue()))
    return done


def write_outputs(text: str, cells: list[Cell]) -> str:
    """Return a page that shows the outputs of its cells."""
    left = iter(cells)

    def block(match: re.Match[str]) -> str:
        output = next(left).output
        title = match["title"] or "Output"
        return f"```python\n{match['code']}```\n" + (f'\n```text title="{title}"\n{output}```\n' if output else "")

    return _CELL.sub(block, text)


def to_notebook(text: str) -> str:
    """Return a page as a notebook, JSON; outputs are those of the page."""
    import jupytext
    import nbformat

    cells = iter(read_cells(text))
    notebook = jupytext.reads(_CELL.sub(lambda match: f"```python\n{match['code']}```\n", text), fmt="md")
    for number, cell in enumerate(part for part in notebook.cells if part.cell_type == "code"):
        output = next(cells).output
        cell.execution_count = number + 1
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=output)] if output else []
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return str(nbformat.writes(notebook))


def refresh(pages: list[Path]) -> None:
    """Run pages in folders of their own, and write what they print into them."""
    for page in pages:
        text = page.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            shutil.copytree(ROOT / "examples", "examples")
            cells = run_cells(read_cells(text), page.name)
        page.write_text(write_outputs(text, cells), encoding="utf-8")


# -- MkDocs -----------------------------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Add the notebook of each tutorial to the files of the site."""
    from mkdocs.structure.files import File

    for page in sorted(PAGES.glob("*.md")):
        content = to_notebook(page.read_text(encoding="utf-8"))
        files.append(File.generated(config, f"tutorials/{page.stem}.ipynb", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Link the notebook of a tutorial below its title."""
    path = Path(page.file.src_uri)
    if path.parent.name != PAGES.name:
        return markdown
    title, _, rest = markdown.partition("\n")
    return f"{title}\n\n[Download as a notebook]({path.stem}.ipynb)\n{rest}"


def main(arguments: list[str]) -> None:
    """Do what the arguments say."""
    match arguments:
        case ["refresh", *names]:
            refresh([Path(name).resolve() for name in names] or sorted(PAGES.glob("*.md")))
        case ["notebooks", folder]:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for page in sorted(PAGES.glob("*.md")):
                notebook = to_notebook(page.read_text(encoding="utf-8"))
                (Path(folder) / f"{page.stem}.ipynb").write_text(notebook, encoding="utf-8")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
