"""Backends are found by name, get a verified program, and leave whole folders or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_programs import compile_small, grid, linear_network

import mho
from mho.deploy.backends import backend_names, find_backend
from mho.errors import ConfigError, DataError

Install = Callable[..., None]

GOOD = """
class Listing:
    summary = "names of layers"
    options = {"case": "upper or lower"}

    def emit(self, job, directory):
        names = [layer.name for layer in job.program.layers]
        text = "\\n".join(names)
        (directory / "sub").mkdir()
        (directory / "sub" / "layers.txt").write_text(text.upper() if job.options.get("case") == "upper" else text)
        samples = 0 if job.inputs is None else len(next(iter(job.inputs.values())))
        return [f"{len(names)} layers, {samples} samples"]

BACKEND = Listing()
NOTHING = 3
"""

FAILING = GOOD.replace("        samples =", "        raise ValueError('no chip')\n        samples =")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return what installs a package with a module and an entry point."""

    def add(source: str, value: str = "BACKEND", name: str = "listing", package: str = "one") -> None:
        site = tmp_path / package
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        module = f"mho_test_{package}_{tmp_path.name.replace('-', '_')}"
        (site / f"{module}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[mho.backends]\n{name} = {module}:{value}\n")
        monkeypatch.syspath_prepend(site)

    return add


@pytest.fixture(scope="module")
def program() -> mho.Program:
    return compile_small(linear_network(np.arange(-6, 6).reshape(4, 3), grid(4)))


def test_a_backend_of_another_package_writes_a_folder(install, program, tmp_path):
    install(GOOD)
    assert "listing" in backend_names()
    inputs = np.zeros((2, 3), np.float32)
    written = mho.emit(program, "listing", tmp_path / "out", inputs=inputs, options={"case": "upper"})
    assert written.lines == ("1 layers, 2 samples",)
    assert written.files == (Path("sub/layers.txt"),)
    assert (tmp_path / "out/sub/layers.txt").read_text() == "FC"


def test_an_empty_folder_is_filled_and_another_stays_as_it_is(install, program, tmp_path):
    install(GOOD)
    (tmp_path / "out").mkdir()
    mho.emit(program, "listing", tmp_path / "out")
    with pytest.raises(ConfigError, match="there already"):
        mho.emit(program, "listing", tmp_path / "out")
    assert (tmp_path / "out/sub/layers.txt").is_file()


def test_an_empty_folder_stays_the_same_one_and_links_lead_to_it(install, program, tmp_path, monkeypatch):
    install(GOOD)
    for name in ("here", "linked"):
        (tmp_path / name).mkdir(mode=0o750)
    monkeypatch.chdir(tmp_path / "here")
    before = Path().stat()
    mho.emit(program, "listing", ".")
    assert [path.name for path in Path().iterdir()] == ["sub"]
    assert (Path().stat().st_ino, Path().stat().st_mode) == (before.st_ino, before.st_mode)
    Path("../link").symlink_to("linked")
    Path("../new-link").symlink_to("not-there-yet")
    for name in ("link", "new-link"):
        mho.emit(program, "listing", f"../{name}")
        assert Path(f"../{name}").is_symlink()
    assert Path("../linked/sub/layers.txt").is_file()
    assert Path("../not-there-yet/sub/layers.txt").is_file()


def test_a_failure_leaves_an_empty_folder_empty(install, program, tmp_path):
    install(FAILING)
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="no chip"):
        mho.emit(program, "listing", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_what_cannot_be_a_folder_is_named(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("full").mkdir()
    Path("full/mine").touch()
    Path("loop").symlink_to("loop")
    for name, message in {
        "file": "file: is a file",
        "file/x": "file/x: .*file is a file",
        "file/x/y": "file/x/y: .*file is a file",
        "full": "full: is there already, and holds 'mine'",
        "loop": "loop: is a link that leads back to itself",
    }.items():
        with pytest.raises(ConfigError, match=f"{message}\n  expected: a new or empty folder"):
            mho.emit(program, "c", name)
    assert sorted(path.name for path in Path().iterdir()) == ["file", "full", "loop"]


def test_a_backend_that_fails_leaves_nothing_and_is_named_with_its_line(install, program, tmp_path):
    install(FAILING)
    with pytest.raises(ConfigError, match=r"backend 'listing': failed: ValueError: no chip \(.*\.py:\d+\)"):
        mho.emit(program, "listing", tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("return None", "emit returned a value of type NoneType"),
        ("return 'two layers'", "emit returned a value of type str"),
        ("return [2]", "emit returned a value of type list"),
        ("raise SystemExit(3)", r"failed: it called sys\.exit\(3\) \(.*\.py:\d+\)"),
        ("open('licence.key')", r"failed: FileNotFoundError: .*'licence\.key' \(.*\.py:\d+\)"),
        ("raise MemoryError", "failed: MemoryError"),
    ],
)
def test_a_backend_that_does_something_else_is_an_error_in_words(install, program, tmp_path, line, message):
    install(GOOD.replace("        samples =", f"        {line}\n        samples ="))
    with pytest.raises(ConfigError, match=f"backend 'listing': {message}"):
        mho.emit(program, "listing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "value", "message"),
    [
        ("import nothing_of_this_name", "BACKEND", "cannot be loaded: ModuleNotFoundError"),
        ("raise OSError('no licence')", "BACKEND", "cannot be loaded: OSError: no licence"),
        (GOOD, "BACK", "cannot be loaded: AttributeError"),
        (GOOD, "NOTHING", "is no backend"),
        (GOOD, "Listing", "is no backend"),
    ],
)
def test_a_broken_backend_is_an_error_in_words(install, source, value, message):
    install(source, value)
    with pytest.raises(ConfigError, match=message):
        find_backend("listing")


def test_two_packages_with_one_name_are_an_error(install):
    install(GOOD)
    install(GOOD, package="two")
    with pytest.raises(ConfigError, match="one, two: several packages have a backend 'listing'"):
        find_backend("listing")


def test_malformed_entry_points_of_a_package_are_an_error_where_they_are_needed(install, program, tmp_path):
    install(GOOD)
    (tmp_path / "one/one-1.0.dist-info/entry_points.txt").write_text("[mho.backends]\nlisting\n")
    with pytest.raises(ConfigError, match=r"entry_points\.txt that cannot"):
        mho.emit(program, "listing", tmp_path / "out")
    assert mho.emit(program, "c", tmp_path / "out").files


def test_unknown_names_and_inputs_are_errors(install, program, tmp_path):
    install(GOOD)
    with pytest.raises(ConfigError, match="did you mean 'listing'"):
        mho.emit(program, "listign", tmp_path / "out")
    with pytest.raises(ConfigError, match="did you mean 'case'"):
        mho.emit(program, "listing", tmp_path / "out", options={"cas": "upper"})
    with pytest.raises(DataError):
        mho.emit(program, "listing", tmp_path / "out", inputs=np.zeros((2, 4), np.float32))
    assert not (tmp_path / "out").exists()
