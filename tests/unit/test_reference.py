"""The reference generated from docstrings is complete: all public names, whose docstrings name all parameters."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import mho
import mho.data

PAGES = sorted((Path(__file__).parents[2] / "docs" / "reference").glob("*.md"))
NAMES = re.findall(r"^::: ([\w.]+)$", "\n".join(page.read_text(encoding="utf-8") for page in PAGES), re.MULTILINE)
PROTOCOLS = (
    "mho.bit_search.method.SearchMethod",
    "mho.bit_search.own_method.MethodMaker",
    "mho.evaluation.networks.NetworkEvaluator",
)
"""What users implement."""


def find(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(pkgutil.resolve_name(module), attribute)


def described(value: Any) -> set[str]:
    """Return the parameters or attributes that a docstring names; of a class, those of its bases count."""
    owners = [value] if not inspect.isclass(value) else [base for base in value.__mro__ if "__doc__" in vars(base)]
    text = "\n".join(inspect.getdoc(owner) or "" for owner in owners)
    lists = re.findall(r"^(?:Args|Attributes):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^    (\w+(?:, \w+)*):", "\n".join(lists), re.MULTILINE)
    return {name for head in heads for name in head.split(", ")}


def parameters(value: Any) -> set[str]:
    """Return what a caller passes: to a function, to make a value, or to the methods of a protocol."""
    if inspect.isfunction(value):
        return set(inspect.signature(value).parameters) - {"self"}
    if dataclasses.is_dataclass(value):
        return {field.name for field in dataclasses.fields(value) if field.init and not field.name.startswith("_")}
    if issubclass(value, BaseModel):
        return {name for name, field in value.model_fields.items() if not field.description}
    return set()


def test_every_public_name_is_on_one_page():
    public = {f"mho.{name}" for name in mho.__all__ if name != "__version__"}
    public |= {f"mho.data.{name}" for name in mho.data.__all__}
    assert sorted(public - set(NAMES)) == [], "add a line `::: NAME` to a page of docs/reference"
    assert sorted(name for name in set(NAMES) if NAMES.count(name) > 1) == []
    assert set(PROTOCOLS) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_name_every_parameter(name: str) -> None:
    value = find(name)
    assert inspect.getdoc(value), name
    assert sorted(parameters(value) - described(value)) == [], name


@pytest.mark.parametrize("name", PROTOCOLS)
def test_methods_that_users_implement_say_what_they_take(name: str) -> None:
    methods = {key: part for key, part in vars(find(name)).items() if inspect.isfunction(part)}
    methods = {key: part for key, part in methods.items() if key == "__call__" or not key.startswith("_")}
    assert methods
    for key, method in methods.items():
        assert sorted(parameters(method) - described(method)) == [], f"{name}.{key}"
