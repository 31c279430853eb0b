"""docs/isa.md is what the definitions say."""

import dataclasses
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "tools"))

import isa

from mho.deploy.image_format import OPCODES, UNARY_FUNCTIONS
from mho.program.instructions import INSTRUCTIONS, Digital


def test_the_page_is_made_of_the_definitions():
    assert isa.PAGE.read_text() == "\n".join(isa.write_page()) + "\n", "python tools/isa.py writes it anew"


def test_every_instruction_has_an_opcode_and_every_function_a_value():
    assert {*OPCODES, Digital} == set(INSTRUCTIONS)
    assert set(isa.UNARY) == set(UNARY_FUNCTIONS)
    fields = {field.name for kind in OPCODES for field in dataclasses.fields(kind)}
    assert set(isa.RANGES) <= fields
