"""What a search starts from beyond its own evaluations: a saved agent, earlier evaluations, cheap probes of layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from mho.cache_folder import write_atomically
from mho.errors import ConfigError
from mho.frozen_model import FrozenModel
from mho.input_files import hash_file
from mho.workflow.stage import Report

if TYPE_CHECKING:
    from mho.bit_search.evaluation import EvaluationRecord, Evaluator
    from mho.bit_search.log import EvaluationLog
    from mho.bit_search.methods import MethodOptions
    from mho.bit_search.sensitivity_probes import Probes
    from mho.bit_search.space import SearchSpace
    from mho.workflow.policy_stages import Prepared

AGENT_FILE, GIVEN_FILE, PROBES_FILE = "agent.safetensors", "given.jsonl", "probes.json"
OWN_LOG: Literal["log"] = "log"
_PROBE_BATCH = 128


class StartSettings(FrozenModel):
    """What a search starts from."""

    algorithm: Literal["ddpg", "td3", "sac", "ppo"] | None = None
    """How the agent of `rl` learns. Left out: as the saved agent, else `ddpg`."""
    agent: Path | None = None
    """An agent that an earlier search with `rl` saved (.safetensors), of this network or another one."""
    evaluations: Literal["log"] | Path | None = None
    """Evaluations of earlier searches to learn from, which do not count into the budget: an evaluation log (.jsonl) of
    the same network, training and data, for whatever accelerator, or "log": what this run's own log holds already."""
    probe_images: int = Field(default=0, ge=0, le=100_000)
    """On how many images of the calibration split the sensitivity of each layer is told by forward passes before the
    search; 0: it is not."""

    def told(self) -> tuple[str, ...]:
        """Return the keys that differ from their defaults."""
        return tuple(self.model_dump(exclude_defaults=True))

    def check_method(self, method: str) -> None:
        """Raise `ValueError` where the method cannot start from one of these."""
        from mho.bit_search.methods import AUTO, SUPPORTS_WARM_START, takers_of

        for key, is_given, takers in (
            ("algorithm", self.algorithm is not None, takers_of("algorithm")),
            ("agent", self.agent is not None, takers_of("saved")),
            ("evaluations", self.evaluations is not None, SUPPORTS_WARM_START),
            ("probe_images", self.probe_images > 0, takers_of("knowledge")),
        ):
            if is_given and method not in (*takers, AUTO):
                raise ValueError(f"start.{key} is for the methods {', '.join(takers)}, and not for {method}")

    def check_files(self) -> None:
        """Read the files, before hours of training.

        Raises:
            InputFileError: one is missing, damaged or something else.
            ConfigError: the agent learned by another algorithm.
        """
        from mho.bit_search.agent_file import SavedAgent
        from mho.bit_search.log import EvaluationLog

        if self.agent is not None:
            learned = SavedAgent.load(self.agent).algorithm
            if self.algorithm not in (None, learned):
                raise ConfigError(
                    f"the agent learned by {learned}, and {self.algorithm} is asked for",
                    where=str(self.agent),
                    hint="leave the algorithm out, or start without the agent",
                )
        if self.evaluations is not None and self.evaluations != OWN_LOG:
            EvaluationLog.read(self.evaluations)

    def ingredients(self) -> dict[str, Any]:
        """Return what a search depends on through these: contents of files, not where they lie.

        The run's own log grows with every search: that it is taken counts, not what it held.

        Raises:
            InputFileError: a file cannot be read.
        """
        content = self.model_dump(mode="json", exclude={"agent", "evaluations"}, exclude_defaults=True)
        for key in ("agent", "evaluations"):
            value = getattr(self, key)
            if value is not None:
                content[key] = value if value == OWN_LOG else hash_file(value)
        return content


def read_options(settings: StartSettings, prepared: Prepared, folder: Path, report: Report) -> MethodOptions:
    """Return what the method is told; probes are kept in `folder`.

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
        knowledge=None if probes is None else probes.knowledge(),
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
