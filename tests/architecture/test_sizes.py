"""Files and functions stay short enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from source_tree import SOURCE

ROOT = SOURCE.parents[1]
FILES = sorted(
    path for part in ("src", "tests", "tools", "benchmarks", "examples") for path in (ROOT / part).rglob("*.py")
)
MOST_LINES_OF_FILE, MOST_LINES_OF_FUNCTION = 400, 60


def list_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield name and lines of each function, without its docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node) is not None and first.end_lineno is not None:
                lines -= first.end_lineno - first.lineno + 1
            yield node.name, lines


def test_files_are_short():
    of_c = list(SOURCE.rglob("*.[ch]"))
    assert len(of_c) > 10
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (*FILES, *of_c)}
    assert {str(path.relative_to(ROOT)): n for path, n in lines.items() if n > MOST_LINES_OF_FILE} == {}


def test_functions_are_short():
    found = {(str(path.relative_to(ROOT)), name): lines for path in FILES for name, lines in list_functions(path)}
    assert len(found) > 1000
    assert {place: lines for place, lines in found.items() if lines > MOST_LINES_OF_FUNCTION} == {}
