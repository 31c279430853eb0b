"""What the documentation says is so: snippets run and print what they say, commands parse, tables name every key."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel
from typer.testing import CliRunner

from mho.cli.main import COMMANDS, _build_app
from mho.cost_model.latency import cost_network
from mho.cost_model.layer_tables import load_layer_table
from mho.data.spec import DataSpec
from mho.hardware.loading import accelerator_from_json, list_presets, load_accelerator
from mho.hardware.spec import Accelerator
from mho.network.onnx_reader import CONVERTERS
from mho.policy import Policy
from mho.schemas import SCHEMAS, schema_file_name
from mho.workflow.config import RunConfig, load_config
from mho.workflow.study_config import StudyConfig, load_study
from mho.workflow.study_dry_run import check_study
from mho.workflow.study_plan import plan_study
from mho.workflow.training_settings import TrainingSettings

sys.path.append(str(Path(__file__).parents[2] / "tools"))

import check_links

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TUTORIALS = DOCS / "tutorials"
"""Run by tests/end_to_end/test_tutorials.py."""
BRING_UP = DOCS / "bring-up.md"
"""Run by tests/end_to_end/test_bring_up.py."""
README = ROOT / "README.md"

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMISE = re.compile(r"^\s*print\(.*\)  # (.*)$")
_SPAN = re.compile(r"`(mho [^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text and the line of the page on which the text begins."""

    language: str
    text: str
    line: int


def blocks(page: Path, language: str) -> list[Block]:
    content = page.read_text(encoding="utf-8")
    found = (Block(match[1], match[2], content[: match.start(2)].count("\n") + 1) for match in _FENCE.finditer(content))
    return [block for block in found if block.language == language]


def read(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


# -- Python -----------------------------------------------------------------------------------------------------------


SNIPPETS = [
    page for page in [README, *PAGES] if blocks(page, "python") and page.parent != TUTORIALS and page != BRING_UP
]


@pytest.mark.pages
@pytest.mark.parametrize("page", SNIPPETS, ids=lambda p: p.name)
def test_snippets_run_and_print_what_they_say(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    printed: dict[int, str] = {}

    def note(*values: object) -> None:
        frame = inspect.currentframe()
        assert frame is not None
        assert frame.f_back is not None
        printed[frame.f_back.f_lineno] = " ".join(map(str, values))

    names = {"__name__": "docs", "print": note}
    for block in blocks(page, "python"):
        lines = block.text.splitlines()
        # Leading empty lines make the numbers of a traceback those of the page.
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
        for number, line in enumerate(lines, start=block.line):
            if promised := _PROMISE.match(line):
                assert printed[number] == promised[1], f"{page.name}, line {number}"


def test_promises_name_tests_that_exist():
    named = re.findall(r"`(tests/[^`]+)`", read("reliability.md"))
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_map_of_the_code_names_every_package_and_file():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    cells = [
        line.split("|") for line in text[text.index("## Map of the code") :].splitlines() if line.startswith("| `")
    ]
    named = {name for row in cells for name in re.findall(r"`([^`]+)`", row[1])}
    source = ROOT / "src" / "mho"
    packages = {f"{path.parent.name}/" for path in source.glob("*/__init__.py")}
    assert named == packages | {path.name for path in source.glob("*.py")} - {"__init__.py"}
    for row in cells:
        (home, *_) = re.findall(r"`([^`]+/)`", row[1]) or [""]
        starts = re.findall(r"`(\w+\.py)`", row[3])
        assert [name for name in starts if not list((source / home).glob(f"**/{name}"))] == [], row


def test_the_accelerator_of_the_readme_is_the_example():
    (block,) = blocks(README, "toml")
    assert block.text == (ROOT / "examples" / "my_crossbar.toml").read_text(encoding="utf-8")


# -- command lines ----------------------------------------------------------------------------------------------------


def commands(page: Path) -> Iterator[tuple[str, bool]]:
    """Yield what is said of `mho` on a page, and whether it is a whole command line."""
    for block in blocks(page, "sh"):
        for line in block.text.splitlines():
            if line.startswith(("mho ", ".venv/bin/mho ")):
                yield line.removeprefix(".venv/bin/"), True
    for span in _SPAN.findall(page.read_text(encoding="utf-8")):
        yield span.replace("\\|", "|"), False


@pytest.mark.parametrize("page", [README, ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda p: p.name)
def test_scripts_that_pages_name_take_the_options_that_they_name(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for name, arguments in re.findall(r"python ((?:benchmarks|examples|tools)/[\w/]+\.py)([^`\n]*)", text):
        assert (ROOT / name).is_file(), name
        source = (ROOT / name).read_text(encoding="utf-8")
        for module in re.findall(r"^from (\w+) import", source, re.MULTILINE):
            beside = (ROOT / name).with_name(f"{module}.py")
            source += beside.read_text(encoding="utf-8") if beside.is_file() else ""
        options = re.findall(r"(?<=\s)--[a-z][a-z-]*", arguments.partition(" -- ")[0])
        assert [option for option in options if f'"{option}"' not in source] == [], name


@pytest.fixture(scope="module")
def parsers() -> dict[str, Any]:
    """Return the parser of each command."""
    found = {}
    for name in COMMANDS:
        group = typer.main.get_command(_build_app(name))
        found[name] = group.commands[name]
    return found


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda p: p.name)
def test_command_lines_parse(page: Path, parsers: dict[str, Any]) -> None:
    for text, is_whole in commands(page):
        name, *arguments = shlex.split(text.removeprefix("mho "), comments=True)
        if name.startswith("-") or name == "COMMAND":
            continue
        assert name in parsers, text
        if is_whole:
            parsers[name].make_context(name, arguments)
        known = {option for parameter in parsers[name].params for option in parameter.opts} | {"--help", "-h"}
        assert {a for a in arguments if re.fullmatch(r"--?[a-z][a-z-]*", a)} <= known, text


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda p: p.name)
def test_files_that_commands_name_exist(page: Path) -> None:
    named = re.findall(r"examples/[\w./-]+\w", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_command_and_option_is_documented(parsers: dict[str, Any]) -> None:
    page = read("cli.md")
    sections = dict(re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    for name, parser in parsers.items():
        missing = [p.opts for p in parser.params if p.param_type_name == "option" and not _is_named(p, sections[name])]
        assert missing == [], name


def _is_named(option: Any, section: str) -> bool:
    return bool({"--help", "--quiet", "--verbose"} & {*option.opts}) or any(name in section for name in option.opts)


# -- files ------------------------------------------------------------------------------------------------------------


def test_the_accelerator_file_shown_is_one() -> None:
    (block,) = blocks(DOCS / "accelerators.md", "toml")
    shown = accelerator_from_json(tomllib.loads(block.text, parse_float=Decimal), where="accelerators.md")
    assert shown.name == "my-crossbar"


def test_every_key_of_an_accelerator_is_documented() -> None:
    page = read("accelerators.md")
    assert [key for key in (*Accelerator.value_keys(), "sources") if f"| `{key}` |" not in page] == []
    assert [name for name in list_presets() if f"`{name}`" not in page] == []


def test_keys_of_the_hardware_model_are_keys_of_an_accelerator() -> None:
    tables = {key.partition(".")[0] for key in Accelerator.value_keys() if "." in key}
    named = {key for key in re.findall(r"`(\w+\.\w+)`", read("hardware.md")) if key.partition(".")[0] in tables}
    assert len(named) > 40
    assert named - set(Accelerator.value_keys()) == set()


def test_the_run_shown_is_one(tmp_path: Path) -> None:
    (block,) = blocks(DOCS / "runs.md", "toml")
    (tmp_path / "tiny.toml").write_text(block.text, encoding="utf-8")
    assert load_config(tmp_path / "tiny.toml").search.budget == 4


def test_every_key_of_a_run_is_documented() -> None:
    page = read("runs.md")
    keys = {*RunConfig.model_fields, *DataSpec.model_fields, *TrainingSettings.model_fields}
    for field in RunConfig.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys |= set(field.annotation.model_fields)
    assert sorted(key for key in keys if not re.search(rf"`(\w+\.)?{key}\b|^### .*\b{key}\b", page, re.MULTILINE)) == []


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples, beside which files that pages show are put."""
    return Path(shutil.copytree(ROOT / "examples", tmp_path_factory.mktemp("clone") / "examples"))


@pytest.mark.parametrize("block", blocks(DOCS / "studies.md", "toml"), ids=lambda block: f"line {block.line}")
def test_studies_shown_pass_their_check(block: Block, examples: Path) -> None:
    file = examples / "studies" / "docs.toml"
    file.write_text(block.text, encoding="utf-8")
    found = check_study(load_study(file, directory=examples / "none"), where="docs.toml")
    assert found.facts["samples"].startswith("digits, test")


def test_every_key_of_a_study_is_documented() -> None:
    page = read("studies.md")
    keys = {"base", "sweeps", "data"}
    for name in ("study", "program", "samples", "calibration"):
        section = StudyConfig.model_json_schema()["$defs"][f"{name.removesuffix('s').title()}Settings"]
        keys |= {f"{name}.{key}" for key in section["properties"]}
    assert sorted(key for key in keys if f"`{key}`" not in page) == []


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "studies").glob("*.toml")), ids=lambda path: path.stem)
def test_examples_of_studies_are_some(path: Path) -> None:
    accelerator = load_accelerator("pelke2026-4bit")
    assert len(plan_study(load_study(path, data_root=path.parent), accelerator, where=path.name)) >= 8


def test_every_operation_that_can_be_read_is_documented() -> None:
    table = read("networks.md").split("## Operations")[1]
    assert [operation for operation in CONVERTERS if not re.search(rf"\b{operation}\b", table)] == []


def test_every_schema_is_linked() -> None:
    page = read("files.md")
    assert [name for name in SCHEMAS if f"schemas/{schema_file_name(name)}" not in page] == []


def test_the_policies_shown_are_policies() -> None:
    (block,) = blocks(DOCS / "quantization.md", "json")
    assert Policy.from_json(json.loads(block.text))["4"].weight_bits == 2


@pytest.mark.slow
def test_the_published_policy_of_vgg16_is_as_fast_as_the_cost_page_says() -> None:
    layers = load_layer_table("torchvision:vgg16", input_shape=None, cache=None).layers
    policy = Policy.load(ROOT / "examples" / "policies" / "vgg16-pelke2026.json")
    latency_ps = cost_network(layers, policy, load_accelerator("pelke2026-4bit")).latency_ps
    assert f"latency {latency_ps / 1e9:.1f} ms " in read("cost.md")


@pytest.mark.slow
def test_commands_of_the_cost_page_print_what_it_says() -> None:
    rows = re.findall(r"^\|.*\| `mho (cost [^`]+)` \| ([\d.]+) \|$", read("cost.md"), re.MULTILINE)
    assert len(rows) == 6
    app = _build_app("cost")
    for command, latency_ms in rows:
        found = CliRunner().invoke(app, shlex.split(command))
        assert f"latency {latency_ms} ms" in found.output, command


# -- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [README, ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.is_file(), target
        if anchor:
            assert anchor in _anchors(linked), target


def test_links_to_elsewhere_are_well_formed_and_lead_to_known_hosts() -> None:
    found = check_links.find_links()
    assert len(found) > 4
    assert [(page, address) for page, address in found if check_links.fault(address)] == []


@pytest.mark.parametrize(
    "address", ["http://arxiv.org/abs/1", "https://arxiv.orq/abs/1", "https://arxiv.org:99999/", "https://me@arxiv.org"]
)
def test_links_that_lead_nowhere_are_found(address: str) -> None:
    assert check_links.fault(address)
    assert not check_links.fault("https://arxiv.org/abs/2601.21737")


def test_every_page_is_in_the_navigation() -> None:
    navigation = re.findall(r"^ +- .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(navigation) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}
