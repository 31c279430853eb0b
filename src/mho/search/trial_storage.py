"""Evaluations in an Optuna storage, which several searches on several machines share, and which its dashboard shows.

A storage holds a study for each problem, objective and table of costs. A trial is a policy: its widths are parameters,
its cost and its loss are values, accuracy, method and the rest of the record are user attributes. Trials that are
running are policies that some search is evaluating; a search that died gives them up: at once on this machine,
elsewhere when its heartbeat has been missing for a while.

The log stays the truth of one search. What it holds is added to the storage, and what the storage holds of other
searches is added to the log when a policy is asked for; so neither is needed to rebuild the other.
"""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TypeGuard

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, fail_stale_trials, get_storage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from mho.accelerator.converters import MAX_ADC_BITS
from mho.errors import InputFileError, MhoError
from mho.quantization.policy import MAX_BITS, BitWidths, Policy
from mho.search.evaluation import FAILED, EvaluationRecord, Measurement, problem_hash
from mho.search.objective import Objective
from mho.search.optuna_space import quiet

HEARTBEAT_S, GRACE_S = 20, 90
"""How often a search tells that it still evaluates a policy, and for how long that may be missing."""
_KINDS = {"weight_bits": MAX_BITS, "act_bits": MAX_BITS, "adc_bits": MAX_ADC_BITS}


class TrialStorage:
    """The trials of one problem in a storage.

    Args:
        url: of a database as SQLAlchemy takes it, such as ``sqlite:///trials.db`` or ``postgresql://user@host/name``.
        problem: what evaluations depend on.
        objective: what costs are.
        reference_cost: of uniform 8/8, which tells tables of costs apart.
        fidelity: how thoroughly policies are measured.

    Raises:
        InputFileError: there is no such storage, or it cannot be read or written.
    """

    def __init__(
        self,
        url: str,
        problem: Mapping[str, Any],
        objective: Objective,
        reference_cost: int,
        fidelity: str,
    ) -> None:
        self._place = url.rpartition("@")[2]  # without a password
        self._fidelity = fidelity
        self._driver = f"{socket.gethostname()}:{os.getpid()}"
        self._running: dict[Policy, int] = {}
        self._found: dict[Policy, Measurement] = {}
        self._seconds: dict[Policy, float] = {}
        self._busy: set[Policy] = set()
        self._ended = threading.Event()
        digest = problem_hash(problem)
        self.name = f"{digest[:16]}-{objective}-{reference_cost}"
        with _told(self._place), quiet():
            options = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
            rdb = RDBStorage(url, engine_kwargs=options, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S)
            self._storage = get_storage(rdb)
            self._study_id = self._open(digest)
            self._study = optuna.load_study(study_name=self.name, storage=rdb)
            self._read_others(digest)
            self.refresh()
        threading.Thread(target=self._beat, daemon=True).start()

    def close(self) -> None:
        """Stop telling that policies are being evaluated, and give up those that are."""
        self._ended.set()
        with suppress(InputFileError), _told(self._place):  # what failed before has been told
            for trial_id in self._running.values():
                self._finish(trial_id, TrialState.FAIL)
        self._running.clear()

    def refresh(self) -> None:
        """Read what other searches have found and what they are at."""
        with _told(self._place), quiet():
            fail_stale_trials(self._study)
            self._busy = set()
            for trial in self._storage.get_all_trials(self._study_id, deepcopy=False):
                self._take(trial)
                if trial.state is TrialState.RUNNING and not self._gave_up(trial):
                    self._busy |= {policy for policy in (read_policy(trial.params),) if policy is not None}
            self._busy -= set(self._running)

    def find(self, policy: Policy) -> tuple[Measurement, float] | None:
        """Return the measurement of a policy and the seconds that it took, as of the last refresh; None: no such."""
        return (self._found[policy], self._seconds[policy]) if policy in self._found else None

    def is_busy(self, policy: Policy) -> bool:
        """Tell whether another search was evaluating a policy at the last refresh."""
        return policy in self._busy

    def claim(self, policy: Policy) -> bool:
        """Say that this search evaluates a policy; False where another one was quicker."""
        with _told(self._place), quiet():
            attributes = {"driver": self._driver, "record": {"fidelity": self._fidelity}}
            trial = _make_trial(policy, TrialState.RUNNING, None, attributes)
            trial_id = self._storage.create_new_trial(self._study_id, template_trial=trial)
            self._storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]
            number = self._storage.get_trial(trial_id).number
            # Whoever came first has the lower number, and both see both.
            for other in self._storage.get_all_trials(self._study_id, deepcopy=False):
                is_open = other.state in (TrialState.RUNNING, TrialState.COMPLETE)
                if other.number < number and is_open and other.params == trial.params and self._is_ours(other):
                    self._finish(trial_id, TrialState.FAIL)
                    return False
        self._running[policy] = trial_id
        return True

    def release(self, policy: Policy) -> None:
        """Give up evaluating a policy, such as one that processes died of."""
        with _told(self._place):
            self._finish(self._running.pop(policy), TrialState.FAIL)

    def add(self, record: EvaluationRecord) -> None:
        """Store a record; nothing where the storage has it."""
        trial_id = self._running.pop(record.policy, None)
        if record.policy in self._found or record.fidelity != self._fidelity:
            return
        attributes = _attributes(record)
        values = [float(record.cost), record.score] if record.is_ok else None
        state = TrialState.COMPLETE if record.is_ok else TrialState.FAIL
        with _told(self._place), quiet():
            if trial_id is None:
                trial = _make_trial(record.policy, state, values, attributes)
                self._storage.create_new_trial(self._study_id, template_trial=trial)
            else:
                for key, value in attributes.items():
                    self._storage.set_trial_user_attr(trial_id, key, value)
                self._finish(trial_id, state, values)
        self._found[record.policy] = Measurement(record.score, record.accuracy, record.note)
        self._seconds[record.policy] = record.seconds

    def _open(self, digest: str) -> int:
        """Return the id of the study, made where it does not exist."""
        directions = [StudyDirection.MINIMIZE, StudyDirection.MINIMIZE]
        try:
            study_id = self._storage.create_new_study(directions, self.name)
        except DuplicatedStudyError:
            return self._storage.get_study_id_from_name(self.name)
        self._storage.set_study_user_attr(study_id, "problem", digest)
        self._storage.set_study_system_attr(study_id, "study:metric_names", ["cost", "loss"])
        return study_id

    def _read_others(self, digest: str) -> None:
        """Take what studies of other objectives and costs found: evaluations do not depend on these."""
        for study in self._storage.get_all_studies():
            if study.user_attrs.get("problem") == digest and study.study_name != self.name:
                for trial in self._storage.get_all_trials(study._study_id, deepcopy=False):
                    self._take(trial)

    def _take(self, trial: FrozenTrial) -> None:
        """Keep what a finished trial tells; a trial of other makers or of another fidelity tells nothing."""
        policy = read_policy(trial.params)
        if policy is None or policy in self._found or not self._is_ours(trial):
            return
        measurement = read_measurement(trial)
        if measurement is not None:
            self._found[policy] = measurement
            seconds = _record(trial).get("seconds")
            self._seconds[policy] = float(seconds) if isinstance(seconds, (int, float)) else 0.0

    def _is_ours(self, trial: FrozenTrial) -> bool:
        return _record(trial).get("fidelity") == self._fidelity

    def _gave_up(self, trial: FrozenTrial) -> bool:
        """Tell whether a trial runs no more, as its process on this machine is gone; then say so."""
        host, _, process = str(trial.user_attrs.get("driver", "")).rpartition(":")
        is_gone = host == socket.gethostname() and process.isdecimal() and not _is_alive(int(process))
        if is_gone:
            self._finish(trial._trial_id, TrialState.FAIL)
        return is_gone

    def _finish(self, trial_id: int, state: TrialState, values: list[Any] | None = None) -> None:
        try:
            self._storage.set_trial_state_values(trial_id, state, values)
        except UpdateFinishedTrialError:  # held to have died by another search
            return

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            self._tell_alive()

    def _tell_alive(self) -> None:
        """Say that this search still evaluates what it claimed."""
        for trial_id in list(self._running.values()):
            with suppress(SQLAlchemyError):  # what matters fails in the search itself
                self._storage.record_heartbeat(trial_id)  # type: ignore[attr-defined]


def read_policy(parameters: Mapping[str, Any]) -> Policy | None:
    """Return the policy of a trial's parameters; None where these are no policy's."""
    widths: dict[str, dict[str, int]] = {}
    for key, value in parameters.items():
        layer, _, kind = key.rpartition(":")
        if kind not in _KINDS or not layer or not isinstance(value, int):
            return None
        widths.setdefault(layer, {})[kind] = value
    try:
        return Policy({layer: BitWidths(**kinds) for layer, kinds in widths.items()}) if widths else None
    except (TypeError, MhoError):
        return None


def read_measurement(trial: FrozenTrial) -> Measurement | None:
    """Return what a trial measured; None where it did not end, or tells something else."""
    record = _record(trial)
    if trial.state is TrialState.FAIL and record.get("status") == FAILED:
        return Measurement(None, None, str(record.get("note", "")))
    score, accuracy = record.get("score"), record.get("accuracy")
    if trial.state is not TrialState.COMPLETE or not (_is_number(score) and _is_number(accuracy)):
        return None
    return Measurement(float(score), float(accuracy)) if math.isfinite(score) and 0.0 <= accuracy <= 1.0 else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _make_trial(
    policy: Policy, state: TrialState, values: list[Any] | None, attributes: Mapping[str, Any]
) -> FrozenTrial:
    parameters: dict[str, int] = {}
    ranges: dict[str, BaseDistribution] = {}
    for layer, bits in policy.layers.items():
        for kind, most in _KINDS.items():
            if (width := getattr(bits, kind)) is not None:
                parameters[f"{layer}:{kind}"] = width
                ranges[f"{layer}:{kind}"] = IntDistribution(1, most)
    return create_trial(
        state=state, values=values, params=parameters, distributions=ranges, user_attrs=dict(attributes)
    )


def _attributes(record: EvaluationRecord) -> dict[str, Any]:
    content = record.to_json()
    kept = ("score", "accuracy", "unit", "seed", "seconds", "fidelity", "status", "note")
    told = {"accuracy": record.accuracy, "method": record.method} if record.is_ok else {"method": record.method}
    return {**told, "record": {key: content[key] for key in kept}}


def _record(trial: FrozenTrial) -> Mapping[str, Any]:
    found = trial.user_attrs.get("record")
    return found if isinstance(found, dict) else {}


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _told:  # noqa: N801 - reads as a word
    """Turns errors of a database into one that says where and what to do."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (SQLAlchemyError, optuna.exceptions.StorageInternalError, ImportError)):
            raise InputFileError(
                f"the storage of trials fails: {str(error).splitlines()[0]}",
                where=self._place,
                expected="a URL such as sqlite:///trials.db or postgresql+psycopg://user@host/name",
                hint="what was evaluated is in the log: the same command goes on",
            ) from error
