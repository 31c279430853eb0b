"""What configuration files describe: whole runs, and studies of chips."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mho.api.arguments import Inputs
from mho.errors import MhoError

if TYPE_CHECKING:
    from mho.program.program import Program
    from mho.report.result import RunResult
    from mho.report.run_comparison_document import RunComparison
    from mho.report.study_document import StudyResult
    from mho.workflow.run import FinishedRun


def run(
    config: str | Path,
    *,
    directory: str | Path | None = None,
    data_root: str | Path | None = None,
    weights: str | Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
    fresh: bool = False,
    show_progress: bool = False,
) -> FinishedRun:
    """Train, search bit widths, compile, simulate and report, as a configuration says.

    What finished is kept: after an interruption the same call goes on where it was.

    Args:
        config: the TOML file.
        directory: where results go, instead of the file's.
        data_root: where the data lies, instead of the file's.
        weights: trained float weights (.safetensors), instead of the file's.
        processes: that evaluate policies, at most the search's batch; results do not depend on them. More than 1 import
            the calling script anew: keep what it does under ``if __name__ == "__main__":``.
        ray: address of a Ray cluster that evaluates policies: "host:port", "auto", or "local" for one on this machine.
        fresh: forget what earlier runs left in the directory.
        show_progress: print on standard output how far the work is.

    Returns:
        The `result`, and where its `page` and its `result_file` lie.

    Raises:
        MhoError: anything wrong with the files, or another run uses the directory.
    """
    from mho.workflow.config import load_config
    from mho.workflow.progress import show_progress as show
    from mho.workflow.run import run as run_all
    from mho.workflow.search_execution import SearchExecution

    settings = load_config(
        config, directory=_as_path(directory), data_root=_as_path(data_root), weights=_as_path(weights)
    )
    with show() if show_progress else nullcontext() as make_progress:
        return run_all(settings, fresh=fresh, make_progress=make_progress, execution=SearchExecution(processes, ray))


def read_result(run: str | Path) -> RunResult:
    """Read the figures of a finished run.

    Args:
        run: its directory, or its result.json.

    Raises:
        InputFileError: there is no result, or it cannot be read.
        ConfigError: it is of another version of the format.
    """
    from mho.workflow.run_comparison import read_run

    return read_run(run).result


def compare_runs(first: str | Path, second: str | Path) -> RunComparison:
    """Compare two finished runs: settings, policies, time, energy, accuracy, and which is better.

    Where both runs classified the same test samples, accuracies are compared sample by sample (McNemar's exact test),
    else as of different samples (Fisher's). Nothing is computed on the networks again.

    Args:
        first, second: run directories, or their result.json.

    Raises:
        InputFileError, ConfigError: as `read_result`.
    """
    from mho.workflow.run_comparison import compare_runs as compare
    from mho.workflow.run_comparison import read_run

    return compare(read_run(first), read_run(second))


def draw_run(run: RunResult | str | Path, file: str | Path) -> None:
    """Draw the headline figures of a finished run as a picture of 1200 x 630 pixels.

    Args:
        run: its result, its directory or its result.json.
        file: ends in .svg or .png.

    Raises:
        ConfigError: the file's name ends in something else.
        InputFileError: the result cannot be read, or the file not be written.
    """
    from mho.report.summary_image import write_summary

    write_summary(read_result(run) if isinstance(run, (str, Path)) else run, Path(file))


def study(
    study: Mapping[str, Any] | str | Path,
    *,
    program: Program | None = None,
    samples: tuple[Inputs, NDArray[Any]] | None = None,
    calibration: Inputs | None = None,
    directory: str | Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
    fresh: bool = False,
) -> StudyResult:
    """Sweep parameters of arrays and converters over chips of many seeds, as `mho study` does.

    Results are kept in the study's directory: called again, also with more points or seeds, it goes on where it was.

    Args:
        study: a study's TOML file, or the same tables as dictionaries; keys of sweeps and base may be dotted.
        program: what `mho.compile` made, instead of the table program.
        samples: inputs, as for `simulate`, and their labels, integers [N], instead of the tables data and samples.file.
        calibration: inputs on which calibrated ADCs find their ranges and channels are corrected, instead of
            calibration.file; calibration.images of them are taken.
        directory: where results go, instead of the study's own; studies/NAME where it names none.
        processes: that simulate chips, at least 1; results do not depend on them. None: this one, or all processors of
            a Ray cluster. More than 1 import the calling script anew: keep what it does under
            ``if __name__ == "__main__":``.
        ray: address of a Ray cluster that simulates them: "host:port", "auto", or "local" for one on this machine.
        fresh: forget what earlier studies left in the directory.

    Raises:
        MhoError: anything wrong with the arguments, before any chip is simulated; another study uses the directory.
    """
    from mho.evaluation.samples import LabelledSamples
    from mho.workflow.study import run_study
    from mho.workflow.study_config import load_study, study_from_json

    if isinstance(study, (str, Path)):
        where, config = str(study), load_study(study)
    else:
        where, config = "study", study_from_json(study, where="study")
    if processes is not None and processes < 1:
        raise MhoError(f"processes is {processes}", where="mho.study", expected="at least 1")
    return run_study(
        config,
        where=where,
        directory=_as_path(directory),
        processes=processes,
        ray=ray,
        fresh=fresh,
        program=program,
        samples=None if samples is None else LabelledSamples(*samples),
        calibration=calibration,
    ).result


def _as_path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
