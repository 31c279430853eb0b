"""Evaluations in an Optuna storage, which several searches on several machines share, and which its dashboard shows.

A storage holds a study for each problem, objective and table of costs. A trial is a policy: its widths are parameters,
its cost and its loss are values, accuracy, method and the rest of the record are user attributes. Trials that are
running are policies that some search is evaluating. What a search that died was evaluating is free again: at once on
this machine, elsewhere when its heartbeat has been missing for a while. A search whose trial was given up too early
stores its result in another trial.

The log stays the truth of one search. What it holds is added to the storage, and what the storage holds of other
searches is added to the log when a policy is proposed; so neither is needed to rebuild the other.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from mho.bit_search.evaluation import FAILED, EvaluationRecord, Measurement, problem_hash
from mho.bit_search.objective import Objective
from mho.bit_search.trial_database import TrialDatabase
from mho.errors import MhoError
from mho.hardware.converters import MAX_ADC_BITS
from mho.policy import MAX_BITS, BitWidths, Policy

HEARTBEAT_S, GRACE_S = 5, 30
"""How often a search writes that it still evaluates a policy, and for how long that may be missing, s."""
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
        self._fidelity = fidelity
        self._driver = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._running: dict[Policy, int] = {}
        self._found: dict[Policy, Measurement] = {}
        self._seconds: dict[Policy, float] = {}
        self._busy: set[Policy] = set()
        self._seen: set[int] = set()
        self._ended = threading.Event()
        digest = problem_hash(problem)
        self.name = f"{digest[:16]}-{objective}-{reference_cost}"
        self._database = TrialDatabase(url, HEARTBEAT_S, GRACE_S)
        self._storage = self._database.storage
        self._study_id = self._database.ask(lambda: self._open(digest))
        self._study = self._database.ask(lambda: optuna.load_study(study_name=self.name, storage=self._storage))
        self._database.ask(lambda: self._read_others(digest))
        self.refresh()
        threading.Thread(target=self._beat, daemon=True).start()

    def close(self) -> None:
        """Give up the policies that are being evaluated, and disconnect."""
        self._ended.set()
        for trial_id in self._running.values():  # once: the search may end because the database is gone
            self._database.try_once(partial(self._give_up, trial_id))
        self._running.clear()
        self._database.close()

    def refresh(self) -> None:
        """Read what other searches have found and what they are evaluating."""
        # After an outage the others get time to send their heartbeats.
        if time.monotonic() >= self._database.last_outage + 2 * HEARTBEAT_S:
            self._database.ask(lambda: fail_stale_trials(self._study))
        self._busy = set()
        for trial in self._all_trials():
            self._take(trial)
            if trial.state is TrialState.RUNNING and not self._gave_up(trial):
                self._busy |= {policy for policy in (read_policy(trial.params),) if policy is not None}
                self._watch(trial._trial_id)
        self._busy -= set(self._running)

    def find(self, policy: Policy) -> tuple[Measurement, float] | None:
        """Return the measurement of a policy and the seconds that it took, as of the last refresh; None: no such."""
        return (self._found[policy], self._seconds[policy]) if policy in self._found else None

    def is_busy(self, policy: Policy) -> bool:
        """Tell whether another search was evaluating a policy at the last refresh."""
        return policy in self._busy

    def claim(self, policy: Policy) -> bool:
        """Reserve a policy for this search to evaluate; False where another search was quicker."""
        attributes = {"driver": self._driver, "record": {"fidelity": self._fidelity}}
        trial = _make_trial(policy, TrialState.RUNNING, None, attributes)
        trial_id = self._database.ask(lambda: self._storage.create_new_trial(self._study_id, template_trial=trial))
        self._database.ask(lambda: self._storage.record_heartbeat(trial_id))
        self._running[policy] = trial_id
        number = self._database.ask(lambda: self._storage.get_trial(trial_id)).number
        # Whoever came first has the lower number, and both see both.
        for other in self._all_trials():
            is_open = other.state in (TrialState.RUNNING, TrialState.COMPLETE)
            is_earlier = other.number < number and other.params == trial.params
            if is_earlier and is_open and self._is_ours(other) and not self._gave_up(other):
                self.release(policy)
                return False
        return True

    def release(self, policy: Policy) -> None:
        """Give up evaluating a policy, such as one that processes died of."""
        trial_id = self._running.pop(policy)
        self._database.ask(lambda: self._give_up(trial_id))

    def add(self, record: EvaluationRecord) -> None:
        """Store a record; nothing where the storage has it."""
        trial_id = self._running.pop(record.policy, None)
        if record.policy in self._found or record.fidelity != self._fidelity:
            if trial_id is not None:
                self._database.ask(lambda: self._give_up(trial_id))
            return
        self._database.ask(lambda: self._store(record, trial_id))
        self._found[record.policy] = Measurement(record.score, record.accuracy, record.note)
        self._seconds[record.policy] = record.seconds

    def _store(self, record: EvaluationRecord, trial_id: int | None) -> None:
        """Store a record in the trial of its claim, or in a new one where there is none or where it was given up."""
        attributes = _attributes(record)
        values = [float(record.cost), record.score] if record.is_ok else None
        state = TrialState.COMPLETE if record.is_ok else TrialState.FAIL
        if trial_id is not None:
            try:
                for key, value in attributes.items():
                    self._storage.set_trial_user_attr(trial_id, key, value)
                self._storage.set_trial_state_values(trial_id, state, values)
                return
            except UpdateFinishedTrialError:  # by another search, or here before the connection was lost
                if read_measurement(self._storage.get_trial(trial_id)) is not None:
                    return
        trial = _make_trial(record.policy, state, values, attributes)
        self._storage.create_new_trial(self._study_id, template_trial=trial)

    def _open(self, digest: str) -> int:
        """Return the id of the study, made where it does not exist."""
        directions = [StudyDirection.MINIMIZE, StudyDirection.MINIMIZE]
        try:
            study_id = self._storage.create_new_study(directions, self.name)
        except DuplicatedStudyError:
            study_id = self._storage.get_study_id_from_name(self.name)
        # Also of a study that exists: the search that made it may have been killed before it got here.
        if self._storage.get_study_user_attrs(study_id).get("problem") != digest:
            self._storage.set_study_system_attr(study_id, "study:metric_names", ["cost", "loss"])
            self._storage.set_study_user_attr(study_id, "problem", digest)
        return study_id

    def _all_trials(self) -> list[FrozenTrial]:
        return self._database.ask(lambda: self._storage.get_all_trials(self._study_id, deepcopy=False))

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
        """Tell whether nobody evaluates a running trial any more, as far as this process can know; then say so.

        Its process on this machine is gone, or this search stored it twice because its connection was lost meanwhile.
        """
        if trial.state is not TrialState.RUNNING:
            return False
        driver = str(trial.user_attrs.get("driver", ""))
        host, process, *_ = [*driver.split(":"), ""]
        is_doubled = driver == self._driver and trial._trial_id not in self._running.values()
        is_gone = host == socket.gethostname() and process.isdecimal() and not _is_alive(int(process))
        if is_doubled or is_gone:
            self._database.ask(lambda: self._give_up(trial._trial_id))
        return is_doubled or is_gone

    def _watch(self, trial_id: int) -> None:
        """Give a trial of another search a heartbeat, once: its search may have died before the first one."""
        if trial_id not in self._seen and trial_id not in self._running.values():
            self._database.ask(lambda: self._storage.record_heartbeat(trial_id))
        self._seen.add(trial_id)

    def _give_up(self, trial_id: int) -> None:
        with suppress(UpdateFinishedTrialError):  # another search did
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            self._tell_alive()

    def _tell_alive(self) -> None:
        """Write that this search still evaluates what it claimed."""
        for trial_id in list(self._running.values()):
            beat = partial(self._storage.record_heartbeat, trial_id)
            self._database.try_once(beat)  # what matters fails in the search itself


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
    return Measurement(float(score), float(accuracy)) if math.isfinite(score) and math.isfinite(accuracy) else None


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
    shown = {"accuracy": record.accuracy, "method": record.method} if record.is_ok else {"method": record.method}
    return {**shown, "record": {key: content[key] for key in kept}}


def _record(trial: FrozenTrial) -> Mapping[str, Any]:
    found = trial.user_attrs.get("record")
    return found if isinstance(found, dict) else {}


def _is_alive(process: int) -> bool:
    """Tell whether a process of this machine runs; one that ended and that nobody waited for does not."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    with suppress(OSError, IndexError):  # not on every system
        state = (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
        )
        return state not in ("Z", "X")
    return True
