"""Benchmarks, examples and tools import what there is: no test runs most of them, and names move."""

import ast
import functools

import pytest
from source_tree import SOURCE, imports

ROOT = SOURCE.parents[1]
SCRIPTS = sorted(path for folder in ("benchmarks", "examples", "tools") for path in (ROOT / folder).rglob("*.py"))


@functools.cache
def names_of(module: str) -> frozenset[str]:
    """Return what a module of mho defines or imports, and its submodules; nothing where there is no such module."""
    path = SOURCE.parent / module.replace(".", "/")
    home = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not home.is_file():
        return frozenset()
    names = {child.stem for child in path.glob("*") if child.is_dir() or child.suffix == ".py"}
    for node in ast.walk(ast.parse(home.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.alias):
            names.add((node.asname or node.name) if isinstance(node, ast.alias) else node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return frozenset(names)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_scripts_import_what_there_is(script):
    parts = [name.rpartition(".") for name, _ in imports(script, typing_too=True) if name.startswith("mho.")]
    missing = [f"{module}.{name}" for module, _, name in parts if name not in names_of(module)]
    assert not missing, f"{script.name} imports {', '.join(missing)}"
