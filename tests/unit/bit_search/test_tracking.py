"""What is shown of a search while it runs, and by what."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from search_problem import search

from mho.bit_search.goal import front_of
from mho.bit_search.tracking import TensorBoardTracker, WandbTracker, check_trackers, figures_of, tracked
from mho.errors import ConfigError, MissingExtraError


class FakeWriter:
    made = None

    def __init__(self, folder):
        FakeWriter.made, self.folder, self.scalars, self.is_closed = self, folder, [], False

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def close(self):
        self.is_closed = True


@pytest.fixture
def tensorboard(monkeypatch):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = FakeWriter
    monkeypatch.setitem(sys.modules, "tensorboard", ModuleType("tensorboard"))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)


class FakeWandb(ModuleType):
    def __init__(self):
        super().__init__("wandb")
        self.options, self.logged, self.is_finished = None, [], False
        self.errors = SimpleNamespace(Error=type("Error", (Exception,), {}))
        self.fails = False

    def init(self, **options):
        if self.fails:
            raise self.errors.Error("api_key not configured (no-tty).\nlong story")
        self.options = options
        return SimpleNamespace(log=lambda figures, step: self.logged.append((step, figures)), finish=self.finish)

    def finish(self):
        self.is_finished = True


@pytest.fixture
def wandb(monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_figures_are_those_of_the_search():
    seen = []
    result = search("random", 12, on_progress=lambda progress: seen.append((progress, figures_of(progress))))
    assert len(seen) == 12
    progress, last = seen[-1]
    record, best = result.records[-1], result.require_best()
    assert (last["cost"], last["loss"], last["accuracy"]) == (record.cost, record.score, record.accuracy)
    assert last["gain"] == pytest.approx(result.goal.reference_cost / record.cost)
    assert (last["best/cost"], last["best/accuracy"]) == (best.cost, best.accuracy)
    assert last["best/gain"] == pytest.approx(result.goal.reference_cost / best.cost)
    assert last["front/size"] == len(front_of(result.records))
    assert progress.records == result.records
    reference = seen[0][1]
    assert reference["gain"] == 1.0
    assert reference["reward"] == pytest.approx(0.0, abs=1e-4), "nothing gained, nothing lost"
    rewards = {one.record.policy: figures["reward"] for one, figures in seen}
    ruined = max(result.records, key=lambda one: one.score)
    assert rewards[ruined.policy] < 0.0 <= rewards[best.policy]


def test_a_failed_policy_has_neither_loss_nor_reward():
    import dataclasses

    seen = []
    search("random", 3, on_progress=seen.append)
    failed = dataclasses.replace(seen[-1].record, score=None, accuracy=None, status="failed")
    records = (*seen[-1].records[:-1], failed)
    figures = figures_of(dataclasses.replace(seen[-1], record=failed, records=records, best=None))
    assert set(figures) == {"cost", "gain", "seconds", "front/size"}


def test_all_trackers_and_other_receivers_see_every_policy(tensorboard, wandb, tmp_path):
    listed = []
    (tmp_path / "tensorboard" / "mine").mkdir(parents=True)
    (tmp_path / "tensorboard" / "mine" / "old").touch()
    with tracked(["tensorboard", "wandb"], tmp_path, "mine", listed.append) as tell:
        search("random", 5, on_progress=tell)
    assert [progress.done for progress in listed] == [1, 2, 3, 4, 5]
    writer = FakeWriter.made
    assert writer.is_closed
    assert writer.folder == str(tmp_path / "tensorboard" / "mine")
    assert wandb.is_finished
    assert [value for name, value, _ in writer.scalars if name == "cost"] == [one.record.cost for one in listed]
    assert [step for step, _ in wandb.logged] == [1, 2, 3, 4, 5]
    assert wandb.logged[-1][1] == figures_of(listed[-1])
    assert wandb.options == {"project": "mho", "name": "mine", "dir": str(tmp_path / "wandb" / "mine")}
    assert not (tmp_path / "tensorboard" / "mine" / "old").exists(), "an interrupted search is shown once"


def test_without_trackers_nothing_is_computed_or_written(tmp_path):
    def on_progress(progress):
        return None

    with tracked([], tmp_path / "none", "mine", on_progress) as tell:
        assert tell is on_progress
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_what_is_not_installed_names_its_extra(name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, name, None)
    tracker = {"tensorboard": lambda: TensorBoardTracker(tmp_path), "wandb": lambda: WandbTracker(tmp_path, "mine")}
    for act in (lambda: check_trackers([name]), tracker[name]):
        with pytest.raises(MissingExtraError, match=rf"pip install -e '\.\[{name}\]'"):
            act()


def test_where_wandb_does_not_start_the_error_says_what_to_do(wandb, tmp_path):
    wandb.fails = True
    with pytest.raises(ConfigError, match=r"api_key not configured \(no-tty\).\n  hint: wandb login") as caught:
        WandbTracker(tmp_path, "mine")
    assert "long story" not in str(caught.value)


def test_event_files_of_the_real_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tracked(["tensorboard"], tmp_path, "mine", lambda _: None) as tell:
        result = search("random", 4, on_progress=tell)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "mine"))
    events.Reload()
    costs = events.Scalars("cost")
    assert [event.step for event in costs] == [1, 2, 3, 4]
    assert [event.value for event in costs] == pytest.approx([one.cost for one in result.records], rel=1e-6)


def test_the_real_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with tracked(["wandb"], tmp_path, "mine", lambda _: None) as tell:
        search("random", 4, on_progress=tell)
    assert list((tmp_path / "wandb" / "mine").rglob("*.wandb"))
