"""Searches that share a storage share evaluations, and each finds what it would have found alone."""

import os
import socket
import subprocess
import sys
from datetime import timedelta

import optuna
import pytest
import search_problem
import sqlalchemy
from search_problem import SmoothEvaluator, resnet18_space, search_at_once, search_beside_others

from mho.bit_search.evaluation import EvaluationRecord, Measurement
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import LocalMeasurer
from mho.bit_search.objective import Objective
from mho.bit_search.shared_measurer import share
from mho.bit_search.trial_storage import GRACE_S, TrialStorage, read_policy
from mho.errors import ConfigError, InputFileError
from mho.policy import BitWidths, Policy

POLICIES = [Policy({"a": BitWidths(4, bits), "b": BitWidths(8, 8, 6)}) for bits in (2, 3, 4)]
CONNECTED: list[TrialStorage] = []


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres_url")
    else:
        yield f"sqlite:///{tmp_path / 'trials.db'}"
    while CONNECTED:
        CONNECTED.pop().close()


def connect(url, objective=Objective.LATENCY, fidelity="short", problem=1):
    CONNECTED.append(TrialStorage(url, {"network": problem}, objective, 1000, fidelity))
    return CONNECTED[-1]


def record(policy, *, fidelity="short", status="ok", score=1.5, accuracy=0.75, objective=Objective.LATENCY):
    return EvaluationRecord(policy, score, accuracy, 500, 7, 2.5, "exact", 0, fidelity, status, "", objective)


def plain(result):
    return [(one.policy, one.score, one.accuracy, one.cost, one.status) for one in result.records]


def test_two_drivers_on_one_storage_evaluate_every_policy_once_and_find_what_one_finds(tmp_path):
    """On PostgreSQL too, even where it is restarted: `test_trial_database`."""
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    command = [sys.executable, search_problem.__file__, "random", "7", str(tmp_path / "other.jsonl"), "4", url]
    other = subprocess.Popen(command)
    result, calls = search_beside_others("random", 7, tmp_path / "log.jsonl", 4, url)
    assert other.wait(timeout=120) == 0
    assert plain(result) == plain(search_at_once("random", 7, 4))
    problem = SmoothEvaluator(resnet18_space().layer_names).problem
    logs = [EvaluationLog(tmp_path / name, problem) for name in ("log.jsonl", "other.jsonl")]
    assert [len(log) for log in logs] == [7, 7], "each log is whole"
    (study,) = optuna.get_all_study_summaries(url)
    trials = optuna.load_study(study_name=study.study_name, storage=url).trials
    assert sum(trial.state is optuna.trial.TrialState.COMPLETE for trial in trials) == 7
    assert calls <= 7


def test_what_a_storage_holds_is_not_evaluated_again_and_counts(tmp_path, url):
    first, calls = search_beside_others("random", 3, tmp_path / "log.jsonl", 1, url, seconds=0)
    assert calls == 3
    again, calls = search_beside_others("random", 4, tmp_path / "another.jsonl", 1, url, seconds=0)
    assert calls == 1
    assert plain(again)[:3] == plain(first)


def test_a_log_is_given_to_a_storage_that_lacks_it(tmp_path, url):
    search_problem.search("random", 3, log_path=tmp_path / "log.jsonl")
    _, calls = search_beside_others("random", 3, tmp_path / "log.jsonl", 1, url, seconds=0)
    assert calls == 0
    _, calls = search_beside_others("random", 3, tmp_path / "another.jsonl", 1, url, seconds=0)
    assert calls == 0


def test_a_policy_is_claimed_by_one_search_at_a_time(url):
    first, second = connect(url), connect(url)
    assert first.claim(POLICIES[0])
    assert not second.claim(POLICIES[0]), "although it has not seen the other's claim"
    second.refresh()
    assert second.is_busy(POLICIES[0])
    first.refresh()
    assert not first.is_busy(POLICIES[0]), "its own claims do not hold it up"
    first.add(record(POLICIES[0]))
    second.refresh()
    assert not second.is_busy(POLICIES[0])
    assert second.find(POLICIES[0]) == (Measurement(1.5, 0.75), 2.5)


def test_claims_of_a_search_that_ended_or_was_killed_here_are_free_at_once(url):
    ended, reader = connect(url), connect(url)
    ended.claim(POLICIES[0])
    ended.close()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    killed = connect(url)
    killed._driver = f"{socket.gethostname()}:{gone.pid}"
    killed.claim(POLICIES[1])
    reader.refresh()
    assert not reader.is_busy(POLICIES[0])
    assert not reader.is_busy(POLICIES[1])
    assert reader.claim(POLICIES[1])


def test_claims_of_a_process_that_ended_and_that_nobody_waited_for_are_free_at_once(url):
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as ended:
        ended.stdout.read()  # which ends with the process
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        killed, reader = connect(url), connect(url)
        killed._driver = f"{socket.gethostname()}:{ended.pid}:0"
        killed.claim(POLICIES[0])
        reader.refresh()
        assert not reader.is_busy(POLICIES[0])


def let_time_pass(url, seconds):
    engine = sqlalchemy.create_engine(url)
    beats = sqlalchemy.Table("trial_heartbeats", sqlalchemy.MetaData(), autoload_with=engine)
    with engine.begin() as database:
        now = database.execute(sqlalchemy.select(sqlalchemy.func.current_timestamp())).scalar_one()
        database.execute(beats.update().values(heartbeat=now - timedelta(seconds=seconds)))
    engine.dispose()


def test_claims_of_a_search_elsewhere_are_free_when_its_heartbeat_is_missing(url):
    elsewhere, reader = connect(url), connect(url)
    elsewhere._driver = "elsewhere:1"
    elsewhere.claim(POLICIES[0])
    let_time_pass(url, GRACE_S / 2)
    reader.refresh()
    assert reader.is_busy(POLICIES[0])
    let_time_pass(url, GRACE_S + 30)
    elsewhere._tell_alive()
    reader.refresh()
    assert reader.is_busy(POLICIES[0]), "it has said in time that it lives"
    let_time_pass(url, GRACE_S + 30)
    reader.refresh()
    assert not reader.is_busy(POLICIES[0])
    assert reader.claim(POLICIES[0])


def test_a_claim_of_a_search_elsewhere_that_was_killed_before_its_first_heartbeat_is_free_in_the_end(url, monkeypatch):
    elsewhere, reader = connect(url), connect(url)
    elsewhere._driver = "elsewhere:1"
    with monkeypatch.context() as patched:
        patched.setattr(elsewhere._storage, "record_heartbeat", lambda _: None)
        elsewhere.claim(POLICIES[0])
    reader.refresh()
    assert reader.is_busy(POLICIES[0])
    let_time_pass(url, GRACE_S + 30)
    reader.refresh()
    assert not reader.is_busy(POLICIES[0])


def test_a_search_that_was_held_to_be_dead_stores_its_result_all_the_same(url):
    slow, reader = connect(url), connect(url)
    slow.claim(POLICIES[0])
    let_time_pass(url, GRACE_S + 30)
    reader.refresh()
    assert not reader.is_busy(POLICIES[0])
    slow.add(record(POLICIES[0]))
    reader.refresh()
    assert reader.find(POLICIES[0]) == (Measurement(1.5, 0.75), 2.5)


def test_a_claim_that_another_search_made_unnecessary_is_given_up(url):
    first, second = connect(url), connect(url)
    first.claim(POLICIES[0])
    let_time_pass(url, GRACE_S + 30)
    second.refresh()
    assert second.claim(POLICIES[0])
    first.add(record(POLICIES[0]))
    second.refresh()
    second.add(record(POLICIES[0]))
    states = [trial.state for trial in first._study.trials]
    assert states.count(optuna.trial.TrialState.COMPLETE) == 1
    assert states.count(optuna.trial.TrialState.RUNNING) == 0


def test_a_study_whose_maker_was_killed_before_it_was_described_is_found_by_other_objectives(url, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(optuna.storages.RDBStorage, "set_study_user_attr", die)
        with pytest.raises(KeyboardInterrupt):
            connect(url)
    connect(url).add(record(POLICIES[0]))
    assert connect(url, Objective.ENERGY).find(POLICIES[0]) is not None


def test_failed_policies_are_shared_other_fidelities_and_problems_are_not(url):
    writer = connect(url)
    writer.add(record(POLICIES[0], status="failed", score=None, accuracy=None))
    writer.add(record(POLICIES[1], fidelity="long"))
    assert connect(url).find(POLICIES[0]) == (Measurement(None, None), 2.5)
    assert connect(url).find(POLICIES[1]) is None
    assert connect(url, fidelity="long").find(POLICIES[0]) is None
    assert connect(url, problem=2).find(POLICIES[0]) is None


def test_evaluations_of_other_objectives_are_found_too(url):
    connect(url).add(record(POLICIES[0]))
    assert connect(url, Objective.ENERGY).find(POLICIES[0]) == (Measurement(1.5, 0.75), 2.5)


def test_what_the_dashboard_shows(url):
    connect(url).add(record(POLICIES[0]))
    (summary,) = optuna.get_all_study_summaries(url)
    study = optuna.load_study(study_name=summary.study_name, storage=url)
    assert study.metric_names == ["cost", "loss"]
    (trial,) = study.trials
    widths = {"a:weight_bits": 4, "a:act_bits": 2, "b:weight_bits": 8, "b:act_bits": 8, "b:adc_bits": 6}
    assert trial.params == widths
    assert read_policy(widths) == POLICIES[0]
    assert trial.values == [500.0, 1.5]
    assert trial.user_attrs["accuracy"] == 0.75
    assert trial.user_attrs["method"] == "exact"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)  # what is read is the same wherever it is kept
@pytest.mark.parametrize("attribute", [{"accuracy": "high"}, {"accuracy": None}, {"score": None}, {"score": True}])
def test_trials_that_others_wrote_into_the_storage_are_not_believed(url, attribute):
    storage = connect(url)
    ranges = {"a:weight_bits": optuna.distributions.IntDistribution(1, 8)}
    ranges["a:act_bits"] = ranges["a:weight_bits"]
    content = {"score": 1.5, "accuracy": 0.5, "seconds": 1.0, "fidelity": "short", "status": "ok", "note": ""}
    trial = optuna.trial.create_trial(
        values=[1.0, 2.0],
        params={"a:weight_bits": 4, "a:act_bits": 4},
        distributions=ranges,
        user_attrs={"record": content | attribute},
    )
    storage._study.add_trial(trial)
    storage.refresh()
    assert storage.find(Policy({"a": BitWidths(4, 4)})) is None


@pytest.mark.parametrize(
    "parameters", [{}, {"lr": 0.1}, {"a:weight_bits": 4}, {"a:weight_bits": 99, "a:act_bits": 4}, {":act_bits": 4}]
)
def test_parameters_of_other_studies_are_no_policies(parameters):
    assert read_policy(parameters) is None


def test_a_storage_that_is_not_there_is_one_clear_error_without_the_password(tmp_path):
    with pytest.raises(InputFileError, match=r"nothing/x.db: the storage of trials cannot be opened: unable") as caught:
        connect(f"sqlite:///{tmp_path / 'nothing' / 'x.db'}")
    assert caught.value.hint
    with pytest.raises(InputFileError, match="expected: a URL such as sqlite"):
        connect("somewhere")
    with pytest.raises(InputFileError) as caught:
        connect("postgresql+nosuch://me:secret@host/trials")
    assert "secret" not in str(caught.value)


def test_a_storage_beside_the_log_needs_a_log():
    space = resnet18_space()
    evaluator = SmoothEvaluator(space.layer_names)
    log = EvaluationLog(None, evaluator.problem)
    with (
        pytest.raises(ConfigError, match="no log is kept"),
        share(LocalMeasurer(evaluator), "sqlite", space, evaluator, log, 1),
    ):
        pass
