"""The stage that tells what costs accuracy on chips, where the found policy misses what is allowed to be lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from mho.array.nonidealities import idealize, list_error_groups
from mho.evaluation.chips import SampledChips
from mho.evaluation.networks import pool_chips, samples_for_ranges, score_chips
from mho.task.task import CLASSIFICATION
from mho.toml_text import toml_lines
from mho.workflow.config import RunConfig
from mho.workflow.material import Material
from mho.workflow.program_stages import PROGRAM_FILE
from mho.workflow.run_directory import StageResult
from mho.workflow.stage import Figures, Report

STUDY_FILE = "study.toml"
CHIPS = 2
"""Chips on which the kinds of errors are left out."""
SCALES = (0.0, 0.25, 0.5, 1.0)
"""Shares of an error that the study sweeps."""


@dataclass(frozen=True)
class FindErrorSources:
    """Leave out one kind of errors at a time, and write a study that tells how small each must be.

    Attributes:
        config: of the run.
        material: data and hardware.
        program: the stage that compiled the found policy.
        samples: validation samples of each chip, at most.
    """

    config: RunConfig
    material: Material
    program: StageResult
    samples: int
    name: str = "errors"
    title: str = "Find what costs accuracy"

    @property
    def _chips(self) -> SampledChips:
        chips = self.material.chips
        assert chips is not None, "accuracy is that of chips"
        return replace(chips, count=min(CHIPS, chips.count))

    def ingredients(self) -> Mapping[str, Any]:
        """Program, data, chips."""
        chips = self._chips
        return {
            "program": self.program.digest,
            "data": self.material.data_hash,
            "hardware": chips.hardware.to_json(),
            "conditions": asdict(chips.conditions),
            "recalibrates": chips.recalibrates,
            "chips": chips.count,
            "samples": self.samples,
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Run the found policy's program on chips without each kind of errors."""
        chips = self._chips
        groups = list_error_groups(chips.hardware, chips.conditions)
        every = tuple(key for keys in groups.values() for key in keys)
        cases: dict[str, tuple[str, ...]] = {"all errors": (), "no errors": every, **groups}
        found: dict[str, float] = {}
        for number, (name, keys) in enumerate(cases.items()):
            report(number / len(cases), name)
            found[name] = self._evaluate(keys)
        (folder / STUDY_FILE).write_text("\n".join(self._study(groups)) + "\n", encoding="utf-8")
        sources = [{"name": name, "keys": list(keys), "accuracy": found[name]} for name, keys in groups.items()]
        return {
            "chips": chips.count,
            "samples": self.samples,
            "accuracy": found["all errors"],
            "exact_accuracy": found["no errors"],
            "sources": sorted(sources, key=lambda one: -one["accuracy"]),
        }

    def _evaluate(self, keys: tuple[str, ...]) -> float:
        from mho.program.container import read_program

        chips, dataset = self._chips, self.material.dataset
        chips = replace(chips, hardware=idealize(chips.hardware, keys))
        scores = score_chips(
            read_program(self.program.folder / PROGRAM_FILE),
            chips,
            range(1, chips.count + 1),
            dataset.validation.spread(min(self.samples, len(dataset.validation))),
            samples_for_ranges(dataset.calibration),
        )
        return pool_chips(scores).accuracy

    def _study(self, groups: Mapping[str, tuple[str, ...]]) -> list[str]:
        """Return the lines of a study that sweeps each kind of errors from none to what it is."""
        chips, config = self._chips, self.config
        sweeps: dict[str, dict[str, Any]] = {"array": {}, "converters": {}}
        for key in (key for keys in groups.values() for key in keys):
            section, name = key.split(".")
            values = _sweep(key, getattr(getattr(chips.hardware, section), name))
            if values is not None:
                sweeps[section][name] = values
        conditions = {name: value for name, value in asdict(chips.conditions).items() if value}
        mitigation = {"recalibration": "channels"} if chips.recalibrates else {}
        content = {
            "study": {"name": f"{config.run.name[:50]}-errors", "seeds": chips.count},
            "program": {"file": f"../program/{PROGRAM_FILE}"},
            **(
                {}
                if self.material.dataset.task == CLASSIFICATION
                else {"task": config.task.model_dump(mode="json", exclude_defaults=True)}
            ),
            "data": config.data.model_dump(mode="json", exclude_defaults=True),
            "samples": {"split": "validation", "split_seed": config.run.seed, "images": self.samples},
            "base": {"conditions": conditions, **({"mitigation": mitigation} if mitigation else {})},
            "sweeps": sweeps,
        }
        heading = (
            "# How small must each error of the chip be? From none of it to what it is, all others as they are.",
            "#",
            "#   mho study THIS_FILE",
        )
        return [*heading, *toml_lines(content, "")]

    def note(self, figures: Mapping[str, Any]) -> str:
        """What costs most."""
        if not figures["sources"]:
            return "no kind of errors can be left out by itself"
        first, tell = figures["sources"][0], self.material.dataset.task.metric.format
        return (
            f"{tell(figures['accuracy'])} on chips, {tell(first['accuracy'])} without {first['name']}, "
            f"{tell(figures['exact_accuracy'])} without any error"
        )


def _sweep(key: str, value: Any) -> list[Any] | None:
    """Return values of a key from ideal to its own; None where they are no numbers."""
    if key == "converters.adc_bits":
        return [*(int(value) + more for more in (0, 1, 2, 4)), "ideal"]
    if isinstance(value, tuple):
        value = max(value)
    return [float(value) * scale for scale in SCALES] if isinstance(value, int | float | Decimal) and value else None
