import io
import sys

from mho.terminal import Console
from mho.workflow import progress as subject
from mho.workflow.progress import PlainProgress, TerminalProgress, WorkMeter, show_progress


def test_time_left_is_estimated_from_the_speed_of_the_work_that_was_done_now(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(subject.time, "monotonic", lambda: now[0])
    meter = WorkMeter({"float": 100.0, "search": 200.0, "found": 100.0})
    assert meter.seconds_left() is None
    meter.finish("float", is_new=False)
    now[0] = 10.0
    assert meter.seconds_left() is None
    meter.update("search", 0.5)
    assert meter.seconds_left() == 20.0
    meter.update("search", 0.4)
    assert meter.done == 200.0


def test_a_pipe_gets_percent_and_time_left_of_the_stage_and_of_the_run(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(subject.time, "monotonic", lambda: now[0])
    progress = PlainProgress(WorkMeter({"float": 100.0, "search": 300.0}))
    progress.begin("float", "Train")
    progress.end("done", is_new=True)
    progress.begin("search", "Search")
    progress.update(0.5, "resumed")
    now[0] = 20.0
    progress.update(0.75, "policy 3")
    line = capsys.readouterr().out.splitlines()[-1].replace("\u202f", " ")
    assert line == "  Search: 75 %, 20 s left; run 81 %, 4.6 s left  policy 3"


def test_a_pipe_gets_a_line_for_each_stage(capsys):
    progress = PlainProgress(WorkMeter({"float": 1.0}))
    progress.begin("float", "Train the float network")
    progress.update(0.5, "epoch 1")
    progress.end("97 %", is_new=True)
    progress.begin("calibration", "Calibrate ranges")
    progress.end("done before", is_new=False)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Train the float network, 0.0")
    assert first.endswith("97 %")
    assert second == "Calibrate ranges: done before"


def test_a_terminal_shows_stage_percentage_and_finished_stages():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=120)
    with TerminalProgress(console) as progress:
        progress.measured_by(WorkMeter({"float": 1.0}))
        progress.begin("float", "Train the float network")
        progress.update(0.5, "epoch 1 of 2")
        progress.end("97 % on validation data", is_new=True)
    assert "Train the float network" in output.getvalue()
    assert "97 % on validation data" in output.getvalue()


def test_a_pipe_gets_lines_and_a_terminal_a_bar(monkeypatch):
    for is_terminal, kind in ((False, PlainProgress), (True, TerminalProgress)):
        monkeypatch.setattr(sys.stdout, "isatty", lambda shown=is_terminal: shown)
        with show_progress() as make_progress:
            assert isinstance(make_progress({"float": 1.0}), kind)
