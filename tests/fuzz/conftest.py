"""Lets the tests of the fuzzer import its modules, and starts it once for all kinds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, int, int], dict[str, Any]]]:
    """Return a function (kind, cases, seed) that counts what became of them; imports take longer than 500 cases."""
    folder = tmp_path_factory.mktemp("fuzz-failures")
    command = [sys.executable, str(HERE / "run.py"), "--serve", "--failures", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(kind: str, cases: int, seed: int) -> dict[str, Any]:
            process.stdin.write(f"{kind} {cases} {seed}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer, f"the fuzzer ended with {process.wait()}"
            return json.loads(answer)

        yield ask
        process.stdin.close()
