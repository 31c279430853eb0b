"""Workers do every task once; those that die are replaced."""

import multiprocessing.spawn
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pool_tasks
import pytest
from pairwise import pairwise_cases
from pool_tasks import MakeSquares, Square

from mho.errors import MhoError
from mho.worker_pool import GivenUp, ProcessPool


@pytest.fixture
def made(tmp_path):
    return tmp_path / "made"


def count(path):
    return len(path.read_text(encoding="utf-8").splitlines())


def test_every_task_has_one_answer_and_workers_are_used_again(made):
    with ProcessPool(MakeSquares(made), 2) as pool:
        first = dict(pool.answers([Square(n) for n in range(6)]))
        again = dict(pool.answers([Square(n) for n in (7, 8, 9)]))
    assert [first[n][0] for n in range(6)] == [0, 1, 4, 9, 16, 25]
    assert [again[n][0] for n in range(3)] == [49, 64, 81]
    processes = {process for _, process in (*first.values(), *again.values())}
    assert len(processes) == count(made) <= 2
    assert os.getpid() not in processes


def test_a_task_whose_worker_dies_is_done_again_by_another_and_idle_ones_may_die_too(made, tmp_path):
    with ProcessPool(MakeSquares(made), 1, attempts=2) as pool:
        answers = list(pool.answers([Square(2, deadly_until=tmp_path / "tries"), Square(3)]))
        assert [(number, square) for number, (square, _) in answers] == [(0, 4), (1, 9)]
        assert count(made) == 2
        os.kill(answers[-1][1][1], signal.SIGKILL)
        assert [square for _, (square, _) in pool.answers([Square(4)])] == [16]
        assert count(made) == 3


def test_a_task_that_workers_always_die_of_is_given_up_and_the_others_are_done(made, tmp_path):
    with ProcessPool(MakeSquares(made), 2, attempts=1) as pool:
        answers = dict(pool.answers([Square(2, deadly_until=tmp_path / "tries"), Square(3)]))
    assert answers[0] == GivenUp("a process ended with code -9")
    assert answers[1][0] == 9


def test_what_a_task_raises_is_raised_here(made):
    with ProcessPool(MakeSquares(made), 1) as pool:
        with pytest.raises(MhoError, match=r"number 2: no\n  expected: yes"):
            list(pool.answers([Square(2, fails="mho")]))
        with pytest.raises(RuntimeError, match="ZeroDivisionError: by nothing"):
            list(pool.answers([Square(2, fails="by nothing")]))
        assert [square for _, (square, _) in pool.answers([Square(4)])] == [16]


def test_workers_end_when_the_process_that_started_them_is_killed(made):
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(pool_tasks.__file__).parent)!r})
        from pathlib import Path
        from pool_tasks import MakeSquares, Square
        from mho.worker_pool import ProcessPool
        if __name__ == "__main__":
            with ProcessPool(MakeSquares(Path({str(made)!r})), 1) as pool:
                for number, answer in pool.answers([Square(1), Square(2, seconds=60.0)]):
                    print(answer[1], flush=True)
    """
    script = made.with_suffix(".py")
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    worker = int(driver.stdout.readline())
    os.kill(worker, 0)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    deadline = time.monotonic() + 10
    while _is_alive(worker):
        assert time.monotonic() < deadline, "the worker goes on although nobody waits for it"
        time.sleep(0.02)


INTERRUPTED = """
import os, signal, sys
sys.path.insert(0, {support!r})
from multiprocessing import util
from pathlib import Path
from pool_tasks import MakeSquares, Square
from mho.worker_pool import ProcessPool

class Large(MakeSquares):
    padding = bytes(10_000_000)
    def __reduce__(self):
        return MakeSquares, (Path({made!r}), self.padding)

def interrupt():
    os.kill({whom!r}, signal.{number})  # 0: all processes of the group, as a terminal does

if __name__ == "__mp_main__" and {moment!r} == "import":
    interrupt()
if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):  # the latter is ignored where tests run in the background
        signal.signal(number, signal.default_int_handler)
    spawn = util.spawnv_passfds

    def spawn_and_interrupt(*arguments):
        process = spawn(*arguments)
        if "spawn_main" in str(arguments[1]):  # it has not read yet what it is to do
            interrupt()
        return process

    if {moment!r} == "start":
        util.spawnv_passfds = spawn_and_interrupt
    try:
        with ProcessPool(Large(Path({made!r})), 2) as pool:
            for _ in pool.answers([Square(1), Square(2), Square(3), Square(4, seconds=60.0)]):
                if {moment!r} == "work":
                    interrupt()
    except KeyboardInterrupt:
        print("interrupted")
"""


CASES = pairwise_cases(
    {"moment": ["start", "import", "work"], "number": ["SIGINT", "SIGTERM"], "whom": ["os.getpid()", "0"]}
)


@pytest.mark.parametrize(("moment", "number", "whom"), [case.values() for case in CASES])
def test_an_interrupt_is_one_of_the_first_process_and_workers_say_nothing(made, moment, number, whom):
    if (moment, whom) == ("import", "os.getpid()"):
        whom = "os.getppid()"  # it is the worker that knows when it imports
    script = made.with_suffix(".py")
    support = str(Path(pool_tasks.__file__).parent)
    text = INTERRUPTED.format(support=support, made=str(made), moment=moment, number=number, whom=whom)
    script.write_text(text.replace(repr(whom), whom))
    command = [sys.executable, str(script)]
    done = subprocess.run(command, start_new_session=True, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_workers_that_cannot_start_cost_a_task_its_attempts(made, monkeypatch):
    monkeypatch.setattr(multiprocessing.spawn, "get_executable", lambda: b"/bin/false")
    with ProcessPool(MakeSquares(made, bytes(10_000_000)), 1, attempts=2) as pool:
        assert list(pool.answers([Square(1)])) == [(0, GivenUp("a process ended with code 1"))]


def _is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")  # a child that nobody waits for is a zombie
    return not stat.exists() or stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
