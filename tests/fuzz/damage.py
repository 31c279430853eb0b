"""Changes at random: to trees of tables and lists, as JSON and TOML have them, and to bytes."""

from __future__ import annotations

import json
import marshal
import re
from collections.abc import Iterator, Sequence
from typing import Any

from random_networks import Chooser

from mho.errors import MhoError

HOSTILE_TEXTS = (
    "",
    " ",
    "x",
    "8/8",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\x9b31m",
    "[/nope]",
    "chip [v2]",
    "a\nb\rc\td\x00e\x7f",
    "\u202eright to left",
    "../../../etc/passwd",
    "/dev/zero",
    ".",
    "%s{0}$HOME",
    "ä\u0301名\U0001f600",
    "n" * 5000,
)
HALF_PAIR = "\ud800"
"""Half of a surrogate pair: no file holds it, but JSON can name it."""
WHOLE_NUMBERS = (0, 1, -1, 2, 3, 7, 255, 256, 65536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1)
HUGE_NUMBERS = (2**63, -(2**63) - 1, 2**64, 10**30, 10**400)
FRACTIONS = (0.5, -0.5, -0.0, 1e-45, 1e-320, 1.5e9, 3.4e38, 1e300, float("inf"), float("-inf"), float("nan"))
_RAW = "\0raw:"


def raw(text: str) -> str:
    """Return a value that is written as this text, whatever a parser makes of it."""
    return _RAW + text


_RAWS = tuple(
    map(
        raw,
        (
            "1e999",
            "1e999999999",
            "-1e-999999999",
            "9" * 5000,
            "[" * 300 + "]" * 300,
            "[" * 100_000,
            "NaN",
            "'",
            "0x",
            "tru",
        ),
    )
)


def extreme_value(chooser: Chooser) -> Any:
    """Return a value of any type that few expect."""
    kind = chooser.integer(0, 9)
    if kind < 3:
        return chooser.choice((*WHOLE_NUMBERS, *HUGE_NUMBERS))
    if kind < 5:
        return chooser.choice(FRACTIONS)
    if kind < 7:
        return chooser.choice((*HOSTILE_TEXTS, HALF_PAIR))
    if kind < 8:
        return chooser.choice(_RAWS)
    return copy_tree(chooser.choice((True, False, None, [], {}, [[]], [0], {"": 0}, [1, "x"], [None] * 20)))


def change_tree(tree: Any, chooser: Chooser) -> str:
    """Change one place of a tree in place: a value, a key, or what lies where. Return what, in words."""
    found: list[_Place] = []
    _list_places(tree, None, found)
    if not found:
        raise MhoError("a tree without places")
    place = chooser.choice(found)
    (container, key, _), path = place, _path_of(place)
    kind = chooser.integer(0, 11)
    if kind < 5:
        container[key] = extreme_value(chooser)
    elif kind < 8:
        container[key] = _neighbour(container[key], chooser)
    elif kind == 8:
        del container[key]
        return f"{path} is left out"
    elif kind == 9:
        other = chooser.choice(found)
        container[key] = copy_tree(other[0][other[1]])
        return f"{path} is that of {_path_of(other)}"
    elif isinstance(container, dict):
        name = chooser.choice((*HOSTILE_TEXTS, HALF_PAIR, str(key).upper(), f"{key}_", str(key)[1:]))
        value = container[key] if chooser.integer(0, 1) else container.pop(key)
        container[name] = value
        return f"{path} is called {name[:40]!r}"
    else:
        container.insert(key, copy_tree(container[key]))
        return f"{path} is there twice"
    return f"{path} = {container[key]!r:.80}"


def copy_tree(tree: Any) -> Any:
    """Return a copy of a tree of plain values, in a fraction of the time that `copy.deepcopy` takes."""
    return marshal.loads(marshal.dumps(tree))


_Place = tuple[Any, Any, Any]
"""A container, a key of it, and the place where the container itself stands; None at the top."""


def _list_places(tree: Any, above: _Place | None, found: list[_Place]) -> None:
    """Append every place of a tree, parents first."""
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            found.append(place := (tree, key, above))
            _list_places(tree[key], place, found)


def _path_of(place: _Place | None) -> str:
    """Return the end of the dotted path of a place."""
    keys = []
    while place is not None:
        _, key, place = place
        keys.append(str(key))
    return ".".join(reversed(keys))[-60:]


def _neighbour(value: Any, chooser: Chooser) -> Any:
    """Return a value of the same type that lies near."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        factor = chooser.choice((1, 1, 1, -1, 2, 10, 1000))
        number = value * factor if abs(value) < 10**300 else value
        return number + chooser.choice((0, 1, -1, 2, 8) if factor == 1 else (0,))
    if isinstance(value, str):
        cut = chooser.integer(0, len(value))
        return chooser.choice((value[:cut], value[cut:], value + value[:1], value[:cut] + "\x1b[1m" + value[cut:]))
    if isinstance(value, list) and value:
        return chooser.choice((value[::-1], value[:-1], value + value, [value]))
    if isinstance(value, dict) and value:
        return chooser.choice((dict(list(value.items())[1:]), [value], list(value)))
    return extreme_value(chooser)


def to_json(tree: Any) -> bytes:
    """Return a tree as JSON; `raw` values stand as they are."""
    text = json.dumps(tree)
    return re.sub(r'"\\u0000raw:([^"]*)"', r"\1", text).encode()


def to_toml(tree: dict[str, Any]) -> bytes:
    """Return a tree as TOML; None is left out, `raw` values stand as they are."""
    text = "\n".join(_toml_lines(tree, ())) + "\n"
    return re.sub(r'"\\u0000raw:([^"]*)"', r"\1", text).encode("utf-8", errors="surrogatepass")


def _toml_lines(table: dict[str, Any], path: Sequence[str]) -> Iterator[str]:
    if path:
        yield f"[{'.'.join(map(_toml_key, path))}]"
    for key, value in table.items():
        if value is not None and not isinstance(value, dict):
            yield f"{_toml_key(key)} = {_toml_value(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _toml_lines(value, (*path, key))


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(k)} = {_toml_value(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value if item is not None) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=isinstance(value, str) and (value.startswith(_RAW) or HALF_PAIR in value))


def damage_bytes(content: bytes, chooser: Chooser) -> tuple[bytes, str]:
    """Return bytes with some of them damaged, and how, in words."""
    place = chooser.integer(0, len(content) - 1)
    length = min(chooser.choice((1, 1, 2, 4, 8, 64, 1024)), len(content) - place)
    kind = chooser.integer(0, 7)
    damaged = bytearray(content)
    if kind == 0:
        damaged[place] ^= 1 << chooser.integer(0, 7)
        return bytes(damaged), f"bit at {place} flipped"
    if kind == 1:
        return content[:place], f"cut off at {place}"
    if kind == 2:
        damaged[place : place + length] = b""
        return bytes(damaged), f"{length} bytes at {place} left out"
    if kind == 3:
        damaged[place:place] = content[place : place + length]
        return bytes(damaged), f"{length} bytes at {place} doubled"
    if kind == 4:
        fill = chooser.choice((b"\xff", b"\x00", b"\x7f", b"\x80", b"[", b'"', b"\x1b", b"\n"))
        damaged[place : place + length] = fill * length
        return bytes(damaged), f"{length} bytes at {place} are {fill!r}"
    if kind == 5:
        number = chooser.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1))
        size = chooser.choice((4, 8))
        damaged[place : place + size] = (number % 256**size).to_bytes(size, chooser.choice(("little", "big")))
        return bytes(damaged), f"{number} at {place}"
    if kind == 6:
        return content + content[place : place + length], f"{length} bytes added"
    other = chooser.integer(0, len(content) - 1)
    damaged[place : place + length] = content[other : other + length]
    return bytes(damaged), f"{length} bytes at {place} are those at {other}"
