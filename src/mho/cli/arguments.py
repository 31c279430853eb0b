"""Texts of the command line that several commands understand."""

from __future__ import annotations

from mho.errors import ConfigError


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Read ``3,224,224`` or ``3x224x224``; None stays None. Raises `ConfigError`."""
    if text is None:
        return None
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(
            f"{text!r} is not a shape", where="--input-shape", expected="positive whole numbers, such as 3,224,224"
        )
    return tuple(int(part) for part in parts)
