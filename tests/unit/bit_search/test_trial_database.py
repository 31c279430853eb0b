"""Databases of trials that several searches create at once, and servers that are restarted under a search."""

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import optuna
import pytest
import search_problem
import sqlalchemy
from optuna.storages._rdb import models
from search_problem import SmoothEvaluator, resnet18_space, search_at_once
from sqlalchemy.exc import OperationalError, PendingRollbackError

from mho.bit_search import trial_database
from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import LocalMeasurer
from mho.bit_search.objective import Objective
from mho.bit_search.shared_measurer import share
from mho.bit_search.trial_storage import TrialStorage
from mho.errors import InputFileError, MissingExtraError
from mho.policy import BitWidths, Policy

POLICY = Policy({"a": BitWidths(4, 4)})
RUNNING, COMPLETE = optuna.trial.TrialState.RUNNING, optuna.trial.TrialState.COMPLETE


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'trials.db'}"


@pytest.fixture
def connect():
    opened = []

    def connect_one(url):
        opened.append(TrialStorage(url, {"network": 1}, Objective.LATENCY, 1000, "short"))
        return opened[-1]

    yield connect_one
    for storage in opened:
        storage.close()


@pytest.fixture
def let_time_pass(monkeypatch):
    """Return a function that lets what waits for the database wait without time: `meanwhile` happens in between."""

    def patch(meanwhile):
        now = [0.0]

        def sleep(seconds):
            now[0] += seconds
            meanwhile()

        monkeypatch.setattr(trial_database, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))

    return patch


def record():
    return EvaluationRecord(POLICY, 1.5, 0.75, 500, 7, 2.5, "exact", 0, "short", "ok", "", Objective.LATENCY)


def states(storage):
    return [trial.state for trial in storage._storage.get_all_trials(storage._study_id)]


def test_searches_that_find_an_empty_database_at_once_create_it_together(url, connect):
    both_looked, shown = threading.Barrier(3, timeout=60), []

    def wait(*_, **__):
        if threading.current_thread().name not in shown:  # once each, between the look and the creation
            shown.append(threading.current_thread().name)
            both_looked.wait()

    sqlalchemy.event.listen(models.BaseModel.metadata, "before_create", wait, insert=True)
    try:
        opened = []
        threads = [threading.Thread(target=lambda: opened.append(connect(url))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sqlalchemy.event.remove(models.BaseModel.metadata, "before_create", wait)
    assert len(shown) == len(opened) == 3
    assert len({storage._study_id for storage in opened}) == 1
    opened[0].add(record())
    opened[1].refresh()
    assert opened[1].find(POLICY) is not None


def test_a_connection_that_broke_within_a_transaction_is_asked_for_again(tmp_path, connect, let_time_pass, caplog):
    database = connect(f"sqlite:///{tmp_path / 'trials.db'}")._database
    let_time_pass(lambda: None)
    answers = iter([PendingRollbackError("Can't reconnect until invalid transaction is rolled back."), "found"])

    def question():
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    assert database.ask(question) == "found"
    assert "does not answer (Can't reconnect" in caplog.text


@pytest.mark.slow
def test_a_server_that_is_restarted_is_waited_for(postgres, postgres_url, connect, let_time_pass, caplog):
    """It is stopped and killed in turn."""
    storage, reader = connect(postgres_url), connect(postgres_url)
    let_time_pass(postgres.start)
    steps = (storage.refresh, lambda: storage.claim(POLICY), lambda: storage.add(record()), reader.refresh)
    for end, step in zip((postgres.stop, postgres.kill) * 2, steps, strict=True):
        end()
        storage._tell_alive()  # which is no error
        step()
    assert reader.find(POLICY) is not None
    assert [state for state in states(reader) if state is not optuna.trial.TrialState.FAIL] == [COMPLETE]
    assert "the storage of trials does not answer" in caplog.text
    assert "waiting up to 60 s" in caplog.text
    assert "the storage of trials answers again" in caplog.text


def test_a_server_that_stays_away_is_one_error_that_says_for_how_long(postgres, postgres_url, connect, let_time_pass):
    storage = connect(postgres_url)
    storage.claim(POLICY)
    let_time_pass(lambda: None)
    postgres.stop()
    try:
        with pytest.raises(InputFileError, match=r"has not answered for 60 s: .*\n  hint: evaluations so far are in"):
            storage.refresh()
        storage.close()  # in no time, and without an error
        with pytest.raises(InputFileError, match="cannot be opened: conn"):
            connect(postgres_url)
    finally:
        postgres.start()


@pytest.mark.parametrize("name", ["create_new_trial", "record_heartbeat", "get_all_trials", "set_trial_state_values"])
def test_what_was_done_before_the_connection_was_lost_is_not_done_twice(url, connect, let_time_pass, monkeypatch, name):
    storage, reader = connect(url), connect(url)
    let_time_pass(lambda: None)
    call, lost = getattr(storage._storage, name), []

    def lose(*arguments, **options):
        answer = call(*arguments, **options)
        if not lost:
            lost.append(name)
            raise OperationalError("COMMIT", {}, Exception("the connection is lost"))
        return answer

    monkeypatch.setattr(storage._storage, name, lose)
    assert storage.claim(POLICY)
    assert states(reader).count(RUNNING) == 1
    storage.add(record())
    assert lost
    assert states(reader).count(RUNNING) == 0
    assert states(reader).count(COMPLETE) == 1


@pytest.mark.slow
def test_two_searches_go_on_when_their_server_is_restarted(postgres, postgres_url, tmp_path):
    logs = [tmp_path / "one.jsonl", tmp_path / "other.jsonl"]
    command = [sys.executable, search_problem.__file__, "random", "16"]
    searches = [
        subprocess.Popen([*command, str(log), "4", postgres_url], stderr=subprocess.PIPE, text=True) for log in logs
    ]
    deadline = time.monotonic() + 60
    while not all(log.exists() and log.read_bytes().count(b"\n") > 2 for log in logs):
        assert time.monotonic() < deadline, [search.poll() for search in searches]
        time.sleep(0.01)
    postgres.kill()
    assert [search.poll() for search in searches] == [None, None], "they end only later"
    postgres.start()
    for search in searches:
        _, text = search.communicate(timeout=60)
        assert search.returncode == 0, text
        assert "Traceback" not in text
    problem = SmoothEvaluator(resnet18_space().layer_names).problem
    alone = {one.policy: one.score for one in search_at_once("random", 16, 4).records}
    for log in logs:
        assert {one.policy: one.score for one in EvaluationLog(log, problem).records} == alone


@pytest.mark.parametrize("damage", [b"", b"no database at all, but long enough to be one" * 100])
def test_a_file_of_something_else_is_one_clear_error(tmp_path, connect, damage):
    file = tmp_path / "trials.db"
    connect(f"sqlite:///{file}").add(record())
    file.write_bytes(file.read_bytes()[:100] + damage)
    with pytest.raises(InputFileError, match=r"trials.db: .* cannot be opened: .*\n  expected: a URL"):
        connect(f"sqlite:///{file}")


def test_a_database_of_another_version_of_optuna_is_one_clear_error(tmp_path, connect):
    connect(f"sqlite:///{tmp_path / 'trials.db'}")
    with sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'trials.db'}").begin() as database:
        database.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = 'v2.6.0.a'"))
    with pytest.raises(InputFileError, match="cannot be opened: The runtime optuna version"):
        connect(f"sqlite:///{tmp_path / 'trials.db'}")


def test_a_driver_that_is_not_installed_is_named(monkeypatch, connect):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"psycopg(.|\n)*pip install -e '\.\[postgresql\]'"):
        connect("postgresql+psycopg://me:secret@host/trials")


def test_a_file_beside_the_log_may_lie_in_any_folder(tmp_path):
    folder = tmp_path / "what? {50%20} #1"
    folder.mkdir()
    space = resnet18_space()
    evaluator = SmoothEvaluator(space.layer_names)
    log = EvaluationLog(folder / "log.jsonl", evaluator.problem)
    with share(LocalMeasurer(evaluator), "sqlite", space, evaluator, log, 1):
        pass
    assert (folder / "log.db").stat().st_size > 0
    assert list(tmp_path.iterdir()) == [folder]


def test_a_search_that_is_interrupted_gives_up_its_claims(tmp_path, connect, url):
    class Interrupted(SmoothEvaluator):
        def evaluate(self, _):
            raise KeyboardInterrupt

    space = resnet18_space()
    evaluator = Interrupted(space.layer_names)
    with (
        pytest.raises(KeyboardInterrupt),
        share(LocalMeasurer(evaluator), url, space, evaluator, EvaluationLog(None, evaluator.problem), 1) as measurer,
    ):
        list(measurer.measure([Policy({name: BitWidths(4, 4) for name in space.layer_names})]))
    (study,) = optuna.get_all_study_summaries(url)
    assert [trial.state for trial in optuna.load_study(study_name=study.study_name, storage=url).trials] == [
        optuna.trial.TrialState.FAIL
    ]
