"""What long calls would do and roughly how long they would take: everything is checked, and nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.api.accelerators import compare

if TYPE_CHECKING:
    from mho.hardware.spec import Accelerator
    from mho.network.graph import Network
    from mho.policy import Policy
    from mho.workflow.dry_run import DryRun


def check_run(
    config: str | Path,
    *,
    processes: int | None = None,
    ray: str | None = None,
    fresh: bool = False,
    **places: Any,
) -> DryRun:
    """Check a run: arguments and errors are those of `mho.run`.

    Args:
        config, processes, ray, fresh: as for `mho.run`.
        places: its directory, data_root, weights, policy and accelerator.
    """
    from mho.workflow.config import load_config
    from mho.workflow.dry_run import check_run as check
    from mho.workflow.search_execution import SearchExecution

    return check(load_config(config, **places), execution=SearchExecution(processes, ray), fresh=fresh)


def check_search(
    config: str | Path,
    *,
    search: Mapping[str, Any] | None = None,
    processes: int | None = None,
    ray: str | None = None,
    **places: Any,
) -> DryRun:
    """Check a search alone: arguments and errors are those of `mho.search_config`.

    Args:
        config, search, processes, ray: as for `mho.search_config`.
        places: its directory, data_root, weights and accelerator.
    """
    from mho.workflow.config import load_config
    from mho.workflow.dry_run import check_search_alone
    from mho.workflow.search_execution import SearchExecution
    from mho.workflow.search_run import with_search

    settings = with_search(load_config(config, **places), search or {})
    return check_search_alone(settings, execution=SearchExecution(processes, ray))


def check_mix(
    config: str | Path,
    *,
    directory: Path | None = None,
    data_root: Path | None = None,
    processes: int | None = None,
    ray: str | None = None,
) -> DryRun:
    """Check the search of a mix. Raises `MhoError` for what `mho mix` refuses."""
    from mho.workflow.dry_run import check_mix as check
    from mho.workflow.mix_config import load_mix
    from mho.workflow.search_execution import SearchExecution

    return check(load_mix(config, directory=directory), data_root=data_root, execution=SearchExecution(processes, ray))


def check_study(
    config: str | Path, *, fresh: bool = False, processes: int | None = None, ray: str | None = None, **places: Any
) -> DryRun:
    """Check a study: arguments and errors are those of `mho.study`; `places` are its directory and data_root."""
    from mho.workflow.study_config import load_study
    from mho.workflow.study_dry_run import check_study as check

    return check(load_study(config, **places), where=str(config), processes=processes, ray=ray, fresh=fresh)


_MEASURED_SAMPLES = 16


def check_compare(
    network: Network, accelerators: Sequence[Accelerator], policy: Policy, options: Mapping[str, Any]
) -> DryRun:
    """Check a comparison by doing it for the first accelerator, with a few samples.

    Args:
        network, accelerators, policy: as for `mho.compare`.
        options: the other arguments of `mho.compare`; `samples` as a file.
    """
    from mho.evaluation.samples import read_samples
    from mho.workflow.dry_run import DryRun, Step

    alone = ("crossbars", "mapping", "batch", "simulate")
    seconds = _time_comparison(network, accelerators[0], policy, {key: options[key] for key in alone})
    facts = {
        "network": f"{network.name}: {len(network.layer_names)} MVM layers",
        "accelerators": ", ".join(f"{one.name} ({one.chip.crossbars:,} crossbars)" for one in accelerators),
    }
    if "samples" in options:
        labelled, chips = read_samples(options["samples"]), options["chips"]
        count, inputs = min(_MEASURED_SAMPLES, len(labelled)), labelled.inputs
        assert isinstance(inputs, Mapping), "files hold arrays by name"
        some = {name: array[:count] for name, array in inputs.items()}, labelled.labels[:count]
        times = 1 if options["elapsed_s"] is None else 2
        facts["samples"] = f"{len(labelled):,} on {chips} chips of each, {times} times"
        measured = _time_comparison(network, accelerators[0], policy, {**options, "samples": some, "chips": 1})
        seconds += max(0.0, measured - seconds) * chips * len(labelled) / count
    steps = tuple(Step(one.name, seconds) for one in accelerators)
    return DryRun(facts, steps, "what the first accelerator takes with a few samples, measured here")


def _time_comparison(network: Network, accelerator: Accelerator, policy: Policy, options: Mapping[str, Any]) -> float:
    start = time.perf_counter()
    compare(network, [accelerator], policy, **options)
    return time.perf_counter() - start
