"""Programs of version 1 keep loading and giving the same bits: program files in Python, images in C.

The files are never made anew: what cannot read them any more breaks its promise.
"""

from pathlib import Path

import numpy as np
import pytest
from bits import assert_same_bits
from c_runtime import RuntimeFailure, load_image, run_image

import mho
from mho.deploy.image import build_image
from mho.deploy.image_format import VERSION
from mho.errors import ProgramError
from mho.program.container import read_program

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.img"))


def stored(name: str, kind: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key.removeprefix(kind): file[key] for key in file.files if key.startswith(kind)}


@pytest.mark.parametrize("name", NAMES)
def test_a_program_of_version_1_gives_the_same_bits(name):
    program = read_program(FOLDER / f"{name}.mho")
    inputs, outputs = stored(name, "input "), stored(name, "output ")
    assert_same_bits(mho.simulate(program, inputs), outputs)
    content = (FOLDER / f"{name}.img").read_bytes()
    assert_same_bits(run_image(program, content, inputs), outputs)
    assert_same_bits(run_image(program, build_image(program).content, inputs), outputs)


def test_a_later_image_is_a_clear_error():
    content = bytearray((FOLDER / "conv.img").read_bytes())
    content[10] = VERSION[1] + 1
    with pytest.raises(RuntimeFailure, match="image of a later version"):
        load_image(bytes(content))


def test_a_later_program_file_is_a_clear_error(tmp_path):
    content = bytearray((FOLDER / "conv.mho").read_bytes())
    content[8] = 99
    (tmp_path / "later.mho").write_bytes(content)
    with pytest.raises(ProgramError, match="program format 99"):
        read_program(tmp_path / "later.mho")
