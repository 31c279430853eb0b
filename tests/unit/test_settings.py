from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from mho.errors import ConfigError, InputFileError
from mho.settings import parse_settings, read_toml


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    count: StrictInt = Field(ge=1, le=9)
    width: StrictInt | Literal["free"] = "free"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    inner: Inner
    many: list[Inner] = []
    maybe: Inner | None = None
    table: dict[str, StrictInt] = {}
    either: Inner | list[int] = []


def error_of(content):
    with pytest.raises(ConfigError) as caught:
        parse_settings(Outer, content, where="a.toml")
    return str(caught.value)


def test_valid_content_becomes_the_model():
    assert parse_settings(Outer, {"inner": {"count": 3}}, where="a.toml").inner.count == 3


def test_an_error_names_file_key_value_and_valid_range():
    text = error_of({"inner": {"count": 10}})
    assert text == "a.toml: inner.count: is 10\n  expected: a whole number, 1..9"


def test_a_misspelt_key_is_met_with_the_nearest_known_one():
    assert "inner.cuont: unknown key; did you mean 'count'?" in error_of({"inner": {"cuont": 3}})


def test_a_key_in_the_wrong_table_is_met_with_its_place():
    assert "did you mean 'inner.count'?" in error_of({"inner": {"count": 3}, "count": 3})


def test_all_problems_are_reported_at_once():
    text = error_of({"inner": {"count": 0, "width": "fre"}, "zzz": 1, "table": {"x": "1"}})
    assert "4 problems" in text
    for key in ("inner.count", "inner.width", "zzz", "table.x"):
        assert f"  {key}: " in text


def test_a_missing_key_is_named_with_what_it_must_be():
    assert "a.toml: inner.count: missing\n  expected: a whole number, 1..9" in error_of({"inner": {}})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"inner": {"count": 3}, "many": [{"count": 3}, {"count": 0}]}, "a.toml: many.1.count: is 0"),
        ({"inner": {"count": 3}, "maybe": {"count": 0}}, "a.toml: maybe.count: is 0"),
        ({"inner": 3}, "a.toml: inner: is 3\n  expected: a table"),
        ({"inner": {"count": 3, "width": 1.5}}, "inner.width: is 1.5\n  expected: a whole number or 'free'"),
        (3, "a.toml: is 3\n  expected: a table"),
        ({"inner": {"count": 3}, "either": 3}, "a.toml: either: is 3\n  expected: a table or a list"),
        (
            {"inner": {"count": 3}, "either": {"count": 0}},
            "a.toml: either.count: is 0\n  expected: a whole number, 1..9",
        ),
        ({"inner": {"count": 3}, "either": {}}, "a.toml: either.count: missing"),
        ({"inner": {"count": 3}, "either": {"count": "x"}}, "a.toml: either.count: is 'x'"),
    ],
)
def test_nested_lists_unions_and_wrong_tables_are_located(content, expected):
    assert expected in error_of(content)


def test_keys_of_the_users_choice_are_located():
    class Part(BaseModel):
        size: int = Field(gt=0)

    class Whole(BaseModel):
        parts: dict[Annotated[str, Field(pattern="^[a-z]+$")], Part]

    with pytest.raises(ConfigError) as caught:
        parse_settings(Whole, {"parts": {"first": {"size": 1}, "other": {"size": 0}}}, where="f.toml")
    assert caught.value.where == "f.toml: parts.other.size"
    assert "is 0" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"x = 0x{'f' * 5000}", "a.toml: x: a number of over 1,000 digits"),
        ("[a]\nsteps = [1, 1e999999999]", "a.toml: a.steps.1: a number with an exponent of 999,999,999"),
        ("x = 1e-999999999", "a.toml: x: a number with an exponent of -999,999,999"),
        (f"x = 0.{'3' * 1001}", "a.toml: x: a number of 1,001 digits"),
        ("a." * 300 + "b = 1", "a.toml: nested over 200 deep"),
        ("a." * 100_000 + "b = 1", "a.toml: a line with over 400 dots"),
        ("#" * (1 << 19) + "#", "a.toml: 524,289 bytes long"),
    ],
)
def test_what_takes_time_and_memory_without_end_is_refused_with_its_key(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(content)
    with pytest.raises(InputFileError) as caught:
        read_toml("a.toml")
    assert str(caught.value).splitlines()[0] == message


def test_fractions_of_a_toml_file_are_exact(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("x = 1.4")
    assert read_toml(path) == {"x": Decimal("1.4")}


@pytest.mark.parametrize(
    "content", [b"x = ", b"\xff\xfe", b"x = 1\nx = 2", b"x = " + b"[" * 5000, b"x = 1e9999999999999999999"]
)
def test_what_is_not_toml_is_an_input_file_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=r"a\.toml: not"):
        read_toml(path)


@pytest.mark.parametrize("name", ["missing.toml", ".", "a" * 300, "nul\0.toml"])
def test_what_cannot_be_read_is_an_input_file_error(tmp_path, name):
    with pytest.raises(InputFileError):
        read_toml(str(tmp_path / name))
