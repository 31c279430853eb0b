"""The C loader refuses damaged images, and what it takes runs inside of its memory: no report of any sanitizer."""

import shutil
import subprocess
from pathlib import Path

import pytest
from c_runtime import SOURCES

IMAGES = Path(__file__).parents[1] / "golden/deploy"
NAMES = ("conv", "attention", "chip", "reloads", "integer", "decoder", "order", "norms", "tokens", "quotients")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-ffp-contract=off", "-std=c99", "-O1")


@pytest.fixture(scope="module", params=["reads", "fused reads"])
def fuzzer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler: apt-get install gcc")
    program = tmp_path_factory.mktemp("fuzz") / "fuzz_image"
    harness = Path(__file__).parents[1] / "support/fuzz_image.c"
    sources = sorted(SOURCES.glob("*.c"))
    options = ["-DMHO_FUSED"] if request.param == "fused reads" else []
    subprocess.run(["gcc", *SANITIZERS, *options, f"-I{SOURCES}", harness, *sources, "-o", program], check=True)
    return program


def mutate(fuzzer: Path, name: str, count: int) -> None:
    done = subprocess.run(
        [fuzzer, IMAGES / f"{name}.img", "0", str(count)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    mutants, accepted, ran = (int(word) for word in done.stdout.split() if word.isdigit())
    assert mutants == count
    assert 0 < ran <= accepted < count // 2  # most damages are seen; some numbers may be others as well


@pytest.mark.deploy
@pytest.mark.parametrize("name", NAMES)
def test_damaged_images_are_refused(fuzzer, name):
    mutate(fuzzer, name, 1_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_damaged_images_are_refused(fuzzer, name):
    mutate(fuzzer, name, 10_000)
