import hashlib
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
from accelerators import make_accelerator
from small_programs import compile_small, conv_network, matmul_network

from mho.errors import InputFileError, MemoryBudgetError, MhoError, ProgramError
from mho.input_files import MEMORY_KEY
from mho.program.container import FORMAT_VERSION, MAGIC, read_program, write_program
from mho.program.instructions import Loop
from mho.program.layer_content import collect_layers
from mho.program.layer_proof import prove_layer
from mho.program.verify import verify_program


@pytest.fixture
def path(tmp_path):
    write_program(compile_small(conv_network()), tmp_path / "p.mho")
    return tmp_path / "p.mho"


def test_a_program_reads_back_equal_and_mapped(path):
    program, loaded = compile_small(conv_network()), read_program(path)
    assert loaded.instructions == program.instructions
    assert (loaded.name, loaded.inputs, loaded.outputs) == (program.name, program.inputs, program.outputs)
    assert dict(loaded.metadata) == dict(program.metadata)
    for name, array in program.constants.items():
        np.testing.assert_array_equal(loaded.constants[name], array)
        assert loaded.constants[name].dtype == array.dtype
    cells = loaded.constants["conv:cells"]
    assert not cells.flags.owndata
    assert not cells.flags.writeable


def test_arrays_start_at_multiples_of_64(path):
    for array in read_program(path).constants.values():
        assert array.ctypes.data % 64 == 0


def test_the_same_program_gives_the_same_bytes(path, tmp_path):
    write_program(compile_small(conv_network()), tmp_path / "again.mho")
    assert (tmp_path / "again.mho").read_bytes() == path.read_bytes()


def test_every_truncation_is_refused(path, tmp_path):
    content = path.read_bytes()
    for length in {0, 1, 7, 8, 30, 59, 60, 200, len(content) // 2, len(content) - 64, len(content) - 1}:
        (tmp_path / "cut.mho").write_bytes(content[:length])
        with pytest.raises(InputFileError, match=r"cut\.mho"):
            read_program(tmp_path / "cut.mho")


def test_bytes_after_the_end_are_refused(path):
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InputFileError, match="bytes long"):
        read_program(path)


def test_no_byte_can_be_changed_unseen(path, tmp_path):
    content = bytearray(path.read_bytes())
    positions = [*range(60), *range(60, len(content), 41), len(content) - 1]
    for position in positions:
        content[position] ^= 0x10
        (tmp_path / "bad.mho").write_bytes(content)
        content[position] ^= 0x10
        with pytest.raises((InputFileError, ProgramError)):
            read_program(tmp_path / "bad.mho")


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07" * 100)
    with pytest.raises(InputFileError, match="not a program file"):
        read_program(tmp_path / "model.onnx")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for name in ("none.mho", "."):
        with pytest.raises(InputFileError):
            read_program(tmp_path / name)


def test_a_newer_format_says_what_to_do(path):
    content = bytearray(path.read_bytes())
    content[8:12] = struct.pack("<I", FORMAT_VERSION + 1)
    path.write_bytes(content)
    with pytest.raises(ProgramError, match="update mho"):
        read_program(path)


def forge(path, change):
    """Change the header of a program file, checksum included."""
    content = path.read_bytes()
    length = struct.unpack_from("<Q", content, 12)[0]
    rest = content[-(-(60 + length) // 64) * 64 :]
    header = change(content[60 : 60 + length])
    assert header != content[60 : 60 + length]
    start = -(-(60 + len(header)) // 64) * 64
    digest = hashlib.sha256(header).digest()
    prefix = struct.pack("<8sIQQ32s", MAGIC, FORMAT_VERSION, len(header), start + len(rest), digest)
    path.write_bytes((prefix + header).ljust(start, b"\0") + rest)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        (b'["codes",[84]]', b'["codes",[1099511627776]]', MemoryBudgetError, "the buffers of one sample would take"),
        (b'["codes",[84]]', b'["codes",[0,9223372036854775808]]', ProgramError, "no shape"),
        (b'"shape":[1,4]', b'"shape":[0,9223372036854775808]', ProgramError, "no shape"),
        (b'"name":"', b'"name":' + b"[" * 10**5 + b'"', InputFileError, "too deeply"),
        (b'"count":3', b'"count":1099511627776', ProgramError, "a sample takes"),
    ],
)
def test_what_would_take_memory_or_time_without_end_is_refused_at_once(path, old, new, error, message):
    forge(path, lambda header: header.replace(old, new, 1))
    with pytest.raises(error, match=message) as caught:
        read_program(path)
    assert str(path) in str(caught.value)


def test_a_proof_that_takes_more_than_the_budget_is_refused(monkeypatch):
    program = compile_small(conv_network())
    monkeypatch.setenv(MEMORY_KEY, str(2300 / 2**30))
    with pytest.raises(MemoryBudgetError, match="the proof of 12 positions"):
        next(iter(prove_layer(program, content) for content in collect_layers(program)))


def test_loops_around_nothing_end_too():
    program = compile_small(conv_network())
    (layer, *rest) = program.instructions
    endless = Loop("i", 1 << 30, (Loop("j", 1 << 30, ()),))
    with pytest.raises(ProgramError, match="loops of"):
        verify_program(replace(program, instructions=(replace(layer, body=(endless, *layer.body)), *rest)))


def test_pipes_and_files_above_the_budget_are_refused_without_reading_them(tmp_path):
    os.mkfifo(tmp_path / "pipe.mho")
    with pytest.raises(InputFileError, match="not a regular file"):
        read_program(tmp_path / "pipe.mho")
    with (tmp_path / "sparse.mho").open("wb") as file:
        file.truncate(20 << 30)
    with pytest.raises(MemoryBudgetError):
        read_program(tmp_path / "sparse.mho")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"shape":[1,4]', b'"shape":[9,4]'),
        (b'"dtype":"uint8"', b'"dtype":"int64"'),
        (b'"kind":"Mvm"', b'"kind":"Mvn"'),
        (b'"kind":"Mvm","crossbar":0', b'"kind":"Mvm","crossbar":9'),
        (b'"qmin":-4', b'"qmin":true'),
        (b'"metadata"', b'"metadatb"'),
        (b'"cell_bits":2', b'"cell_bits":0'),
        (b'"float32",[1,2,4,5]', b'"float16",[1,2,4,5]'),
        (b'["codes",[84]]', b'[["codes"],[84]]'),
        (b'["accumulators",[48]]', b'["accumulators",[]]'),
        (b'"scale":0.25', b'"scale":1e300'),
    ],
)
def test_a_header_that_was_forged_with_its_checksum_is_refused(path, old, new):
    """The checksum guards against accidents; what a header claims is checked by itself, before memory is taken."""
    forge(path, lambda header: header.replace(old, new, 1))
    with pytest.raises(MhoError) as error:
        read_program(path)
    assert "program format" not in error.value.what


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.replace(b'{"name":"', b'{"name":"\\ud800', 1),
        lambda header: header.replace(b'{"name":"', b'{"name":"\xed\xa0\x80', 1),
        lambda header: header.decode().encode("utf-16"),
    ],
)
def test_a_header_that_is_no_utf8_is_refused(path, change):
    forge(path, change)
    with pytest.raises(InputFileError, match="header: not JSON"):
        read_program(path)


def test_names_may_hold_any_character(tmp_path):
    name = 'a\\ud800 "\n\x00\u2028\U0001f600'
    write_program(replace(compile_small(conv_network()), name=name), tmp_path / "p.mho")
    assert read_program(tmp_path / "p.mho").name == name


def test_writing_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "p.mho"
    path.write_bytes(b"before")
    monkeypatch.setattr("mho.cache_folder.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "no space")))
    with pytest.raises(InputFileError, match="no space"):
        write_program(compile_small(conv_network()), path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_made_and_one_that_cannot_be_is_refused(tmp_path):
    program = compile_small(conv_network())
    write_program(program, tmp_path / "new" / "p.mho")
    assert read_program(tmp_path / "new" / "p.mho").instructions == program.instructions
    (tmp_path / "file").touch()
    with pytest.raises(InputFileError):
        write_program(program, tmp_path / "file" / "p.mho")


def test_a_program_without_constants_for_cells_reads_back(tmp_path):
    program = compile_small(matmul_network(), make_accelerator(encoding="offset"))
    write_program(program, tmp_path / "p.mho")
    assert read_program(tmp_path / "p.mho").instructions == program.instructions
