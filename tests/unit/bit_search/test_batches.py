"""Searches of several policies at once: who evaluates them, in what order, and who dies of it, changes no result."""

import dataclasses
import sys

import pytest
from fake_ray import FakeRay
from search_problem import SmoothEvaluator, SmoothRecipe, resnet18_space, search_at_once

from mho.bit_search.evaluation import FAILED
from mho.bit_search.log import EvaluationLog
from mho.bit_search.measurers import ATTEMPTS, MakeWork, library_versions
from mho.bit_search.runner import SearchLimits
from mho.bit_search.workers import Workers
from mho.errors import ConfigError, MhoError

NAMES = resnet18_space().layer_names


def plain(result):
    """The records without what depends on timing: how long they took, and which came into the log first."""
    return [dataclasses.replace(record, seconds=0.0, index=0) for record in result.records]


@pytest.mark.slow
def test_processes_find_what_one_process_finds_even_where_some_of_them_die(tmp_path):
    alone = search_at_once("exact", 10, 4)
    evaluator = SmoothEvaluator(NAMES)
    deadly = tuple(evaluator.seed_for(alone.records[number].policy) for number in (2, 6))
    recipe = SmoothRecipe(NAMES, deadly=deadly, tries=tmp_path / "tries", lives=2)
    log = EvaluationLog(tmp_path / "log.jsonl", evaluator.problem)
    together = search_at_once("exact", 10, 4, log=log, workers=Workers(2), recipe=recipe)
    assert plain(together) == plain(alone)
    assert len((tmp_path / "tries").read_text().splitlines()) == 4, "two deaths, and two lives after them"
    assert len(EvaluationLog(tmp_path / "log.jsonl", evaluator.problem)) == 10


def test_a_cluster_finds_what_one_process_finds_even_where_it_loses_workers(monkeypatch):
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    ray.processors, ray.lost = [3, 3, 2], {4, 7}
    together = search_at_once("evolution", 10, 4, workers=Workers(ray="local"))
    assert plain(together) == plain(search_at_once("evolution", 10, 4))
    assert ray.asked == 10 + 2
    assert ray.busiest == 3


@pytest.mark.slow
def test_a_policy_that_processes_always_die_of_has_failed_and_the_search_goes_on(tmp_path):
    alone = search_at_once("random", 5, 2)
    deadly = (SmoothEvaluator(NAMES).seed_for(alone.records[1].policy),)
    recipe = SmoothRecipe(NAMES, deadly=deadly, tries=tmp_path / "tries", lives=99)
    together = search_at_once("random", 5, 2, workers=Workers(2), recipe=recipe)
    died = together.records[1]
    assert (died.status, died.note) == (FAILED, f"a process ended with code -9, {ATTEMPTS} times")
    assert plain(together)[2:] == plain(alone)[2:]
    assert len((tmp_path / "tries").read_text().splitlines()) == ATTEMPTS


@pytest.mark.slow
def test_where_no_process_lives_nothing_is_logged(tmp_path):
    deadly = (SmoothEvaluator(NAMES).seed_for(resnet18_space().reference_policy),)
    recipe = SmoothRecipe(NAMES, deadly=deadly, tries=tmp_path / "tries", lives=99)
    log = EvaluationLog(None, SmoothEvaluator(NAMES).problem)
    with pytest.raises(MhoError, match=r"ended with code -9, 3 times: the reference policy could not be evaluated"):
        search_at_once("random", 5, 2, log=log, workers=Workers(2), recipe=recipe)
    assert len(log) == 0


@pytest.mark.parametrize(
    ("processes", "batch", "hint"), [(3, 2, "set batch to 3"), (0, 2, "1..2"), (2, 1, "batch to 2")]
)
def test_more_processes_than_policies_at_once_are_refused(processes, batch, hint):
    with pytest.raises(ConfigError, match=hint):
        search_at_once("random", 5, batch, workers=Workers(processes))


def test_a_batch_has_at_least_one_policy():
    with pytest.raises(ConfigError, match="batch is 0"):
        SearchLimits(5, batch=0)


def test_a_worker_of_other_versions_is_refused():
    with pytest.raises(ConfigError, match=r"a worker has mho .*\n  expected: mho 0.0.0"):
        MakeWork(SmoothRecipe(NAMES), library_versions() | {"mho": "0.0.0"})()
