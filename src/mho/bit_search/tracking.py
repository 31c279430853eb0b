"""Searches shown while they run: TensorBoard's event files, and Weights & Biases.

After an interruption a search tells all its evaluations again, from its log; what is shown is then that of a search
that was never interrupted.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mho.bit_search.goal import front_of, increase_unit
from mho.errors import ConfigError, MissingExtraError, file_errors

if TYPE_CHECKING:
    from mho.bit_search.search_state import SearchProgress


class Tracker(Protocol):
    """Shows figures of a search."""

    def show(self, step: int, figures: Mapping[str, float]) -> None:
        """Show figures by name after so many policies."""
        ...

    def close(self) -> None:
        """Be done."""
        ...


def figures_of(progress: SearchProgress) -> dict[str, float]:
    """Return what is shown after a policy.

    Cost, loss and accuracy (0..1) of the policy, uniform 8/8's cost over its own (the gain), its reward (that of `rl`,
    by all that is known by then) and its seconds, as far as it has them; the size of the Pareto front; cost, gain and
    accuracy of the best policy so far.
    """
    record, best, goal = progress.record, progress.best, progress.goal
    found = {"cost": float(record.cost), "gain": goal.reference_cost / record.cost, "seconds": record.seconds}
    if record.score is not None and record.accuracy is not None:
        increase = max(record.score - goal.reference_score, 0.0) / increase_unit(goal, progress.records)
        reward = float(goal.reward(increase, record.cost / goal.reference_cost))
        found |= {"loss": record.score, "accuracy": record.accuracy, "reward": reward}
    found["front/size"] = float(len(front_of(progress.records)))
    if best is not None and best.accuracy is not None:
        gain = goal.reference_cost / best.cost
        found |= {"best/cost": float(best.cost), "best/gain": gain, "best/accuracy": best.accuracy}
    return found


class TensorBoardTracker:
    """Writes event files into a folder, in the place of those that lie there.

    Raises:
        MissingExtraError: TensorBoard is not installed.
        InputFileError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        check_trackers(["tensorboard"])
        from torch.utils.tensorboard import SummaryWriter

        with file_errors(folder, "cannot be written"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
            self._writer: Any = SummaryWriter(str(folder))

    def show(self, step: int, figures: Mapping[str, float]) -> None:
        """Write figures."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WandbTracker:
    """Sends figures to Weights & Biases, or keeps them in a folder: `WANDB_MODE` and wandb's other variables decide.

    Args:
        folder: where wandb keeps its files.
        name: of the run.

    Raises:
        MissingExtraError: wandb is not installed.
        ConfigError: wandb cannot start, such as without a key.
    """

    def __init__(self, folder: Path, name: str) -> None:
        check_trackers(["wandb"])
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run: Any = wandb.init(project="mho", name=name, dir=str(folder))
        except wandb.errors.Error as error:
            raise ConfigError(
                f"Weights & Biases does not start: {str(error).splitlines()[0]}",
                where="search: wandb",
                hint="wandb login, or WANDB_MODE=offline to keep figures on this machine",
            ) from error

    def show(self, step: int, figures: Mapping[str, float]) -> None:
        """Send figures."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()


@contextmanager
def tracked(
    names: Sequence[str],
    folder: Path,
    run_name: str,
    on_progress: Callable[[SearchProgress], None],
) -> Iterator[Callable[[SearchProgress], None]]:
    """Return, as a context, what receives progress and shows it by trackers, too.

    Args:
        names: "tensorboard" or "wandb".
        folder: where trackers keep files, in folders of their names.
        run_name: of the search.
        on_progress: who receives it besides.
    """
    trackers: list[Tracker] = []

    def tell(progress: SearchProgress) -> None:
        figures = figures_of(progress)
        for tracker in trackers:
            tracker.show(progress.done, figures)
        on_progress(progress)

    try:
        for name in dict.fromkeys(names):
            place = folder / name / run_name
            if name == "tensorboard":
                trackers.append(TensorBoardTracker(place))
            else:
                trackers.append(WandbTracker(place, run_name))
        yield tell if trackers else on_progress
    finally:
        for tracker in trackers:
            tracker.close()


def check_trackers(names: Sequence[str]) -> None:
    """Check names of trackers against those that there are.

    Raises:
        MissingExtraError: one is not installed.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtraError(f"{name} is not installed", name) from error
