"""Programs on devices: the interpreter drives them, faults are recognised, and broken devices are errors in words."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerators import make_accelerator
from chip_networks import make_attention, make_chain
from plain_device import Chip

import mho
from mho.array_files import write_arrays
from mho.cli.main import main
from mho.errors import ConfigError, DeviceError
from mho.program.container import write_program
from mho.simulation.device import DeviceInfo
from mho.simulation.device_comparison import diagnose
from mho.simulation.socket_device import MAX_LINE, SocketDevice

SERVER = Path(__file__).parents[3] / "examples" / "device_server.py"


def compile_network(network: mho.Network, crossbars: int = 1) -> mho.Program:
    shape = (8, *network.inputs[0].shape)
    inputs = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    return mho.compile(mho.quantize(network, "3/3", inputs), make_accelerator(crossbars=crossbars))


def samples_of(program: mho.Program, count: int = 2) -> np.ndarray:
    shape = (count, *program.buffers[program.inputs[0]].shape)
    return np.random.default_rng(4).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def chain() -> mho.Program:
    return compile_network(make_chain())


@pytest.mark.parametrize(
    ("make", "crossbars"), [(make_chain, 1), (make_chain, 40), (make_chain, 3), (make_attention, 40)]
)
def test_a_device_gives_what_the_simulator_gives(make, crossbars):
    program = compile_network(make(), crossbars)
    inputs, chip = samples_of(program), Chip()
    run = mho.run_on_device(program, inputs, chip, compare=True)
    for name, exact in mho.simulate(program, inputs).items():
        np.testing.assert_array_equal(run.outputs[name], exact)
    assert run.comparison is not None
    assert run.comparison.different == 0
    assert run.comparison.counts > 0
    assert chip.log[0] == ("open", DeviceInfo.of(program))
    assert chip.log[-1] == ("close",)
    assert {entry[1] for entry in chip.log if entry[0] == "begin_layer"} == set(range(len(program.layers)))


def test_weights_that_stay_are_written_once():
    program = compile_network(make_chain(), 40)
    one, two = Chip(), Chip()
    mho.run_on_device(program, samples_of(program, 1), one)
    mho.run_on_device(program, samples_of(program, 2), two)
    written = [[entry for entry in chip.log if entry[0] == "write_tile"] for chip in (one, two)]
    assert written[0] == written[1] != []


class Broken(Chip):
    def __init__(self, mend: Callable[[Chip, np.ndarray], Any]) -> None:
        super().__init__()
        self.mend = mend

    def read_columns(self, crossbar: int, first_col: int, count: int) -> np.ndarray:
        found: np.ndarray = self.mend(self, self.counts[crossbar].copy())[first_col : first_col + count]
        return found


def set_column(counts: np.ndarray, column: int, value: Any) -> np.ndarray:
    counts[column] = value
    return counts


@pytest.mark.parametrize(
    ("mend", "kind", "text"),
    [
        (lambda _, counts: set_column(counts, 2, 1), "stuck column", "always 1, 1 column (2)"),
        (lambda _, counts: -counts, "wrong sign", "opposite sign"),
        (lambda _, counts: counts + 3, "offset", "off by +3"),
        (lambda _, counts: np.minimum(counts, 2), "clipped", "counts end at 2"),
        (lambda _, counts: counts[[1, 0, *range(2, len(counts))]], "swapped columns", "columns 0 and 1 are swapped"),
    ],
)
def test_faults_of_columns_are_named(chain, mend, kind, text):
    found = mho.run_on_device(chain, samples_of(chain, 1), Broken(mend), compare=True).comparison
    assert found is not None
    assert found.different > 0
    assert kind in {finding.kind for finding in found.findings}
    assert any(text in finding.text for finding in found.findings), found.findings
    assert found.first is not None
    assert found.first.place.layer == "first"
    assert sum(found.sizes.values()) == found.different == sum(found.by_column.values())


def test_the_first_difference_is_the_first(chain):
    seen: list[int] = []

    def late(_: Chip, counts: np.ndarray) -> np.ndarray:
        seen.append(len(seen))
        return set_column(counts, 1, 99) if len(seen) > 30 else counts

    found = mho.run_on_device(chain, samples_of(chain, 1), Broken(late), compare=True).comparison
    assert found is not None
    assert found.first is not None
    assert (found.first.column, found.first.found) == (1, 99)
    assert found.first.place.sample == 0
    assert "column 1: 99 instead of" in "\n".join(found.describe())


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (lambda drives: drives[:, [0, 4, 2, 3, 1, 5]], "swapped rows", "1 and 4"),
        (lambda drives: drives * [1, 1, 0, 1, 1, 1], "dead row", "row 2 is not driven"),
        (lambda drives: drives * [1, 1, 1, 1, 1, -1], "wrong sign", "row 5 is driven with the wrong sign"),
    ],
)
@pytest.mark.parametrize("largest", [1, 7])
def test_faults_of_rows_are_named(change, kind, text, largest):
    generator = np.random.default_rng(largest)
    drives, cells = generator.integers(0, largest + 1, (40, 6)), generator.integers(0, 4, (6, 5))
    arguments = list(drives), [cells] * 40, list(drives @ cells), list(change(drives) @ cells)
    ((found, sentence),) = diagnose(*arguments)
    assert found == kind
    assert text in sentence


def test_noise_is_explained_by_nothing(chain):
    generator = np.random.default_rng(0)
    noisy = Broken(lambda _, counts: counts + generator.integers(-1, 2, len(counts)))
    found = mho.run_on_device(chain, samples_of(chain, 1), noisy, compare=True).comparison
    assert found is not None
    assert found.findings == ()
    assert abs(found.mean) < 0.1
    assert "no single fault explains them" in "\n".join(found.describe())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("read_columns", lambda *_: [1, 2], "read_columns gave a list"),
        ("read_columns", lambda *_: np.zeros(2, np.int32), r"read_columns gave int32 \[2\]"),
        ("read_columns", lambda _x, _f, count: np.zeros(count), "read_columns gave float64"),
        ("read_columns", lambda _x, _f, n: np.full(n, 1 << 31), "counts from 0 to 2,147,483,648.*\n.*32 bits"),
        ("read_columns", lambda _x, _f, n: np.full(n, 2**64 - 1, np.uint64), "to 18,446,744,073,709,551,615"),
        ("read_columns", lambda _x, _f, n: np.full(n, -(1 << 31) - 1), "counts from -2,147,483,649 to 0"),
        ("status", lambda: 7, "status 7"),
        ("status", lambda: None, "status None"),
        ("status", lambda: np.zeros(2), r"status array\(\[0\., 0\.\]\)"),
        ("mvm", lambda _: 1 // 0, r"mvm failed: ZeroDivisionError.*test_device.py:\d+"),
        ("barrier", lambda: sys.exit(), r"barrier failed: it called sys\.exit\(\) \(.*test_device.py:\d+"),
    ],
)
def test_a_broken_device_is_an_error_and_is_closed(chain, name, value, message):
    chip = Chip()
    setattr(chip, name, value)
    with pytest.raises(DeviceError, match=message):
        mho.run_on_device(chain, samples_of(chain, 1), chip)
    assert chip.log[-1] == ("close",)


def test_what_is_no_device_is_an_error(chain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lab.py").write_text(
        "def make():\n    return 3\n\ndef fail():\n    raise OSError('no board')\n\n"
        "def leave():\n    raise SystemExit(3)\n\nvalue = 3\n"
    )
    inputs = samples_of(chain, 1)
    with pytest.raises(ConfigError, match="a int has no open, close"):
        mho.run_on_device(chain, inputs, "lab.py:make")
    with pytest.raises(ConfigError, match="failed: OSError: no board"):
        mho.run_on_device(chain, inputs, "lab.py:fail")
    with pytest.raises(ConfigError, match=r"lab\.py:leave: failed: it called sys\.exit\(3\) \(.*lab\.py:8\)"):
        mho.run_on_device(chain, inputs, "lab.py:leave")
    with pytest.raises(ConfigError, match=r"lab\.py:value: value is a value of type int\n  expected: a function"):
        mho.run_on_device(chain, inputs, "lab.py:value")
    with pytest.raises(ConfigError, match="no address"):
        mho.run_on_device(chain, inputs, "tcp:localhost")


# -- behind a socket --------------------------------------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Return what starts the example's server with faults, and returns its address."""
    started: list[subprocess.Popen[str]] = []

    def start(*faults: str) -> str:
        options = [word for fault in faults for word in ("--fault", fault)]
        command = [sys.executable, str(SERVER), "--port", "0", *options]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout is not None
        return started[-1].stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_device_in_another_process_is_compared_by_the_command(chain, serve, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_program(chain, "p.mho")
    write_arrays("x.npz", {chain.inputs[0]: samples_of(chain, 1)})
    command = ["simulate", "p.mho", "--inputs", "x.npz", "--compare", "--device"]
    address = serve("swapped-rows:0:3")
    assert main([*command, address]) == 0
    out = capsys.readouterr().out
    assert "swapped rows: 0 and 3" in out
    assert "first: sample 0, instruction " in out
    assert main([*command, address, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["comparison"]["different"] > 0
    assert main([*command, serve("garbage")]) == 2
    assert "that is no JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "closes the connection at status"),
        (b"x" * (MAX_LINE + 2), "an endless answer to status"),
        (b"[]\n", "without ok or error"),
        (b'{"error": "too hot"}\n', "status: too hot"),
        (b'{"ok": "fine"}\n', "no integer"),
        (b'{"ok": true}\n', "no integer"),
        (b"[" * 100_000 + b"\n", "no JSON"),
        (b'{"ok": 0}\n{"ok": 0}\n', "more than one line in answer to status"),
    ],
)
def test_answers_from_a_socket_are_checked(answer, message):
    ours, theirs = socket.socketpair()
    device = SocketDevice(ours, "lab", timeout_s=20)

    def play() -> None:
        with theirs:
            theirs.recv(4096)
            theirs.sendall(answer)

    thread = threading.Thread(target=play)
    thread.start()
    with pytest.raises(DeviceError, match=message):
        device.status()
    device.close()
    thread.join()


def test_a_silent_device_ends_the_run():
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(DeviceError, match=r"no answer to status within 0\.05 s"):
        SocketDevice(ours, "lab", timeout_s=0.05).status()
    ours.close()


def test_bytes_that_drip_are_an_answer_too_late_and_closing_waits_for_nothing():
    ours, theirs = socket.socketpair()
    device = SocketDevice(ours, "lab", timeout_s=0.2)
    ends = threading.Event()

    def drip() -> None:
        while not ends.wait(0.02):
            theirs.sendall(b" ")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(DeviceError, match=r"no answer to status within 0\.2 s"):
            device.status()
    finally:
        ends.set()
        thread.join()
    with pytest.raises(DeviceError, match="mvm on a connection that is broken"):
        device.mvm(0)
    device.close()
    with theirs:
        assert theirs.recv(4096) == b'{"call": "status"}\n'
        assert theirs.recv(4096) == b""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"tcp:{'a' * 300}:99", "is no name of a host"),
        ("tcp:lab..room:99", "is no name of a host"),
        (f"tcp:lab:{'9' * 5000}", "is no address of a device"),
        ("tcp:[]:99", "is no address of a device"),
    ],
)
def test_what_is_no_address_is_an_error(name, message):
    with pytest.raises(ConfigError, match=message):
        SocketDevice.connect(name)


def test_an_address_of_ipv6_may_have_its_brackets(monkeypatch):
    asked: list[object] = []
    monkeypatch.setattr(socket, "create_connection", lambda address, **_: asked.append(address) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        SocketDevice.connect("tcp:[::1]:99")
    assert asked == [("::1", 99)]


@pytest.mark.parametrize(
    "options", [("--seed", "1"), ("--timing",), ("--engine", "interpreter"), ("--skip-zero-slices",)]
)
def test_options_of_the_simulator_are_refused_beside_a_device(options, capsys):
    assert main(["simulate", "p.mho", "--inputs", "x.npz", "--device", "lab:make", *options]) == 2
    assert f"{options[0]} is of the simulator" in capsys.readouterr().err
