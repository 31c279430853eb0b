"""The modules of `mho` as text: each parsed once, with what it imports."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "mho"
MODULES = sorted(SOURCE.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def package_of(path: Path) -> str:
    """Return the package a module lies in, or the module's own name where it lies beside the packages."""
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else path.stem


def module_name(path: Path) -> str:
    """Return the dotted name of a module, such as ``mho.array.wires``; of a package, that of its ``__init__``."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(("mho", *(parts[:-1] if parts[-1] == "__init__" else parts)))


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return all nodes of a module's syntax tree that a rule could be about."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tuple(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If | ast.Import | ast.ImportFrom | ast.Call | ast.Attribute)
    )


@functools.cache
def imports(path: Path, *, typing_too: bool) -> tuple[tuple[str, int], ...]:
    """Return what a module imports, in functions too, with the line; `typing_too`: also for type checkers alone."""
    return tuple(_find_imports(path, typing_too=typing_too))


def _find_imports(path: Path, *, typing_too: bool) -> Iterator[tuple[str, int]]:
    skipped: set[ast.AST] = set()
    for node in nodes(path):
        if isinstance(node, ast.If) and not typing_too and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped.update(child for statement in node.body for child in ast.walk(statement))
    for node in nodes(path):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield node.module or "", node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def import_graph(paths: list[Path] = MODULES) -> dict[str, set[str]]:
    """Return the modules of `mho` that each module imports, in functions too, but not for type checkers alone."""
    names = {module_name(path) for path in paths}
    return {
        module_name(path): {name for name, _ in imports(path, typing_too=False)} & names - {module_name(path)}
        for path in paths
    }


def find_circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected sets of two or more nodes, by Tarjan's algorithm."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[set[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                circles.append(set(stack[at:]))
            del stack[at:]

    for node in graph:
        if node not in order:
            visit(node)
    return circles
