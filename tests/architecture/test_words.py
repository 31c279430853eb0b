"""The field's words: what the project used to say in words of its own stays out of code and documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from source_tree import SOURCE

ROOT = SOURCE.parents[1]
TEXTS = sorted([
    *(path for suffix in ("py", "j2", "toml", "c", "h") for path in SOURCE.rglob(f"*.{suffix}")),
    *(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md",
    *(ROOT / "examples").rglob("*.*[ly]"), *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tools").glob("*.*"),
    *(ROOT / "benchmarks" / "records").glob("*.json"),
    *(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)),
])  # fmt: skip

PRIVATE = {
    r"of now": "current",
    r"dreams?|imagined": "simulated rollout",
    r"lessons": "training samples",
    r"ask(ing|s)? chips|chips are asked": "simulate chips",
    r"err upwards": "have a positive bias",
    r"figures act": "parameters take effect",
    r"TAUGHT": "SUPPORTS_WARM_START",
    r"(held|holds?)( \w+){0,4} against": "compared with, checked against",
    r"bears?": "tolerates, endures",
    r"dear": "expensive",
    r"harm": "loss increase",
    r"(?<!get_)worlds?(?!_size)": "posterior sample",
    r"noticed|notices?": "depends on, affects",
    r"rightly": "accuracy",
    r"told": "specified, reported",
}
"""Private words -> what to write instead."""


@pytest.mark.parametrize("words", PRIVATE)
def test_texts_use_the_words_of_the_field(words):
    pattern = re.compile(rf"(?<![^\W_])({words.replace(' ', '[ _]')})(?![^\W_])", re.IGNORECASE)
    found = []
    for path in TEXTS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: write {PRIVATE[words]}: {line.strip()[:100]}")
    assert not found, "\n".join(found)
