import os
from pathlib import Path

import pytest

from mho.cache_folder import cache_folder, write_atomically
from mho.errors import MhoError


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"MHO_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/mho"),
        ({"MHO_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/mho"),
    ],
)
def test_the_folder_is_the_users_choice_then_the_desktops_then_home(monkeypatch, environment, folder):
    for name in ("MHO_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_a_user_without_a_home_learns_what_to_set(monkeypatch):
    def no_home():
        raise RuntimeError

    monkeypatch.delenv("MHO_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(MhoError, match="MHO_CACHE_DIR"):
        cache_folder()


def test_a_file_is_replaced_wholly(tmp_path):
    path = tmp_path / "new" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"one")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_and_a_pipe_are_not_replaced_by_a_file(tmp_path):
    """A rename would take the place of /dev/null, where a user who is root names it as output."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            write_atomically(path, b"one")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
