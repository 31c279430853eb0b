"""What all tests share: the helper modules of tests/support, and the flag that refreshes golden files."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# Workers run side by side, and most tensors are tiny: several threads each would mostly wait for one another. Read when
# torch is loaded, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent / "support"))

# A shell that runs the suite in the background ignores interrupts, which the processes that tests interrupt inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

from postgres_server import postgres, postgres_url  # noqa: F401 - fixtures, known by their names

# Tests hold behaviour, never time: a busy machine is no defect.
hypothesis.settings.register_profile("mho", deadline=None)
hypothesis.settings.load_profile("mho")


def pytest_collection_finish() -> None:
    """Keep the garbage collector off the items and the libraries that are loaded by then: a seventh of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--refresh-golden", action="store_true", help="write golden files instead of comparing with them")


@pytest.fixture(autouse=True)
def same_start() -> None:
    """Let tests that draw from torch's global generator draw the same numbers every time, and compute on one thread."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_termination() -> Iterator[None]:
    """Give SIGTERM back to who had it: Ray takes it for itself where it starts a cluster in this process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def check_golden(request: pytest.FixtureRequest):
    """Return a function (path, text) that compares text with a golden file."""

    def check(path: Path, text: str) -> None:
        if request.config.getoption("--refresh-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"differs from {path.name}; see --refresh-golden"

    return check
