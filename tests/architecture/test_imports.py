"""Who may import whom, where heavy libraries may be imported, and how light the rest stays."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_tree import MODULES, SOURCE, find_circles, import_graph, imports, nodes, package_of, relative

import mho

FOUNDATION = {
    "errors",
    "argument_checks",
    "display",
    "formats",
    "frozen_model",
    "progress",
    "seeds",
    "settings",
    "toml_text",
    "input_files",
    "terminal",
    "array_files",
    "cache_folder",
    "durable_log",
    "pareto",
    "linear_programs",
    "worker_pool",
    "ray_pool",
    "user_code",
    "version",
    "",
}
"""Modules beside the packages that every package may use; "" is `mho` itself."""

DIRECT = {
    "hardware": set(),
    "arithmetic": set(),
    "network": {"arithmetic"},
    "task": set(),
    "data": {"task"},
    "models": set(),
    "policy": {"hardware"},
    "array": {"hardware", "network", "data", "arithmetic", "task"},
}
DIRECT["mapping"] = {"policy", "array"} | DIRECT["array"]
DIRECT["quantization"] = {"mapping"} | DIRECT["mapping"]
DIRECT["cost_model"] = {"mapping"} | DIRECT["mapping"]
DIRECT["scheduling"] = {"cost_model"} | DIRECT["cost_model"]
DIRECT["program"] = {"scheduling"} | DIRECT["scheduling"]
DIRECT["simulation"] = {"program", *DIRECT["program"]} - {"network"}
DIRECT["deploy"] = {"simulation", *DIRECT["simulation"]}
DIRECT["evaluation"] = {"simulation", "network", "quantization", "models", *DIRECT["simulation"]}
DIRECT["bit_search"] = {"evaluation", *DIRECT["evaluation"]}
DIRECT["report"] = {"evaluation", "bit_search", *DIRECT["evaluation"]}
DIRECT["workflow"] = {"report", "deploy", "quantization", "models", *DIRECT["report"]}
DIRECT["api"] = {"workflow", *DIRECT["workflow"]}
DIRECT["cli"] = {"schemas", "api", *DIRECT["api"], *mho.__all__}
"""Package -> the other packages that it may import."""

EXCEPTIONS = {
    ("network/loading.py", "models"): "a network may be asked for by the name of a model",
}
"""(module, package) -> why it may import it all the same."""

TORCH = ("task/", "arithmetic/", "array/", "quantization/", "bit_search/", "simulation/", "models/", "data/")
CLI_BELOW = {
    "values of options": "array.calibration array.conductances array.nonidealities bit_search.layer_divergences "
    "quantization.effort scheduling.duplication",
    "values that are printed": "bit_search.allocation cost_model.area cost_model.document cost_model.energy "
    "cost_model.layer_tables "
    "cost_model.network_map cost_model.time_components program.disassembly program.program "
    "scheduling.gantt scheduling.schedule simulation.chip_gantt simulation.plan_timing "
    "simulation.reload_program_timing simulation.timing simulation.zero_slices",
    "reads a program that is then passed on": "program.container",
    "samples with labels": "evaluation.samples simulation.samples",
    "how a chip differs from exact integers, which is printed": "evaluation.chip simulation.analog "
    "simulation.analog_faults simulation.channel_corrections simulation.chip_origin",
    "a setting of the process, which is the command's own": "quantization.allocator",
    "which files a configuration reads and writes": "workflow.config workflow.search_run workflow.study "
    "workflow.study_config",
    "what a language model took, which is printed": "evaluation.generation",
    "what is printed of runs, searches and their progress": "workflow.dry_run workflow.progress workflow.run",
}
"""Why commands import modules below the public API all the same -> which."""

HEAVY = {
    "torch": (
        *TORCH,
        "network/torch_reader.py",
        "network/torch_decoder.py",
        "network/loading.py",
        "network/reference.py",
    ),
    "torchvision": TORCH,
    "onnx": ("network/", "quantization/"),
    "onnx_ir": ("network/", "quantization/"),
    "onnxscript": ("network/", "quantization/"),
    "onnxruntime": ("quantization/", "workflow/"),
    "plotly": ("report/",),
    "jinja2": ("report/",),
    "gymnasium": ("bit_search/",),
    "stable_baselines3": ("bit_search/",),
    "optuna": ("bit_search/",),
    "sklearn": ("data/",),
    "transformers": ("evaluation/tokenizer.py",),
    "highspy": ("linear_programs.py",),
    "scipy": ("array/nodal.py", "array/placement.py", "evaluation/confidence.py", "evaluation/significance.py"),
}
"""Heavy library -> where it may be imported."""

LIGHT_PACKAGES = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


def wrong_directions(path: Path, package: str, allowed: set[str]) -> list[str]:
    found = []
    for name, line in imports(path, typing_too=True):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if top != "mho" or target == package or target in allowed | FOUNDATION:
            continue
        if (relative(path), target) not in EXCEPTIONS:
            found.append(f"{relative(path)}:{line} imports mho.{target}")
    return found


def test_every_package_has_a_place_in_the_order():
    assert set(LIGHT_PACKAGES) <= set(DIRECT)


@pytest.mark.parametrize("package", sorted(DIRECT))
def test_imports_follow_the_one_direction(package):
    found = []
    for path in MODULES:
        if package_of(path) == package:
            found += wrong_directions(path, package, DIRECT[package])
    assert not found, "\n".join(found)


def test_commands_call_the_public_functions():
    """They compute nothing by themselves: no searches, no quantization, no mappings, no products of arrays."""
    above = {"api", "cli", "report", "schemas", "hardware", "network", "policy", "mapping"} | FOUNDATION
    below = tuple(f"mho.{module}." for modules in CLI_BELOW.values() for module in modules.split())
    packages = {f"mho.{package}" for package in DIRECT}
    found = {
        f"{relative(path)}:{line} imports {name}"
        for path in MODULES
        if package_of(path) == "cli"
        for name, line in imports(path, typing_too=True)
        if name.startswith("mho.") and name.split(".")[1] not in above | set(mho.__all__)
        if name not in packages and not f"{name}.".startswith(below)
    }
    assert not found, "\n".join(sorted(found))


@pytest.mark.parametrize("module", sorted(FOUNDATION - {""}))
def test_the_foundation_imports_nothing_but_itself(module):
    assert not wrong_directions(SOURCE / f"{module}.py", module, set())


def test_the_order_has_no_circle():
    graph = {package: allowed & set(DIRECT) for package, allowed in DIRECT.items()}
    assert find_circles(graph) == []


def test_modules_import_each_other_in_no_circle():
    """Imports in functions count; those for type checkers alone do not."""
    assert [sorted(circle) for circle in find_circles(import_graph())] == []


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a", "d", "f"}, "f": {"e"}}
    assert [sorted(circle) for circle in find_circles(graph)] == [["b", "c"], ["e", "f"]]


@pytest.mark.parametrize("library", HEAVY)
def test_heavy_libraries_are_imported_only_where_they_are_used(library):
    found = []
    for path in MODULES:
        place = relative(path)
        if not place.startswith(HEAVY[library]) or path.name == "__init__.py":
            lines = [line for name, line in imports(path, typing_too=False) if name.partition(".")[0] == library]
            found += [f"{place}:{line} imports {library}" for line in lines]
    assert not found, "\n".join(found)


def test_the_rules_see_imports_in_functions(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        "def f():\n    import torch.nn\n    from mho import bit_search\n    from mho.cost_model.latency import x\n"
    )
    names = [name for name, _ in imports(module, typing_too=True)]
    assert names == [
        "torch.nn",
        "mho",
        "mho.bit_search",
        "mho.cost_model.latency",
        "mho.cost_model.latency.x",
    ]


LIGHT_STEPS = [
    "import mho",
    *(f"import mho.{package}" for package in LIGHT_PACKAGES),
    "import mho.settings, mho.hardware.loading, mho.mapping.paper_mapping",
    "import mho.cost_model.latency_table, mho.cost_model.layer_tables",
    "from mho.cli.main import main",
    *(f"assert main({arguments!r}) == 0" for arguments in (["--help"], ["--version"], ["cost", "--help"], ["schema"])),
]
"""Statements that need no heavy library."""


def test_packages_costs_and_help_import_nothing_heavy():
    lines = ["import sys"]
    for step in LIGHT_STEPS:
        lines += [
            step,
            f"print({step!r}, sorted({set(HEAVY) | {'PIL', 'pandas'}!r} & set(sys.modules)), file=sys.stderr)",
        ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [f"{step} []" for step in LIGHT_STEPS]


def test_help_is_quick():
    """Half a second is the promise; processor time keeps a busy machine from failing it."""
    import resource

    def seconds(arguments: list[str]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # On a slow or shared processor what counts is that little comes on top of the library that prints the help.
    limit = max(0.5, 2.2 * min(seconds(["-c", "import typer.rich_utils, rich.markdown"]) for _ in range(3)))
    assert min(seconds(["-m", "mho", "--help"]) for _ in range(3)) < limit
    assert min(seconds(["-c", "import mho"]) for _ in range(3)) < 0.5


PRINTING = {
    "terminal.py": "everything is printed here",
    "cli/main.py": "says what standard output does with characters that it lacks",
}
"""Module -> why it may touch standard streams."""


def prints(path: Path) -> Iterator[str]:
    """Yield what a module does to print, or to make what prints."""
    for node in nodes(path):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if called in ("print", "typer.echo", "typer.secho", "click.echo", "click.secho"):
            yield f"{relative(path)}:{node.lineno} calls {called}"
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            yield f"{relative(path)}:{node.lineno} uses {ast.unparse(node)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {
                alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}" for alias in node.names
            }
            for name in names:
                if name.partition(".")[0] == "rich" and not name.startswith(
                    ("rich.box", "rich.table", "rich.progress")
                ):
                    yield f"{relative(path)}:{node.lineno} imports {name}"


def test_text_leaves_through_one_module():
    found = [what for path in MODULES if relative(path) not in PRINTING for what in prints(path)]
    assert not found, "\n".join(found)


def test_nothing_is_read_by_a_format_that_can_run_code():
    running = re.compile(r"(eval|exec|np\.load|torch\.load|yaml\.load|(pickle|marshal|shelve)\.\w+)")
    found = []
    for module in MODULES:
        for node in nodes(module):
            if not isinstance(node, ast.Call):
                continue
            pickles = any(word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in node.keywords)
            if running.fullmatch(ast.unparse(node.func)) or pickles:
                found.append(f"{relative(module)}:{node.lineno}")
    assert not found
