"""Durable logs: a kill loses at most the line that was being written, and what is no log stays as it is."""

import json

import pytest

from mho.durable_log import LogFormat, append_line, open_log, read_log, write_log
from mho.errors import InputFileError

KIND = LogFormat("mho-test-log", 2, "a test log")
HEADER = {"of": "tests"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "log.jsonl"
    open_log(path, KIND, HEADER)
    for number in range(3):
        append_line(path, {"number": number})
    return path


def numbers(log):
    return [content["number"] for _, content in log.lines]


def test_a_kill_at_any_byte_loses_at_most_the_last_line(path):
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = max(0, sum(end <= cut for end in ends) - 1)
        log = open_log(path, KIND, HEADER)
        assert numbers(log) == list(range(kept))
        assert log.was_repaired == (cut not in (0, *ends))
        for number in range(kept, 3):
            append_line(path, {"number": number})
        assert path.read_bytes() == whole


def test_reading_leaves_a_torn_file_alone(path):
    torn = path.read_bytes() + b'{"number": 3'
    path.write_bytes(torn)
    assert numbers(read_log(path, KIND)) == [0, 1, 2]
    assert path.read_bytes() == torn


def test_a_last_line_of_noise_is_dropped(path):
    path.write_bytes(path.read_bytes() + b"\0\0\0\0\n")
    assert open_log(path, KIND, HEADER).was_repaired
    assert not open_log(path, KIND, HEADER).was_repaired


@pytest.mark.parametrize("line", ["{", '{"number": NaN}', "[" * 10**5])
def test_a_damaged_line_in_the_middle_is_named(path, line):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:], ""]))
    for read in (lambda: open_log(path, KIND, HEADER), lambda: read_log(path, KIND)):
        with pytest.raises(InputFileError, match=r"log.jsonl: line 3: a damaged line"):
            read()


@pytest.mark.parametrize(
    "content",
    [b"hello\n", b"hello", b"{}\n", b'{"format": "other"}\n', b"\x89PNG\r\n\x1a\n", b"[" * 10**5, b"\xff\xfe\n"],
)
def test_a_file_that_is_no_log_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    for read in (lambda: open_log(path, KIND, HEADER), lambda: read_log(path, KIND)):
        with pytest.raises(InputFileError, match="not a test log"):
            read()
    assert path.read_bytes() == content


def test_another_version_is_refused(path):
    path.write_text(path.read_text().replace('"version": 2', '"version": 1'))
    with pytest.raises(InputFileError, match=r"version 1[\s\S]*version 2 of mho-test-log"):
        open_log(path, KIND, HEADER)


def test_a_whole_log_is_written_at_once(path, tmp_path):
    write_log(tmp_path / "copy.jsonl", KIND, HEADER, [content for _, content in read_log(path, KIND).lines])
    assert (tmp_path / "copy.jsonl").read_bytes() == path.read_bytes()


def test_a_full_disk_leaves_no_half_line(path, monkeypatch):
    whole = path.read_bytes()

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mho.durable_log.os.fsync", fail)
    with pytest.raises(InputFileError, match="No space left"):
        append_line(path, {"number": 3})
    assert path.read_bytes() == whole


def test_the_first_line_names_format_and_version(path):
    assert json.loads(path.read_text().splitlines()[0]) == {"format": "mho-test-log", "version": 2, "of": "tests"}
