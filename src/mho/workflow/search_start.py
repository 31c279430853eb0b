"""What a search starts from beyond its own evaluations: a saved agent, earlier evaluations, cheap probes of layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mho.cache_folder import write_atomically
from mho.workflow.prepared import Prepared
from mho.workflow.search_settings import OWN_LOG, StartSettings
from mho.workflow.stage import Report

if TYPE_CHECKING:
    from mho.bit_search.evaluation import EvaluationRecord, Evaluator
    from mho.bit_search.log import EvaluationLog
    from mho.bit_search.methods import MethodOptions
    from mho.bit_search.sensitivity_probes import Probes
    from mho.bit_search.space import SearchSpace

AGENT_FILE, GIVEN_FILE, PROBES_FILE = "agent.safetensors", "given.jsonl", "probes.json"
_PROBE_BATCH = 128


def read_options(settings: StartSettings, prepared: Prepared, folder: Path, report: Report) -> MethodOptions:
    """Return the options of the method; probes are kept in `folder`.

    Raises:
        InputFileError: the saved agent cannot be read.
    """
    from mho.bit_search.agent_file import SavedAgent
    from mho.bit_search.learners import Algorithm
    from mho.bit_search.methods import MethodOptions

    saved = None if settings.agent is None else SavedAgent.load(settings.agent)
    probes = _probe(settings.probe_images, prepared, folder, report) if settings.probe_images else None
    return MethodOptions(
        algorithm=None if settings.algorithm is None else Algorithm(settings.algorithm),
        saved=saved,
        prior=None if probes is None else probes.prior(),
    )


def read_given(
    settings: StartSettings, own: EvaluationLog, evaluator: Evaluator, space: SearchSpace, folder: Path
) -> tuple[EvaluationRecord, ...]:
    """Return the records that a search is given; a copy of them is kept in `folder`, for a search that goes on.

    Raises:
        InputFileError: the log cannot be read.
        ConfigError: it is of another problem.
    """
    from mho.bit_search.log import EvaluationLog
    from mho.bit_search.warm_start import known_records, snapshot

    if settings.evaluations is None:
        return ()
    if settings.evaluations == OWN_LOG:
        source, where = own, "the run's evaluation log"
    else:
        where = str(settings.evaluations)
        source = EvaluationLog.read(where)
    return known_records(snapshot(source, folder / GIVEN_FILE), evaluator, space, where=where)


def _probe(images: int, prepared: Prepared, folder: Path, report: Report) -> Probes:
    """Return probes: those in the folder, or made now."""
    from mho.bit_search.sensitivity_probes import Probes, probe_layers

    path = folder / PROBES_FILE
    if path.exists():
        return Probes.read(path)
    split = prepared.material.dataset.calibration.spread(images)
    probes = probe_layers(
        prepared.trainable(),
        split,
        batch_size=_PROBE_BATCH,
        on_progress=lambda share: report(0.0, f"probing layers, {100 * share:.0f} %"),
    )
    write_atomically(path, (json.dumps(probes.to_json()) + "\n").encode())
    return probes
