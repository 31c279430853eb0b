"""Files that a user hands in are regular files within the memory budget, and JSON is of bounded depth."""

import hashlib
import json
import os

import pytest

from mho.errors import ConfigError, InputFileError, MemoryBudgetError
from mho.input_files import (
    MAX_JSON_DEPTH,
    MEMORY_KEY,
    check_memory,
    check_regular_file,
    hash_file,
    memory_budget_bytes,
    parse_json,
    read_file,
    read_json,
    read_text,
)


@pytest.fixture(autouse=True)
def default_budget(monkeypatch):
    monkeypatch.delenv(MEMORY_KEY, raising=False)


def test_the_budget_is_two_gib_unless_the_variable_says_otherwise(monkeypatch):
    assert memory_budget_bytes() == 2 << 30
    monkeypatch.setenv(MEMORY_KEY, "0.5")
    assert memory_budget_bytes() == 1 << 29


@pytest.mark.parametrize("text", ["0", "-1", "much", "nan", "inf", "1e99"])
def test_a_budget_that_is_no_positive_number_is_refused(monkeypatch, text):
    monkeypatch.setenv(MEMORY_KEY, text)
    with pytest.raises(ConfigError, match=MEMORY_KEY):
        memory_budget_bytes()


def test_what_fits_the_budget_passes_and_what_does_not_names_size_limit_and_key():
    check_memory(2 << 30, "an array")
    with pytest.raises(MemoryBudgetError) as caught:
        check_memory((2 << 30) + (1 << 28), "an array", where="x.npz")
    assert str(caught.value) == (
        "x.npz: an array would take 2.2 GiB of memory\n  expected: at most 2.0 GiB\n"
        "  hint: set the environment variable MHO_MEMORY_GIB to allow more"
    )
    with pytest.raises(MemoryBudgetError):
        check_memory(10**400, "an array")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda _: None, "no such file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    ],
)
def test_what_is_no_regular_file_is_refused_without_opening_it(tmp_path, make, reason):
    path = tmp_path / "given"
    make(path)
    for read in (check_regular_file, read_file):
        with pytest.raises(InputFileError, match=reason):
            read(path)


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(InputFileError, match="null"):
        read_file("a\0b")


def test_a_sparse_file_above_the_budget_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(20 << 30)
    with pytest.raises(MemoryBudgetError, match="20\\.0 GiB"):
        read_file(path)


def test_a_file_of_any_size_has_a_hash(tmp_path, monkeypatch):
    monkeypatch.setenv(MEMORY_KEY, "0.000001")
    path = tmp_path / "file"
    path.write_bytes(bytes(10_000))
    assert hash_file(path) == hashlib.sha256(bytes(10_000)).hexdigest()
    for other in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputFileError):
            hash_file(other)


def test_text_is_utf_8(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"\xff")
    with pytest.raises(InputFileError, match="not UTF-8"):
        read_text(path, expected="text")


def nest(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "text",
    ["", "{", nest(100_000), "1" * 5_000, "NaN", "-Infinity", r'"\ud800"', b"\xff"],
)
def test_damaged_json_is_one_error(text):
    with pytest.raises(InputFileError, match="not JSON"):
        parse_json(text, where="log.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (nest(MAX_JSON_DEPTH + 2), "log.jsonl: nested over 200 deep"),
        ('{"a": [1, {"b": 1e999}]}', "log.jsonl: a.1.b: is inf, not a finite number"),
        ("[" + "1" * 1001 + "]", "log.jsonl: 0: a number of over 1,000 digits"),
        ("1" * 1001, "log.jsonl: a number of over 1,000 digits"),
    ],
)
def test_json_that_nobody_can_compute_with_is_refused_with_its_place(text, message):
    with pytest.raises(InputFileError) as caught:
        parse_json(text, where="log.jsonl")
    assert str(caught.value).splitlines()[0] == message


def test_json_that_may_take_more_memory_than_the_budget_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setenv(MEMORY_KEY, "0.001")
    with pytest.raises(MemoryBudgetError, match="the JSON text"):
        parse_json("[" + "[]," * 20_000 + "[]]", where="log.jsonl")


def test_json_is_read(tmp_path):
    content = {"a": [1, 2.5, None, "ü\U0001f600"], "deep": json.loads(nest(MAX_JSON_DEPTH - 1))}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_json(path, expected="a policy") == content
    assert parse_json("9" * 1000, where="") == int("9" * 1000)
