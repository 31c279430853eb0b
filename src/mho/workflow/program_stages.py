"""The last stages that compute: compile both quantized networks, run them on test data, hold all engines together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mho.data.dataset import Split
from mho.errors import MhoError, ProgramError, UnsupportedOperationError
from mho.evaluation.chips import SampledChips
from mho.evaluation.classes import Predictions
from mho.evaluation.networks import evaluate_network, evaluate_with_predictions, score_outputs
from mho.workflow.config import SimulationSettings
from mho.workflow.deployments import Deployments
from mho.workflow.material import Material
from mho.workflow.network_stages import FLOAT_FILE
from mho.workflow.policy_stages import QUANTIZED_FILE
from mho.workflow.predictions import PREDICTIONS_FILE, write_predictions
from mho.workflow.run_directory import StageResult
from mho.workflow.stage import Figures, Report, report_part, versions

if TYPE_CHECKING:
    from mho.program.program import Program
    from mho.quantization.qat import TrainableNetwork

PROGRAM_FILE, REFERENCE_PROGRAM_FILE = "program.mho", "reference.mho"
RANGES_FILE = "ranges.npz"
PROGRAMS = {"reference": REFERENCE_PROGRAM_FILE, "found": PROGRAM_FILE}
"""Files of programs, by who they belong to."""
MOST_DEVICE_BYTES = 64 << 20
"""Larger programs are for no microcontroller: making their images only for sizes would take long."""
_EXACT_SHARE = 0.3
"""Of the work of a simulation on chips, about what exact engines take."""


@dataclass(frozen=True)
class Compile:
    """Compile the found policy's network and uniform 8/8 for the machine, each with the schedule that it runs there."""

    material: Material
    found: StageResult
    reference: StageResult
    deployments: Deployments
    name: str = "program"
    title: str = "Compile"

    def ingredients(self) -> Mapping[str, Any]:
        """Quantized networks and hardware."""
        return {
            "found": self.found.digest,
            "reference": self.reference.digest,
            "accelerator": self.material.accelerator.to_json(),
            "mapping": str(self.material.mapping),
            "objective": str(self.deployments.objective),
            "programs": "of the machine, and their sizes in C",
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Write the programs."""
        figures: Figures = {}
        for share, (stage, file) in enumerate(((self.found, PROGRAM_FILE), (self.reference, REFERENCE_PROGRAM_FILE))):
            report(share / 2, file)
            figures[file] = self._compile(stage, folder / file)
        return figures

    def note(self, figures: Mapping[str, Any]) -> str:
        """Size of the program."""
        found = figures[PROGRAM_FILE]
        return (
            f"{found['bytes'] / 1024:,.0f} KiB, {found['tiles']:,} crossbar writes, {found['mvms']:,} MVMs an inference"
        )

    def _compile(self, stage: StageResult, path: Path) -> Figures:
        from mho.evaluation.compilation import compile_deployment, time_deployed
        from mho.network.onnx_reader import read_onnx
        from mho.program.container import write_program

        deployment = self.deployments.find(stage)
        network = read_onnx(stage.folder / QUANTIZED_FILE)
        program = compile_deployment(network, deployment, metadata=_describe_origin(stage))
        write_program(program, path)
        return {
            **_measure_device(program, path.stat().st_size),
            "bytes": path.stat().st_size,
            "latency_ps": time_deployed(program),
            "planned_ps": deployment.latency_ps,
            "regime": str(deployment.regime),
            "tiles": deployment.writes,
            "mvms": deployment.mvms,
            "instructions": count_instructions(program),
        }


def _measure_device(program: Program, size: int) -> Figures:
    """Return flash and RAM of the program in C; nothing where it is too large, or has an operation unknown to C."""
    from mho.deploy.image import build_image

    if size > MOST_DEVICE_BYTES:
        return {}
    try:
        image = build_image(program)
    except (ProgramError, UnsupportedOperationError):
        return {}
    return {"flash_bytes": len(image.content), "ram_bytes": image.memory.arena.size}


def _describe_origin(stage: StageResult) -> dict[str, Any]:
    return {
        "policy": stage.figures["policy"],
        "network_sha256": stage.files[QUANTIZED_FILE],
        "versions": versions(),
    }


def count_instructions(program: Program) -> dict[str, int]:
    """Return how often each kind of instruction is executed for one sample."""
    from mho.program.program import walk

    counts: dict[str, int] = {}
    for item, times in walk(program.instructions):
        kind = type(item).__name__
        counts[kind] = counts.get(kind, 0) + times
    return dict(sorted(counts.items()))


@dataclass(frozen=True)
class Simulate:
    """Run the programs on test data and compare every engine with the others."""

    material: Material
    float_network: StageResult
    found: StageResult
    reference: StageResult
    program: StageResult
    settings: SimulationSettings
    chip_samples: int = 0
    name: str = "simulation"
    title: str = "Simulate on test data"

    @property
    def _count(self) -> int:
        wanted, there = self.settings.executor_images, len(self.material.dataset.test)
        return there if wanted == "all" else min(wanted, there)

    def ingredients(self) -> Mapping[str, Any]:
        """Programs, networks, test data, settings."""
        return {
            "float": self.float_network.digest,
            "found": self.found.digest,
            "program": self.program.digest,
            "data": self.material.data_hash,
            "settings": self.settings.model_dump(mode="json"),
            "keeps": [PREDICTIONS_FILE],
            **({} if self.material.chips is None else {"chips": self._chip_ingredients(self.material.chips)}),
        }

    def make(self, folder: Path, report: Report) -> Figures:
        """Run and compare; writes the found policy's logits, what all networks predict, and ranges of ADCs."""
        from mho.workflow import checks

        test = self.material.dataset.test.spread(self._count)
        share = 1.0 if self.material.chips is None else _EXACT_SHARE
        on_chips, report = report_part(report, share, 1 - share), report_part(report, 0.0, share)
        found = checks.run_program(
            self.program.folder / PROGRAM_FILE, test, self.settings.batch_size,
            lambda share: report(0.4 * share, "executor, found policy"),
        )  # fmt: skip
        checks.write_logits(folder / "logits.npz", found, test.labels)
        reference = checks.run_program(
            self.program.folder / REFERENCE_PROGRAM_FILE, test, self.settings.batch_size,
            lambda share: report(0.4 + 0.3 * share, "executor, uniform 8/8"),
        )  # fmt: skip
        compared = checks.Comparison(
            network_file=self.found.folder / QUANTIZED_FILE,
            program_file=self.program.folder / PROGRAM_FILE,
            test=test,
            logits=found,
            batch_size=self.settings.batch_size,
        )
        report(0.7, "integer reference")
        outcomes = [compared.with_reference(self.settings.reference_images)]
        report(0.85, "interpreter")
        outcomes.append(compared.with_interpreter(self.settings.interpreter_images))
        report(0.93, "ONNX Runtime")
        outcomes.append(compared.with_onnxruntime())
        report(0.96, "zero slices")
        outputs = {"found": found, "reference": reference}
        exact = {name: asdict(score_outputs({name: array}, test.labels, test.task)) for name, array in outputs.items()}
        if test.task.is_classification:
            in_float, predictions = self._evaluate_float(test)
            predictions |= {name: Predictions.of(logits, test.labels) for name, logits in outputs.items()}
            write_predictions(folder / PREDICTIONS_FILE, test.labels, predictions)
        else:
            in_float = evaluate_network(self._float_module(), test)
        return {
            **exact,
            "exact": exact,
            **self._evaluate_on_chips(folder, test, on_chips),
            "float": in_float,
            "checks": outcomes,
            **self._measure_zero_slices(test),
        }

    def _evaluate_on_chips(self, folder: Path, test: Split, report: Report) -> Figures:
        """Return accuracies of the programs on sampled chips, or why there are none; writes ranges of ADCs, if any."""
        if (chips := self.material.chips) is None:
            return {}
        from mho.workflow.sampled_chips import evaluate_programs, write_ranges

        files = {name: self.program.folder / file for name, file in PROGRAMS.items()}
        calibration = self.material.dataset.calibration
        try:
            found = evaluate_programs(
                files,
                chips,
                test.spread(min(self.chip_samples, len(test))),
                calibration,
                report,
            )
            write_ranges(files["found"], chips, calibration, folder / RANGES_FILE)
        except MhoError as error:
            return {"unsampled": f"{chips.words}: {error.line}"}
        return {**found.pop("pooled"), "chips": found, "tested_on": chips.words}

    def _chip_ingredients(self, chips: SampledChips) -> Figures:
        described = {"count": chips.count, "samples": self.chip_samples, **asdict(chips.conditions)}
        described |= {"recalibrates": True} if chips.recalibrates else {}
        return {"hardware": chips.hardware.to_json(), **described}

    def note(self, figures: Mapping[str, Any]) -> str:
        """Accuracy and checks."""
        agree = sum(check["passed"] for check in figures["checks"])
        metric = self.material.dataset.task.metric
        text = f"integer-reference {metric.words} {metric.format(figures['exact']['found']['accuracy'])} on test data"
        if chips := figures.get("chips", {}).get("found"):
            text += f", mean {metric.format(sum(chips) / len(chips))} on sampled chips"
        return f"{text}, outputs agree in {agree} of {len(figures['checks'])} comparisons"

    def _measure_zero_slices(self, test: Split) -> Figures:
        from mho.workflow.checks import measure_zero_slices

        if not self.settings.zero_slice_images:
            return {"zero_slices": {}}
        images = test.spread(self.settings.zero_slice_images)
        try:
            found = {name: measure_zero_slices(self.program.folder / file, images) for name, file in PROGRAMS.items()}
        except MhoError as error:
            return {"zero_slices": {}, "absent": [{"part": "zero slices skipped", "reason": error.line}]}
        return {"zero_slices": found}

    def _evaluate_float(self, test: Split) -> tuple[Figures, dict[str, Predictions]]:
        figures, predictions = evaluate_with_predictions(self._float_module(), test)
        return figures, {"float": predictions}

    def _float_module(self) -> TrainableNetwork:
        from mho.network.onnx_reader import read_onnx
        from mho.quantization.qat import TrainableNetwork

        return TrainableNetwork(read_onnx(self.float_network.folder / FLOAT_FILE))
