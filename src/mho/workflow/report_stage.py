"""The end of a run: its figures in `result.json`."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, TypeVar

from mho.array.conductances import Conditions
from mho.cost_model.area import area_chip
from mho.cost_model.document import to_microseconds
from mho.evaluation.accuracy import sample_chips
from mho.evaluation.deployment import DeployedLayer
from mho.formats import plural
from mho.frozen_model import FrozenModel
from mho.hardware.spec import Accelerator
from mho.network.input_normalization import find_normalization
from mho.network.layers import MvmLayer
from mho.policy import Policy
from mho.quantization.devices import Devices
from mho.report.hardware_words import tell_conversion
from mho.report.map_document import MapDocument
from mho.report.result import EXACT, RunResult
from mho.report.result_chips import ErrorSources, MappingChoice, ModelAgreement, TargetFigures
from mho.report.result_figures import (
    Candidate,
    Check,
    ChipAccuracies,
    DataFigures,
    FileFigures,
    LayerFigures,
    NetworkFigures,
    Score,
    StageFigures,
    TrainingFigures,
    ZeroSliceFigures,
)
from mho.report.result_task import TaskFigures
from mho.report.result_text import (
    describe_accuracy,
    describe_machine,
    describe_miss,
    describe_objective,
    describe_speed,
    describe_target,
    describe_widths,
)
from mho.report.schedule_document import AreaFigures
from mho.workflow.breakdowns import FLOAT_BITS, split_cost
from mho.workflow.chip_figures import describe_deployments, describe_layer
from mho.workflow.config import RunConfig
from mho.workflow.material import hash_samples
from mho.workflow.network_stages import FLOAT_FILE
from mho.workflow.outcome import LABELS, Extras, Outcome
from mho.workflow.policy_stages import POLICY_FILE, QUANTIZED_FILE, SEARCH_FILE, misses_target
from mho.workflow.predictions import PREDICTIONS_FILE
from mho.workflow.program_stages import PROGRAM_FILE, RANGES_FILE, REFERENCE_PROGRAM_FILE
from mho.workflow.search_results import collect_search
from mho.workflow.stage import versions

_FILES = (
    ("float", FLOAT_FILE, "trained float network"),
    ("reference", QUANTIZED_FILE, "network at uniform 8/8 (QCDQ ONNX)"),
    ("found", QUANTIZED_FILE, "network at the found policy (QCDQ ONNX)"),
    ("found", POLICY_FILE, "found policy"),
    ("program", PROGRAM_FILE, "compiled program of the found policy, with its schedule"),
    ("program", REFERENCE_PROGRAM_FILE, "compiled program of uniform 8/8, alike"),
    ("search", SEARCH_FILE, "every policy tried"),
    ("simulation", "logits.npz", "simulated outputs for the test samples"),
    ("simulation", PREDICTIONS_FILE, "what each network predicts for the test samples, and the losses"),
    ("simulation", RANGES_FILE, "ranges of the found policy's ADCs on chip 1, for mho simulate"),
)


def collect_result(outcome: Outcome, extras: Extras) -> RunResult:
    """Return all figures of a finished run, with what `collect_extras` found beside them."""
    network, deployed = outcome.stages["network"].figures, outcome.deployments
    candidates = _candidates(outcome)
    by_name = {candidate.name: candidate for candidate in candidates}
    search = collect_search(outcome.stages["search"], outcome.stages["found"].figures, outcome.config.search.budget)
    simulated, hardware = outcome.stages["simulation"].figures, outcome.material.accelerator
    chip_accuracies, unsampled = _chips(simulated.get("chips", {}), search.task), _unsampled(outcome)
    on_machine = describe_deployments(deployed, LABELS)
    result = RunResult(
        name=outcome.config.run.name,
        sentence="",
        seed=outcome.config.run.seed,
        seconds=sum(stage.seconds for stage in outcome.stages.values()),
        network=_network(network),
        data=_data(outcome),
        candidates=candidates,
        drop=outcome.material.dataset.task.metric.scale * _lost(by_name["reference"], by_name["found"]),
        layers=_layers(outcome),
        map=None if extras.network_map is None else MapDocument.of(network["source"], extras.network_map),
        search=search,
        worths=extras.worths,
        searches=extras.searches,
        trainings=_trainings(outcome),
        checks=_checks(outcome),
        instructions=outcome.stages["program"].figures[PROGRAM_FILE]["instructions"],
        mapping=outcome.material.mapping,
        mappings=extras.mappings,
        zero_slices=tuple(_zero_slices(name, found) for name, found in simulated["zero_slices"].items()),
        tested_on=simulated.get("tested_on", EXACT),
        chip_accuracies=chip_accuracies,
        target=_target(outcome),
        error_sources=_read(ErrorSources, outcome, "errors"),
        mapping_choice=_read(MappingChoice, outcome, "mapping"),
        agreement=_read(ModelAgreement, outcome, "agreement"),
        unsampled=unsampled,
        errors=extras.errors,
        sensitivities=extras.sensitivities,
        splits=tuple(split_cost(name, LABELS[name], one) for name, one in deployed.items()),
        sizes=extras.sizes,
        chip=on_machine,
        area=AreaFigures.of(area_chip(hardware)) if hardware.area.is_specified else None,
        absent=extras.absent,
        accelerator=outcome.material.accelerator.to_json(),
        conversion=tell_conversion(outcome.material.accelerator),
        settings=outcome.config.to_json(),
        notes=_notes(outcome),
        versions=versions(),
        machine=_machine(outcome.config, outcome.material.devices),
        stages=_stages(outcome),
        files=_files(outcome),
    )
    speed = describe_speed(
        by_name["found"], by_name["reference"], network=network["source"], chip=hardware.name,
        widths=describe_widths(search),
    )  # fmt: skip
    speed += describe_machine(on_machine[-1], hardware.chip.crossbars)
    accuracy = f"{describe_accuracy(result)}{describe_target(result)}"
    sentence = f"{describe_miss(result)}{speed} {accuracy}{describe_objective(search)}"
    return result.model_copy(update={"sentence": sentence})


_Figures = TypeVar("_Figures", bound=FrozenModel)


def _read(kind: type[_Figures], outcome: Outcome, stage: str) -> _Figures | None:
    """Return the figures of a stage, or None where the run has none: those that `kind` knows."""
    if stage not in outcome.stages:
        return None
    known = outcome.stages[stage].figures
    return kind.model_validate({name: known[name] for name in kind.model_fields})


def _target(outcome: Outcome) -> TargetFigures | None:
    """Return what was wanted of the found policy on validation data, and what it has; None within a cost budget."""
    found = outcome.stages["found"].figures
    if (wanted := found.get("target_accuracy")) is None:
        return None
    return TargetFigures(
        accuracy=wanted,
        found=found["validation"]["accuracy"],
        reference=outcome.stages["reference"].figures["validation"]["accuracy"],
        is_reached=not misses_target(found),
    )


def _lost(reference: Candidate, found: Candidate) -> float:
    """Return what is lost against uniform 8/8 with ideal integers."""
    exact = reference.integer_reference or reference.test
    return exact.accuracy - found.test.accuracy


def _trainings(outcome: Outcome) -> tuple[TrainingFigures, ...]:
    return tuple(
        TrainingFigures(name=name, label=label, points=outcome.stages[name].figures["points"])
        for name, label in LABELS.items()
    )


def _stages(outcome: Outcome) -> tuple[StageFigures, ...]:
    return tuple(
        StageFigures(name=name, title=outcome.titles[name], seconds=stage.seconds, key=stage.key, digest=stage.digest)
        for name, stage in outcome.stages.items()
    )


def _candidates(outcome: Outcome) -> tuple[Candidate, ...]:
    simulated, policies, deployed = outcome.stages["simulation"].figures, outcome.policies, outcome.deployments
    reference_ps = deployed["reference"].latency_ps
    candidates = []
    for name, label in LABELS.items():
        cost = deployed.get(name)
        weight_bits, act_bits = (
            _mean_bits(outcome.layers, policies[name]) if name in policies else (FLOAT_BITS, FLOAT_BITS)
        )
        candidates.append(
            Candidate(
                name=name,
                label=label,
                made_by=outcome.stages[name].figures.get("made_by", ""),
                validation=Score(**outcome.stages[name].figures["validation"]),
                test=Score(**simulated[name]),
                integer_reference=Score(**simulated["exact"][name]) if name in simulated["exact"] else None,
                latency_us=None if cost is None else to_microseconds(cost.latency_ps),
                speedup=None if cost is None else reference_ps / cost.latency_ps,
                tiles=None if cost is None else cost.writes,
                mvms=None if cost is None else cost.mvms,
                weight_bits=weight_bits,
                act_bits=act_bits,
            )
        )
    return tuple(candidates)


def _zero_slices(name: str, found: Mapping[str, Any]) -> ZeroSliceFigures:
    return ZeroSliceFigures(
        name=name,
        label=LABELS[name],
        images=found["images"],
        share=found["share"],
        **{f"{key}_us": to_microseconds(found[f"{key}_ps"]) for key in ("latency", "min_latency", "max_latency")},
    )


def _chips(found: Mapping[str, Any], task: TaskFigures) -> tuple[ChipAccuracies, ...]:
    return tuple(
        ChipAccuracies(
            name=name,
            label=LABELS[name],
            accuracies=tuple(found[name]),
            task=task,
            **{key: found[key] for key in ("images", "hardware", "elapsed_s", "temperature_k", "reads")},
        )
        for name in ("reference", "found")
        if name in found
    )


def _unsampled(outcome: Outcome) -> str:
    """Return why no chips were sampled of hardware that is not exact; empty where they were, or where it is exact."""
    hardware = outcome.material.accelerator
    if outcome.config.simulation.chips == 0 and sample_chips(hardware, Conditions(), hardware) is not None:
        return "simulation.chips is 0"
    return str(outcome.stages["simulation"].figures.get("unsampled", ""))


def _notes(outcome: Outcome) -> tuple[str, ...]:
    """Return what the stages note, once each."""
    return tuple(dict.fromkeys(note for stage in outcome.stages.values() for note in stage.figures.get("notes", ())))


def _mean_bits(layers: tuple[MvmLayer, ...], policy: Policy) -> tuple[float, float]:
    weights = sum(layer.outputs * layer.inputs * layer.repeat for layer in layers)
    macs = sum(layer.macs for layer in layers)
    return (
        sum(layer.outputs * layer.inputs * layer.repeat * policy[layer.name].weight_bits for layer in layers) / weights,
        sum(layer.macs * policy[layer.name].act_bits for layer in layers) / macs,
    )


def _layers(outcome: Outcome) -> tuple[LayerFigures, ...]:
    hardware, deployed = outcome.material.accelerator, outcome.deployments
    reference, found = deployed["reference"].layers, deployed["found"].layers
    return tuple(
        _layer(layer, before, after, hardware)
        for layer, before, after in zip(outcome.layers, reference, found, strict=True)
    )


def _layer(layer: MvmLayer, reference: DeployedLayer, found: DeployedLayer, hardware: Accelerator) -> LayerFigures:
    return LayerFigures(
        name=layer.name, kind=layer.kind, outputs=layer.outputs, inputs=layer.inputs, positions=layer.positions,
        repeat=layer.repeat, macs=layer.macs, reference=describe_layer(reference, hardware),
        found=describe_layer(found, hardware),
    )  # fmt: skip


def _network(figures: Mapping[str, Any]) -> NetworkFigures:
    kept = {key: figures[key] for key in ("source", "parameters", "macs", "input_shape")}
    return NetworkFigures(**kept, mvm_layers=len(figures["layers"]))


def _data(outcome: Outcome) -> DataFigures:
    dataset = outcome.material.dataset
    return DataFigures(
        name=dataset.name,
        classes=dataset.class_names or tuple(str(number) for number in range(dataset.classes)),
        train=len(dataset.train),
        calibration=len(dataset.calibration),
        validation=len(dataset.validation),
        test=len(dataset.test),
        **_inputs(outcome),
        sha256=outcome.material.data_hash,
        test_sha256=hash_samples(dataset.test.spread(outcome.stages["simulation"].figures["float"]["count"])),
    )


def _inputs(outcome: Outcome) -> dict[str, Any]:
    """Return what networks take and what they do to it first, by names in `DataFigures`."""
    steps = find_normalization(outcome.network)
    return {
        "samples": outcome.material.dataset.test.images.dtype.name,
        "normalization": [{"operation": step, "numbers": numbers.reshape(-1).tolist()} for step, numbers in steps],
    }


def _checks(outcome: Outcome) -> tuple[Check, ...]:
    checks = [Check(**check) for check in outcome.stages["simulation"].figures["checks"]]
    for name, file in (("found", PROGRAM_FILE), ("reference", REFERENCE_PROGRAM_FILE)):
        program, deployment = outcome.stages["program"].figures[file], outcome.deployments[name]
        times = program["latency_ps"], program["planned_ps"], deployment.latency_ps
        checks.append(
            Check(
                name=f"timing of the program, {LABELS[name]}",
                claim="The time of the program's own instructions and schedule is the one of the headline, to the "
                "picosecond.",
                images=0,
                differing=0,
                passed=len(set(times)) == 1,
                detail=f"{plural(len(deployment.layers), 'layer')}: {times[0]:,} ps and {times[-1]:,} ps",
            )
        )
    return tuple(checks)


def _files(outcome: Outcome) -> tuple[FileFigures, ...]:
    files = []
    for name, file, what in _FILES:
        stage = outcome.stages[name]
        if file not in stage.files:
            continue
        path = stage.folder / file
        files.append(
            FileFigures(
                path=path.relative_to(outcome.path).as_posix(),
                what=what,
                bytes=path.stat().st_size,
                sha256=stage.files[file],
            )
        )
    return tuple(files)


def _machine(config: RunConfig, devices: Devices) -> dict[str, str]:
    found = {"threads": str(config.run.threads), "system": f"{platform.system()} {platform.machine()}"}
    if devices != Devices():
        found["devices"] = f"{', '.join(devices.names)}, products in {devices.precision}"
    return found
