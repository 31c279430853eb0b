import importlib
import signal
import subprocess
import sys

import pytest

import mho.cli.main as command_line
from mho import __version__
from mho.cli.main import COMMANDS, Command, main
from mho.errors import MhoError


@pytest.fixture
def command(monkeypatch):
    """Register a command `act` that does what the test says."""

    def register(function):
        module = sys.modules[__name__]
        monkeypatch.setattr(module, "act", function, raising=False)
        monkeypatch.setitem(COMMANDS, "act", Command(f"{__name__}:act", "Act."))
        load = importlib.import_module

        def find(name, package=None):
            return module if name == __name__ else load(name, package)

        monkeypatch.setattr(importlib, "import_module", find)

    return register


def test_help_names_every_command_with_its_summary(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, entry in COMMANDS.items():
        assert name in text
        assert entry.summary[:20] in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_explains_itself(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"Usage: mho {name}" in capsys.readouterr().out


def test_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mho {__version__}\n"


def test_an_error_of_the_user_is_one_text_on_standard_error_and_exit_code_2(command, capsys):
    def act():
        raise MhoError("it is wrong", where="here", expected="right", hint="mend it")

    command(act)
    assert main(["act"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: here: it is wrong\n  expected: right\n  hint: mend it\n"


def test_markup_in_an_error_is_text(command, capsys):
    def act():
        raise MhoError("[bold]x[/] :smile: [0]")

    command(act)
    assert main(["act"]) == 2
    assert "[bold]x[/] :smile: [0]" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_one_line_and_exit_code_130_after_clearing_up(command, capsys, number):
    def act():
        try:
            signal.raise_signal(number)
        finally:
            print("cleared up")

    command(act)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where tests run in the background
    try:
        assert main(["act"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr() == ("cleared up\n", "interrupted\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_interrupted_command_that_can_continue_says_so(monkeypatch, tmp_path, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mho.workflow.config.load_config", interrupt)
    (tmp_path / "any.toml").touch()
    assert main(["run", str(tmp_path / "any.toml")]) == 130
    assert capsys.readouterr().err == "interrupted; the same command continues from here\n"


def test_an_interrupt_while_a_command_is_imported_gives_130(monkeypatch):
    def interrupt(command):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "_load", interrupt)
    assert main(["cost"]) == 130


def test_a_defect_is_not_hidden(command):
    def act():
        raise ZeroDivisionError

    command(act)
    with pytest.raises(ZeroDivisionError):
        main(["act"])


@pytest.mark.parametrize(
    "arguments", [["cots"], ["--bogus"], ["cost"], ["cost", "x", "--accelerator"], ["schema", "a", "b"]]
)
def test_wrong_use_is_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: mho")


def test_the_module_runs_like_the_script():
    done = subprocess.run(
        [sys.executable, "-m", "mho", "schema", "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no schema 'nothing'")
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_reported_without_a_traceback(command, capsys):
    def act():
        raise OSError(28, "No space left on device", "/runs/digits/result.json")

    command(act)
    assert main(["act"]) == 2
    assert capsys.readouterr().err == "error: /runs/digits/result.json: No space left on device\n"
