"""Code of the user's own that fails, ends the process or is no function is an error that names it and its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mho.cli.main import main
from mho.errors import ConfigError, DataError
from mho.user_code import load_function, user_errors


def test_a_file_that_ends_the_process_is_an_error(tmp_path):
    file = tmp_path / "script.py"
    file.write_text("import sys\n\ndef make():\n    pass\n\nsys.exit('no arguments')\n")
    with pytest.raises(ConfigError, match=r"cannot import .*: it called sys\.exit\('no arguments'\) \(.*:6\)"):
        load_function(f"{file}:make")


@pytest.mark.parametrize(("name", "message"), [("value", "value is a value of type int"), ("valu", "has no function")])
def test_what_is_no_function_is_an_error(tmp_path, name, message):
    file = tmp_path / "values.py"
    file.write_text("value = 3\n")
    with pytest.raises(ConfigError, match=message):
        load_function(f"{file}:{name}")


def test_errors_of_mho_and_interrupts_pass():
    for error in (DataError("no samples"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, user_errors("mine.py:make"):
            raise error
        assert caught.value is error


def test_a_command_whose_function_ends_the_process_fails_in_words(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("import sys\n\ndef make(classes, input_shape):\n    sys.exit(0)\n")
    assert main(["inspect", "mine.py:make", "--input-shape", "1,8,8"]) == 2
    assert "mine.py:make: failed: it called sys.exit(0)" in capsys.readouterr().err
