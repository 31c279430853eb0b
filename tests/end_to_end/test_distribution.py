"""What is shipped: wheel and sdist are built, and the wheel works in an environment and a folder of its own."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mho"

NETWORK = """
from torch import nn

def make(classes, input_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, classes))
"""

CONFIG = """
[run]
name = "installed"
threads = 1

[network]
name = "net.py:make"

[data]
name = "digits"
calibration = 100
validation = 100

[accelerator]
name = "pelke2026-4bit"

[float_training]
epochs = 2
learning_rate = 0.1

[search]
method = "random"
budget = 3
allowed_drop = 50
hold_first_last = "none"

[qat]
epochs = 1
learning_rate = 0.01

[simulation]
reference_images = 20
interpreter_images = 4
"""

pytestmark = pytest.mark.slow


def build(source: Path, folder: Path, *targets: str) -> None:
    options = [word for target in targets for word in ("-t", target)]
    subprocess.run([sys.executable, "-m", "hatchling", "build", *options, "-d", str(folder)], cwd=source, check=True)


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the wheel and the sdist of this tree."""
    folder = tmp_path_factory.mktemp("built")
    build(ROOT, folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (wheel,) = built.glob("mho-*.whl")
    return wheel


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """Return a function that runs `mho` of an environment with the wheel, in an empty folder, and gives what it prints.

    What mho needs is that of this environment, whose own mho is not: a path file in a path file is not read.
    """
    environment, folder = tmp_path_factory.mktemp("environment"), tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*install, "--quiet"], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}

    def run_it(*arguments: str, program: str = "mho") -> str:
        command = [str(environment / "bin" / program), *arguments]
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run_it.folder = folder
    return run_it


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    tracked = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    names = names_in(wheel)
    assert {name for name in names if ".dist-info/" not in name} == {n for n in tracked if "__pycache__" not in n}
    assert {"mho/py.typed", "mho/hardware/presets/isaac.toml", "mho/report/templates/page.html.j2"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_sdist_makes_the_same_wheel(built, wheel, tmp_path):
    (sdist,) = built.glob("mho-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, tmp_path / "again", "wheel")
    (again,) = (tmp_path / "again").glob("*.whl")
    assert names_in(again) == names_in(wheel)
    assert (source / "README.md").is_file()


def test_the_command_line_works_from_an_empty_folder(run):
    place = Path(run("-c", "import mho; print(mho.__file__)", program="python").strip())
    assert ROOT not in place.parents
    assert "run" in run("--help")
    assert "ms" in run("cost", "resnet8", "--accelerator", "isaac")


def test_a_short_run_ends_in_a_page(run):
    (run.folder / "net.py").write_text(NETWORK, encoding="utf-8")
    (run.folder / "run.toml").write_text(CONFIG, encoding="utf-8")
    run("run", "run.toml", "--directory", "out")
    assert (run.folder / "out" / "report.html").stat().st_size > 10_000
