"""Records of metrics: each is complete, and its direction, limits and kinds are true of what it computes."""

import math
import pickle
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import mho
from mho.task.kinds import KINDS, TaskKind
from mho.task.metrics import METRICS, metrics_of
from mho.task.settings import TaskSettings
from mho.task.task import Measures, Task

USES = [(name, kind) for name, metric in METRICS.items() for kind in (*metric.usual_for, *metric.suits)]
SHAPES = {
    "classification": ((12, 4), (12,)),
    "multi-label": ((12, 5), (12, 5)),
    "regression": ((12, 2, 3), (12, 2, 3)),
    "segmentation": ((12, 3, 4, 4), (12, 4, 4)),
    "sequence-labelling": ((12, 6, 5), (12, 6)),
    "language-modelling": ((12, 6, 5), (12, 6)),
}


def draw(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return outputs that are good, worse ones, and the targets of both."""
    generator = np.random.default_rng(0)
    outputs, targets = SHAPES[task.kind]
    if (axis := task.class_axis) is not None:
        true = generator.integers(0, outputs[axis], targets)
        good = np.moveaxis(np.eye(outputs[axis])[true], -1, axis)
    else:
        true = generator.integers(0, 2, targets)
        good = true - 0.5 if task.kind == "multi-label" else true
    noise = generator.normal(size=outputs)
    near, far = good + 0.05 * noise, good + noise
    return near.astype(np.float32), far.astype(np.float32), task.as_targets(true, where="test")


@pytest.mark.parametrize("name", METRICS)
def test_a_record_is_complete(name: str) -> None:
    """The constructor asks for rows and value of their sums; the rest has defaults, which must be meant."""
    metric = METRICS[name]
    assert metric.name == name
    assert metric.words == metric.words.strip() != ""
    kinds = (*metric.usual_for, *metric.suits)
    assert kinds
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) <= set(get_args(TaskKind)) - {"custom"}
    assert (metric.unit == "%") == (metric.scale == 100)
    assert math.isfinite(metric.worst) == (metric.unit == "%")
    assert pickle.loads(pickle.dumps(metric)) == metric  # workers are given tasks with their metrics
    assert f"`{name}`" in str(TaskSettings.model_fields["metric"].description)


def test_each_kind_has_one_usual_metric_and_the_documentation_lists_those_that_suit_it() -> None:
    for kind in KINDS:
        assert [kind in metric.usual_for for metric in METRICS.values()].count(True) == (kind != "custom"), kind
    page = (Path(mho.__file__).parents[2] / "docs" / "runs.md").read_text(encoding="utf-8")
    for kind in set(KINDS) - {"custom"}:
        row = re.search(rf"^\| `{kind}` \|.*$", page, re.M)
        assert row is not None
        assert tuple(re.findall(r"`([\w-]+)`", row[0].split("|")[-2])) == metrics_of(kind)


@pytest.mark.parametrize(("name", "kind"), USES)
def test_a_metric_prefers_the_better_outputs_and_adds_over_batches(name: str, kind: TaskKind) -> None:
    task = Task(kind, metric_name=name)
    good, bad, targets = draw(task)
    better, worse = (task.measure(outputs, targets) for outputs in (good, bad))
    assert better.quality > worse.quality >= task.metric.worst
    assert task.metric.shown(better.quality) >= 0 or name == "snr"
    halves = [task.measure(good[part], targets[part]) for part in (slice(5), slice(5, 12))]
    assert Measures.join(halves).quality == better.quality
    assert better.standard_error >= 0
    assert worse.standard_error > 0
    assert task.metric.unit in task.metric.format(worse.quality)


@pytest.mark.parametrize(("name", "kind"), [use for use in USES if KINDS[use[1]].has_positions])
def test_positions_that_do_not_count_change_nothing(name: str, kind: TaskKind) -> None:
    task = Task(kind, metric_name=name, ignored_label=255)
    good, bad, targets = draw(task)
    ignored = np.random.default_rng(1).random(targets.shape) < 0.3
    some = np.where(ignored, 255, targets)
    mixed = np.where(np.expand_dims(ignored, task.class_axis or 1), bad, good)
    assert task.measure(mixed, some).quality == task.measure(good, some).quality
