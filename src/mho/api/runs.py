"""What configuration files describe: whole runs, searches of one or several networks, and studies of chips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from mho.api.arguments import as_inputs, as_labelled, as_program
from mho.argument_checks import check_arguments
from mho.errors import MhoError
from mho.progress import OnProgress, Progress

if TYPE_CHECKING:
    from mho.api.arguments import Inputs, Samples
    from mho.program.program import Program
    from mho.report.result import RunResult
    from mho.report.run_comparison_document import RunComparison
    from mho.report.study_document import StudyResult
    from mho.workflow.mix import MixOutcome
    from mho.workflow.run import FinishedRun
    from mho.workflow.search_run import SearchOutcome


@check_arguments()
def run(
    config: str | Path,
    *,
    directory: str | Path | None = None,
    data_root: str | Path | None = None,
    weights: str | Path | None = None,
    policy: str | Path | None = None,
    accelerator: Mapping[str, Any] | None = None,
    processes: int | None = None,
    ray: str | None = None,
    fresh: bool = False,
    show_progress: bool = False,
    on_progress: OnProgress | None = None,
) -> FinishedRun:
    """Train, search bit widths, compile, simulate and report, as a configuration says.

    What finished is kept: after an interruption the same call goes on where it was. Where no policy keeps the goal, or
    the search fails, the run ends with the nearest policy that was evaluated, and says so (`result.search.missed`,
    `result.search.failed`).

    Args:
        config: the TOML file.
        directory: where results go, instead of the file's.
        data_root: where the data lies, instead of the file's.
        weights: trained float weights (.safetensors), instead of the file's.
        policy: a policy file (JSON): trained, compiled and simulated instead of a searched one.
        accelerator: keys of its table [accelerator] that have other values here, such as ``{"max_error": 0.2}``.
        processes: that evaluate policies, at most the search's batch; results do not depend on them. More than 1 import
            the calling script anew: keep what it does under ``if __name__ == "__main__":``.
        ray: address of a Ray cluster that evaluates policies: "host:port", "auto", or "local" for one on this machine.
        fresh: forget what earlier runs left in the directory.
        show_progress: print on standard output how far the work is.
        on_progress: called with a `Progress` as the work goes on.

    Returns:
        The `result`, and where its `page` and its `result_file` lie.

    Raises:
        MhoError: anything wrong with the files, or another run uses the directory.
    """
    from mho.workflow.config import load_config
    from mho.workflow.progress import follow_progress
    from mho.workflow.run import run as run_all
    from mho.workflow.search_execution import SearchExecution

    settings = load_config(
        config,
        directory=_as_path(directory),
        data_root=_as_path(data_root),
        weights=_as_path(weights),
        policy=_as_path(policy),
        accelerator=accelerator,
    )
    with follow_progress(on_progress, is_shown=show_progress) as make_progress:
        return run_all(settings, fresh=fresh, make_progress=make_progress, execution=SearchExecution(processes, ray))


@check_arguments()
def read_result(run: str | Path) -> RunResult:
    """Read the figures of a finished run.

    Args:
        run: its directory, or its result.json.

    Raises:
        InputFileError: there is no result, or it cannot be read.
        ConfigError: it is of another version of the format.
    """
    from mho.workflow.finished_runs import read_run

    return read_run(run).result


@check_arguments()
def compare_runs(first: str | Path, second: str | Path) -> RunComparison:
    """Compare two finished runs: settings, policies, time, energy, accuracy, and which is better.

    Where both runs classified the same test samples, accuracies are compared sample by sample (McNemar's exact test),
    else as of different samples (Fisher's). Nothing is computed on the networks again.

    Args:
        first, second: run directories, or their result.json.

    Raises:
        InputFileError, ConfigError: as `read_result`.
    """
    from mho.workflow.finished_runs import read_run
    from mho.workflow.run_comparison import compare_runs as compare

    return compare(read_run(first), read_run(second))


@check_arguments()
def draw_run(run: RunResult | str | Path, file: str | Path) -> None:
    """Draw the headline figures of a finished run as a picture of 1200 x 630 pixels.

    Args:
        run: its result, its directory or its result.json.
        file: ends in .svg or .png.

    Raises:
        ConfigError: the file's name ends in something else.
        InputFileError: the result cannot be read, or the file not be written.
    """
    from mho.report.result import RunResult
    from mho.report.summary_image import write_summary

    result = read_result(run) if isinstance(run, (str, Path)) else run
    if not isinstance(result, RunResult):
        raise MhoError(f"a {type(run).__name__} is no run", where="mho.draw_run", expected="a result, or where it lies")
    write_summary(result, Path(file))


@check_arguments()
def search_config(
    config: str | Path,
    *,
    search: Mapping[str, Any] | None = None,
    explain: bool = False,
    directory: str | Path | None = None,
    data_root: str | Path | None = None,
    weights: str | Path | None = None,
    accelerator: Mapping[str, Any] | None = None,
    processes: int | None = None,
    ray: str | None = None,
    show_progress: bool = False,
    on_progress: OnProgress | None = None,
) -> SearchOutcome:
    """Search the bit widths of a run's configuration, without training and compiling the best policy.

    Evaluations are kept in the run's directory, and shared by all methods and objectives: after an interruption the
    same call goes on where it was.

    Args:
        config: the TOML file.
        search: keys of its table [search] that have other values here, such as ``{"method": "exact", "budget": 40}``.
        explain: find what one bit more or less of each layer of the best policy would cost and gain.
        directory, data_root, weights, accelerator, processes, ray, show_progress, on_progress: as for `run`.

    Raises:
        MhoError: anything wrong with the files, or another run uses the directory.
    """
    from mho.workflow.config import load_config
    from mho.workflow.progress import follow_progress
    from mho.workflow.search_execution import SearchExecution
    from mho.workflow.search_run import search_alone, with_search

    settings = load_config(
        config,
        directory=_as_path(directory),
        data_root=_as_path(data_root),
        weights=_as_path(weights),
        accelerator=accelerator,
    )
    settings = with_search(settings, search or {})
    with follow_progress(on_progress, is_shown=show_progress) as make_progress:
        execution = SearchExecution(processes, ray)
        return search_alone(settings, make_progress=make_progress, execution=execution, explain=explain)


@check_arguments()
def mix(
    config: str | Path,
    *,
    directory: str | Path | None = None,
    data_root: str | Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
    show_progress: bool = False,
    on_progress: OnProgress | None = None,
) -> MixOutcome:
    """Search the bit widths of several networks that share an accelerator together, as `mho mix` does.

    Each network is trained and calibrated in the directory of its own run, where its evaluations are kept too: after an
    interruption the same call goes on where it was.

    Args:
        config: the TOML file, which names the file of each network's run.
        directory: where results go, instead of the file's.
        data_root: where the data of all networks lies, instead of their files'.
        processes, ray, show_progress, on_progress: as for `run`.

    Raises:
        MhoError: anything wrong with the files, or another run uses one of the directories.
    """
    from mho.workflow.mix import search_mix
    from mho.workflow.mix_config import load_mix
    from mho.workflow.progress import follow_progress
    from mho.workflow.search_execution import SearchExecution

    settings = load_mix(config, directory=_as_path(directory))
    with follow_progress(on_progress, is_shown=show_progress) as make_progress:
        return search_mix(
            settings,
            data_root=_as_path(data_root),
            make_progress=make_progress,
            execution=SearchExecution(processes, ray),
        )


@check_arguments()
def study(
    study: Mapping[str, Any] | str | Path,
    *,
    program: Program | str | Path | None = None,
    samples: Samples | None = None,
    calibration: Inputs | None = None,
    directory: str | Path | None = None,
    data_root: str | Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
    fresh: bool = False,
    on_progress: OnProgress | None = None,
) -> StudyResult:
    """Sweep parameters of arrays and converters over chips of many seeds, as `mho study` does.

    Results are kept in the study's directory: called again, also with more points or seeds, it goes on where it was.

    Args:
        study: a study's TOML file, or the same tables as dictionaries; keys of sweeps and base may be dotted.
        program: what `mho.compile` made, or a .mho file, instead of the table program.
        samples: inputs, as for `simulate`, and their labels, integers [N], or a torch DataLoader of both, instead of
            the tables data and samples.file.
        calibration: inputs on which calibrated ADCs find their ranges and channels are corrected, instead of
            calibration.file; calibration.images of them are taken.
        directory: where results go, instead of the study's own; studies/NAME where it names none.
        data_root: where the data lies, instead of the file's.
        processes: that simulate chips, at least 1; results do not depend on them. None: this one, or all processors of
            a Ray cluster. More than 1 import the calling script anew: keep what it does under
            ``if __name__ == "__main__":``.
        ray: address of a Ray cluster that simulates them: "host:port", "auto", or "local" for one on this machine.
        fresh: forget what earlier studies left in the directory.
        on_progress: called with a `Progress` after each chip.

    Raises:
        MhoError: anything wrong with the arguments, before any chip is simulated; another study uses the directory.
    """
    from mho.workflow.study import run_study
    from mho.workflow.study_config import load_study, study_from_json

    if isinstance(study, (str, Path)):
        where, config = str(study), load_study(study, data_root=_as_path(data_root))
    else:
        if data_root is not None:
            raise MhoError("data_root is of a study's file", where="mho.study", hint="say data.root in the tables")
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
        on_chip=None if on_progress is None else _report_chips(on_progress),
        program=None if program is None else as_program(program),
        samples=None if samples is None else as_labelled(samples),
        calibration=None if calibration is None else as_inputs(calibration, where="calibration"),
    ).result


def _report_chips(on_progress: OnProgress) -> Callable[[int, int], None]:
    """Return what reports chips as they are done."""
    from mho.workflow.progress import LEAST_SHARE

    start, first = 0.0, 0

    def report(done: int, total: int) -> None:
        nonlocal start, first
        if not first:
            start, first = monotonic(), done  # it took longer: it waited for what is loaded once
        worked = done - first
        left = None if worked <= LEAST_SHARE * total else (monotonic() - start) * (total - done) / worked
        detail, share = f"{done:,} of {total:,} chips", done / total
        on_progress(Progress("chips", "Simulate chips", share, detail, share, left, is_finished=done == total))

    return report


def _as_path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
