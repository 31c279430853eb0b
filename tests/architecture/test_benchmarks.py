"""Benchmarks, examples and tools import what there is: no test runs most of them, and names move."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for folder in ("benchmarks", "examples", "tools") for path in (ROOT / folder).rglob("*.py"))


@functools.cache
def names_of(module: str) -> set[str] | None:
    """Return what a module of mho defines or imports at its top, and its submodules; None where there is none."""
    path = ROOT / "src" / module.replace(".", "/")
    home = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not home.is_file():
        return None
    names = {child.stem for child in path.glob("*") if child.is_dir() or child.suffix == ".py"}
    for node in ast.walk(ast.parse(home.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.alias):
            names.add((node.asname or node.name) if isinstance(node, ast.alias) else node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_scripts_import_what_there_is(script):
    missing = []
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "mho":
            if node.module == "mho":
                continue
            there = names_of(node.module)
            missing += [
                f"{node.module}.{alias.name}" for alias in node.names if there is None or alias.name not in there
            ]
        elif isinstance(node, ast.Import):
            missing += [one.name for one in node.names if one.name.startswith("mho.") and names_of(one.name) is None]
    assert not missing, f"{script.name} imports {', '.join(missing)}"
