import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mho.errors import InputFileError, MhoError
from mho.workflow.run_directory import STAGE_FILE, RunDirectory, hash_json, list_stages, open_run_directory


def make_stage(directory: RunDirectory, name: str = "float", key: str = "k1", text: str = "weights") -> Path:
    folder = directory.begin(name, key)
    (folder / "weights.bin").write_text(text)
    return folder


def test_a_stage_is_found_under_the_key_that_it_was_made_from(tmp_path):
    with open_run_directory(tmp_path / "run") as directory:
        make_stage(directory)
        made = directory.commit("float", "k1", {"accuracy": 0.5}, 3.0)
        assert directory.finished("float", "k1") == made or directory.finished("float", "k1").digest == made.digest
        assert directory.finished("float", "k2") is None
        assert made.figures == {"accuracy": 0.5}
        assert (made.folder / "weights.bin").read_text() == "weights"


def test_the_digest_depends_on_what_was_made_and_not_on_how_long_it_took(tmp_path):
    with open_run_directory(tmp_path / "run") as directory:
        digests = []
        for text, seconds in (("a", 1.0), ("a", 2.0), ("b", 1.0)):
            make_stage(directory, text=text)
            digests.append(directory.commit("float", "k1", {}, seconds).digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_stage_whose_files_were_changed_is_made_anew(tmp_path):
    with open_run_directory(tmp_path / "run") as directory:
        make_stage(directory)
        made = directory.commit("float", "k1", {}, 1.0)
        (made.folder / "weights.bin").write_text("other")
        assert directory.finished("float", "k1") is None
        make_stage(directory)
        assert directory.commit("float", "k1", {}, 1.0).folder == made.folder


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": "k1"}', b"\xff", b"[" * 100_000])
def test_damaged_files_of_a_stage_are_not_a_finished_stage_and_are_made_anew(tmp_path, content):
    with open_run_directory(tmp_path / "run") as directory:
        make_stage(directory)
        made = directory.commit("float", "k1", {}, 1.0)
        (made.folder / STAGE_FILE).write_bytes(content)
        assert directory.finished("float", "k1") is None
        for name in ("key.txt", "clock.json"):
            (make_stage(directory) / name).write_bytes(content)
            assert 0.0 <= directory.clock("float").seconds < 1.0
            make_stage(directory)
            assert directory.commit("float", "k1", {}, 1.0).digest == made.digest


def test_a_stage_whose_figures_were_changed_is_not_a_finished_stage(tmp_path):
    with open_run_directory(tmp_path / "run") as directory:
        make_stage(directory)
        file = directory.commit("float", "k1", {"accuracy": 0.5}, 1.0).folder / STAGE_FILE
        file.write_text(file.read_text().replace("0.5", "0.9"))
        assert directory.finished("float", "k1") is None


@pytest.mark.parametrize("seconds", ["NaN", "-1", "1e999", "1" * 400, '"1"', "null", "{}"])
def test_a_damaged_working_time_is_none(tmp_path, seconds):
    with open_run_directory(tmp_path / "run") as directory:
        folder = make_stage(directory)
        (folder / "clock.json").write_text(f'{{"seconds": {seconds}}}')
        assert 0.0 <= directory.clock("float").seconds < 1.0


def test_finished_stages_are_listed_by_the_beginning_of_their_names_and_damaged_ones_are_not(tmp_path):
    directory = RunDirectory(tmp_path)
    for name in ("search-rl-8", "search", "search-exact-8", "search-tpe-8"):
        make_stage(directory, name)
        directory.commit(name, "k1", {}, 1.0)
    (make_stage(directory, "search-random-8") / STAGE_FILE).write_bytes(
        (tmp_path / "stages/search-rl-8" / STAGE_FILE).read_bytes()  # killed before it got its name
    )
    (tmp_path / "stages/search-tpe-8" / STAGE_FILE).write_text("{")
    assert [stage.name for stage in list_stages(tmp_path, "search-")] == ["search-exact-8", "search-rl-8"]
    assert list(list_stages(tmp_path / "nothing", "search-")) == []


def test_what_an_interrupted_stage_left_is_kept_for_its_key_alone(tmp_path):
    with open_run_directory(tmp_path / "run") as directory:
        make_stage(directory)
    with open_run_directory(tmp_path / "run") as directory:
        assert (directory.begin("float", "k1") / "weights.bin").is_file()
        assert not (directory.begin("float", "k2") / "weights.bin").exists()


def test_working_time_goes_on_after_an_interruption(tmp_path):
    with open_run_directory(tmp_path / "run") as directory:
        folder = make_stage(directory)
        (folder / "clock.json").write_text(json.dumps({"seconds": 100.0}))
        assert 100.0 <= directory.clock("float").seconds < 101.0


def test_fresh_forgets_earlier_stages(tmp_path):
    with open_run_directory(tmp_path / "run") as directory:
        make_stage(directory)
        directory.commit("float", "k1", {}, 1.0)
    with open_run_directory(tmp_path / "run", fresh=True) as directory:
        assert directory.finished("float", "k1") is None


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputFileError, match=r"holds 'thesis.tex'"), open_run_directory(tmp_path, fresh=True):
        pass
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(InputFileError), open_run_directory(tmp_path / "thesis.tex"):
        pass


def test_a_foreign_folder_with_a_lock_of_its_own_is_left_alone(tmp_path):
    (tmp_path / "lock").write_text("42 and more")
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputFileError, match=r"holds 'thesis.tex'"), open_run_directory(tmp_path):
        pass
    assert (tmp_path / "lock").read_text() == "42 and more"


START_AT_ONCE = """
import os, sys
from pathlib import Path
from mho.errors import MhoError
from mho.workflow.run_directory import open_run_directory
from mho.workflow.study import _open_directory

def try_to_open(folder, start, tried, end):
    opener = open_run_directory if number % 2 else _open_directory
    os.read(start, 1)
    try:
        with opener(folder, fresh=number % 3 == 0):
            os.write(tried, b"w")
            os.read(end, 1)
    except MhoError as error:
        os.write(tried, b"l" if "is using this folder" in str(error) else b"?")

for number in range(20):
    pipes = [os.pipe() for _ in range(3)]
    (start, go), (count, tried), (end, leave) = pipes
    children = []
    for _ in range(3):
        if (child := os.fork()) == 0:
            os.close(go), os.close(leave)
            try_to_open(Path(f"run{number}"), start, tried, end)
            os._exit(0)
        children.append(child)
    os.close(go)
    shown = b"".join(os.read(count, 1) for _ in children)
    os.close(leave)
    for child in children:
        os.waitpid(child, 0)
    for one in (start, count, tried, end):
        os.close(one)
    print(bytes(sorted(shown)).decode())
"""


def test_of_runs_and_studies_that_start_at_once_in_a_folder_one_works_and_the_others_are_reported(tmp_path):
    command = [sys.executable, "-c", START_AT_ONCE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["llw"] * 20, "")


def test_one_run_at_a_time_uses_a_folder_and_a_killed_one_frees_it(tmp_path):
    holder = (
        "import sys, time\nfrom pathlib import Path\nfrom mho.workflow.run_directory import open_run_directory\n"
        "with open_run_directory(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", holder, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(MhoError, match=f"another run(.|\n)*process {process.pid}"),
            open_run_directory(tmp_path / "run"),
        ):
            pass
    finally:
        process.kill()
        process.wait()
    time.sleep(0.05)
    with open_run_directory(tmp_path / "run"):
        pass


def test_hashes_of_json_do_not_depend_on_the_order_of_keys():
    assert hash_json({"a": 1, "b": [1, 2]}) == hash_json({"b": [1, 2], "a": 1}) != hash_json({"a": 1, "b": [2, 1]})
