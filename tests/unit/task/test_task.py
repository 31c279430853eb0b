"""Tasks: what suits what, and metrics and losses beside figures worked out by hand or by other libraries."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score

from mho.errors import ConfigError, DataError
from mho.task.losses import mean_loss, sample_losses
from mho.task.metrics import METRICS
from mho.task.task import CLASSIFICATION, Measures, Task

GENERATOR = np.random.default_rng(0)
TASKS = {
    "classification": (Task(), (9, 4), (9,)),
    "multi-label": (Task("multi-label"), (9, 5), (9, 5)),
    "exact-match": (Task("multi-label", metric_name="exact-match"), (9, 5), (9, 5)),
    "mse": (Task("regression"), (9, 2, 3), (9, 2, 3)),
    "mae": (Task("regression", "mean-absolute-error", "mae"), (9, 2, 3), (9, 2, 3)),
    "snr": (Task("regression", metric_name="snr"), (9, 2, 3), (9, 2, 3)),
    "segmentation": (Task("segmentation", ignored_label=255), (9, 3, 4, 4), (9, 4, 4)),
    "sequence": (Task("sequence-labelling"), (9, 6, 5), (9, 6)),
    "language": (Task("language-modelling"), (9, 6, 5), (9, 6)),
}


def draw(name):
    task, outputs, targets = TASKS[name]
    found = GENERATOR.normal(size=outputs).astype(np.float32)
    if task.has_classes:
        true = GENERATOR.integers(0, task.count_classes(outputs), targets)
        return task, found, np.where(GENERATOR.random(targets) < 0.1, 255, true) if task.ignored_label else true
    true = GENERATOR.integers(0, 2, targets) if task.kind == "multi-label" else GENERATOR.normal(size=targets)
    return task, found, true.astype(np.float32)


@pytest.mark.parametrize("name", TASKS)
def test_measures_of_batches_are_those_of_all_samples_and_losses_those_of_torch(name):
    task, outputs, targets = draw(name)
    targets = task.as_targets(targets, where="test")
    task.check_outputs(outputs.shape, targets.shape, where="test")
    parts = [task.measure(outputs[part], targets[part]) for part in (slice(0, 4), slice(4, 9))]
    assert Measures.join(parts).quality == task.measure(outputs, targets).quality
    losses = sample_losses(task, outputs, targets)
    each = [mean_loss(task, *(torch.tensor(one[k : k + 1]) for one in (outputs, targets))) for k in range(9)]
    assert losses == pytest.approx([float(loss) for loss in each], rel=1e-5)


def test_metrics_are_those_of_other_libraries():
    task, outputs, targets = draw("segmentation")
    kept = targets != 255
    found, true = outputs.argmax(axis=1)[kept], targets[kept]
    assert task.measure(outputs, targets).quality == pytest.approx(jaccard_score(true, found, average="macro"))
    task, outputs, targets = draw("multi-label")
    assert task.measure(outputs, targets).quality == pytest.approx(f1_score(targets, outputs > 0, average="micro"))
    task, outputs, targets = draw("language")
    scores = torch.tensor(outputs).flatten(0, 1), torch.tensor(targets).flatten()
    assert -task.measure(outputs, targets).quality == pytest.approx(
        float(torch.exp(torch.nn.functional.cross_entropy(*scores)))
    )
    task, outputs, targets = draw("snr")
    ratio = np.square(targets, dtype=np.float64).sum() / np.square(targets.astype(np.float64) - outputs).sum()
    assert task.measure(outputs, targets).quality == pytest.approx(10 * np.log10(ratio))
    assert task.measure(targets, targets).quality == 200.0  # dB, instead of infinitely many


def test_the_jackknife_gives_the_standard_error_of_a_mean():
    task, outputs, targets = draw("mse")
    errors = np.square(outputs - targets.astype(np.float64)).mean(axis=(1, 2))
    assert task.measure(outputs, targets).standard_error == pytest.approx(errors.std(ddof=1) / 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("output", "target", "quality"),
    [(1.0, 0.0, -np.inf), (np.inf, 1.0, -np.inf), (np.nan, 1.0, np.nan)],
    ids=["no signal", "infinite noise", "no numbers"],
)
def test_the_error_of_a_ratio_that_is_not_finite_is_unknown(output, target, quality):
    samples = (np.full((3, 2), value, dtype=np.float32) for value in (output, target))
    measured = TASKS["snr"][0].measure(*samples)
    assert (measured.quality, measured.standard_error) == (pytest.approx(quality, nan_ok=True), 0.0)


def test_less_is_better_of_errors():
    metric = Task("regression").metric
    assert metric.shown(-0.25) == 0.25
    assert (metric.format(-0.25), metric.tell_side(0.1), metric.drop_unit) == ("0.25", "above", "")
    assert CLASSIFICATION.metric.format(0.976) == "97.60 %"
    assert METRICS["snr"].format_drop(0.3) == "0.30 dB"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "detection"}, "unknown kind"),
        ({"kind": "regression", "loss": "cross-entropy"}, "for regression"),
        ({"metric_name": "mse"}, "'mse' for classification"),
        ({"kind": "segmentation", "metric_name": "mean_iou"}, "did you mean 'mean-iou'"),
        ({"kind": "custom"}, "no loss"),
        ({"better": "less"}, "has its own|task.better"),
        ({"unit": "dB"}, "task.unit"),
        ({"ignored_label": 0}, "ignored_label"),
        ({"metric_name": "metrics.py:f"}, "task.better is None"),
    ],
)
def test_what_does_not_fit_together_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Task(**options)


@pytest.mark.parametrize(
    ("task", "targets"),
    [
        (Task("regression"), np.array([[np.nan]])),
        (Task("regression"), np.array(["a"])),
        (Task("regression"), np.array([[1e300]])),
        (Task("multi-label"), np.array([[0.5]])),
        (Task("segmentation"), np.zeros((2, 3, 3))),
        (Task("segmentation"), np.zeros(2, dtype=int)),
        (Task(), np.zeros((2, 2), dtype=int)),
    ],
)
def test_targets_of_other_kinds_are_refused(task, targets):
    with pytest.raises(DataError):
        task.as_targets(targets, where="test")


def test_outputs_of_other_shapes_are_refused():
    with pytest.raises(DataError, match="for segmentation"):
        Task("segmentation").check_outputs((2, 3, 4, 4), (2, 4, 5), where="test")


def test_functions_of_the_user_are_called(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "def loss(outputs, targets):\n    return (outputs - targets).abs().mean()\n"
        "def worst(outputs, targets):\n    return abs(outputs - targets).max()\n"
        "def broken(outputs, targets):\n    return float('nan')\n"
    )
    task = Task("custom", "own.py:loss", "own.py:worst", "V", "less").resolved(tmp_path)
    outputs, targets = np.float32([[1, 2], [3, 4]]), np.float32([[1, 1], [3, 0]])
    assert task.measure(outputs, targets).quality == -4.0
    assert task.metric.format(-4.0) == "4 V"
    assert sample_losses(task, outputs, targets) == pytest.approx([0.5, 2.0])
    assert str(tmp_path) not in str(task.to_json())
    assert (
        Task.from_json(task.to_json(), where="test").metric
        == Task("custom", "own.py:loss", "own.py:worst", "V", "less").metric
    )
    broken = Task("custom", f"{file}:loss", f"{file}:broken", "", "less")
    with pytest.raises(ConfigError, match="returned nan"):
        _ = broken.measure(outputs, targets).quality


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("float('nan')", "returned nan"),
        ("'good'", "returned 'good'"),
        ("None", "returned None"),
        ("outputs", r"returned float32 of shape \[2, 2\]"),
        ("1 + 2j", r"returned \(1\+2j\)"),
        ("outputs.absent", "has no attribute 'absent'"),
    ],
)
def test_a_metric_that_gives_no_number_is_named(tmp_path, body, expected):
    (tmp_path / "own.py").write_text(f"def metric(outputs, targets):\n    return {body}\n")
    name = f"{tmp_path / 'own.py'}:metric"
    task = Task("regression", metric_name=name, better="more")
    with pytest.raises(ConfigError, match=expected) as caught:
        _ = task.measure(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)).quality
    assert caught.value.where == name


@pytest.mark.parametrize("body", ["outputs.mean().item()", "outputs", "None"])
def test_a_loss_that_is_no_scalar_tensor_is_named(tmp_path, body):
    (tmp_path / "own.py").write_text(f"def loss(outputs, targets):\n    return {body}\n")
    task = Task("regression", f"{tmp_path / 'own.py'}:loss")
    with pytest.raises(ConfigError, match="returned"):
        sample_losses(task, np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32))
