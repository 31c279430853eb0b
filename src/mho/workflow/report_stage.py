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
from mho.workflow.policy_stages import POLICY_FILE, QUANTIZED_FILE, SEARCH_FILE, misses_target
from mho.workflow.predictions import PREDICTIONS_FILE
from mho.workflow.program_stages import PROGRAM_FILE, RANGES_FILE, REFERENCE_PROGRAM_FILE
from mho.workflow.reported_run import LABELS, Extras, ReportedRun
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


def collect_result(reported: ReportedRun, extras: Extras) -> RunResult:
    """Return all figures of a finished run, with what `collect_extras` found beside them."""
    network, deployed = reported.stages["network"].figures, reported.deployments
    candidates = _candidates(reported)
    by_name = {candidate.name: candidate for candidate in candidates}
    search = collect_search(reported.stages["search"], reported.stages["found"].figures, reported.config.search.budget)
    simulated, hardware = reported.stages["simulation"].figures, reported.material.accelerator
    chip_accuracies, unsampled = _chips(simulated.get("chips", {}), search.task), _unsampled(reported)
    on_machine = describe_deployments(deployed, LABELS)
    result = RunResult(
        name=reported.config.run.name,
        sentence="",
        seed=reported.config.run.seed,
        seconds=sum(stage.seconds for stage in reported.stages.values()),
        network=_network(network),
        data=_data(reported),
        candidates=candidates,
        drop=reported.material.dataset.task.metric.scale * _lost(by_name["reference"], by_name["found"]),
        layers=_layers(reported),
        map=None if extras.network_map is None else MapDocument.of(network["source"], extras.network_map),
        search=search,
        worths=extras.worths,
        searches=extras.searches,
        trainings=_trainings(reported),
        checks=_checks(reported),
        instructions=reported.stages["program"].figures[PROGRAM_FILE]["instructions"],
        mapping=reported.material.mapping,
        mappings=extras.mappings,
        zero_slices=tuple(_zero_slices(name, found) for name, found in simulated["zero_slices"].items()),
        tested_on=simulated.get("tested_on", EXACT),
        chip_accuracies=chip_accuracies,
        target=_target(reported),
        error_sources=_read(ErrorSources, reported, "errors"),
        mapping_choice=_read(MappingChoice, reported, "mapping"),
        agreement=_read(ModelAgreement, reported, "agreement"),
        unsampled=unsampled,
        errors=extras.errors,
        sensitivities=extras.sensitivities,
        splits=tuple(split_cost(name, LABELS[name], one) for name, one in deployed.items()),
        sizes=extras.sizes,
        chip=on_machine,
        area=AreaFigures.of(area_chip(hardware)) if hardware.area.is_specified else None,
        absent=extras.absent,
        accelerator=reported.material.accelerator.to_json(),
        conversion=tell_conversion(reported.material.accelerator),
        settings=reported.config.to_json(),
        notes=_notes(reported),
        versions=versions(),
        machine=_machine(reported.config, reported.material.devices),
        stages=_stages(reported),
        files=_files(reported),
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


def _read(kind: type[_Figures], reported: ReportedRun, stage: str) -> _Figures | None:
    """Return the figures of a stage, or None where the run has none: those that `kind` knows."""
    if stage not in reported.stages:
        return None
    known = reported.stages[stage].figures
    return kind.model_validate({name: known[name] for name in kind.model_fields})


def _target(reported: ReportedRun) -> TargetFigures | None:
    """Return what was wanted of the found policy on validation data, and what it has; None within a cost budget."""
    found = reported.stages["found"].figures
    if (wanted := found.get("target_accuracy")) is None:
        return None
    return TargetFigures(
        accuracy=wanted,
        found=found["validation"]["accuracy"],
        reference=reported.stages["reference"].figures["validation"]["accuracy"],
        is_reached=not misses_target(found),
    )


def _lost(reference: Candidate, found: Candidate) -> float:
    """Return what is lost against uniform 8/8 with ideal integers."""
    exact = reference.integer_reference or reference.test
    return exact.accuracy - found.test.accuracy


def _trainings(reported: ReportedRun) -> tuple[TrainingFigures, ...]:
    return tuple(
        TrainingFigures(name=name, label=label, points=reported.stages[name].figures["points"])
        for name, label in LABELS.items()
    )


def _stages(reported: ReportedRun) -> tuple[StageFigures, ...]:
    return tuple(
        StageFigures(name=name, title=reported.titles[name], seconds=stage.seconds, key=stage.key, digest=stage.digest)
        for name, stage in reported.stages.items()
    )


def _candidates(reported: ReportedRun) -> tuple[Candidate, ...]:
    simulated, policies, deployed = reported.stages["simulation"].figures, reported.policies, reported.deployments
    reference_ps = deployed["reference"].latency_ps
    candidates = []
    for name, label in LABELS.items():
        cost = deployed.get(name)
        weight_bits, act_bits = (
            _mean_bits(reported.layers, policies[name]) if name in policies else (FLOAT_BITS, FLOAT_BITS)
        )
        candidates.append(
            Candidate(
                name=name,
                label=label,
                made_by=reported.stages[name].figures.get("made_by", ""),
                validation=Score(**reported.stages[name].figures["validation"]),
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


def _unsampled(reported: ReportedRun) -> str:
    """Return why no chips were sampled of hardware that is not exact; empty where they were, or where it is exact."""
    hardware = reported.material.accelerator
    if reported.config.simulation.chips == 0 and sample_chips(hardware, Conditions(), hardware) is not None:
        return "simulation.chips is 0"
    return str(reported.stages["simulation"].figures.get("unsampled", ""))


def _notes(reported: ReportedRun) -> tuple[str, ...]:
    """Return what the stages note, once each."""
    return tuple(dict.fromkeys(note for stage in reported.stages.values() for note in stage.figures.get("notes", ())))


def _mean_bits(layers: tuple[MvmLayer, ...], policy: Policy) -> tuple[float, float]:
    weights = sum(layer.outputs * layer.inputs * layer.repeat for layer in layers)
    macs = sum(layer.macs for layer in layers)
    return (
        sum(layer.outputs * layer.inputs * layer.repeat * policy[layer.name].weight_bits for layer in layers) / weights,
        sum(layer.macs * policy[layer.name].act_bits for layer in layers) / macs,
    )


def _layers(reported: ReportedRun) -> tuple[LayerFigures, ...]:
    hardware, deployed = reported.material.accelerator, reported.deployments
    reference, found = deployed["reference"].layers, deployed["found"].layers
    return tuple(
        _layer(layer, before, after, hardware)
        for layer, before, after in zip(reported.layers, reference, found, strict=True)
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


def _data(reported: ReportedRun) -> DataFigures:
    dataset = reported.material.dataset
    return DataFigures(
        name=dataset.name,
        classes=dataset.class_names or tuple(str(number) for number in range(dataset.classes)),
        train=len(dataset.train),
        calibration=len(dataset.calibration),
        validation=len(dataset.validation),
        test=len(dataset.test),
        **_inputs(reported),
        sha256=reported.material.data_hash,
        test_sha256=hash_samples(dataset.test.spread(reported.stages["simulation"].figures["float"]["count"])),
    )


def _inputs(reported: ReportedRun) -> dict[str, Any]:
    """Return what networks take and what they do to it first, by names in `DataFigures`."""
    steps = find_normalization(reported.network)
    return {
        "samples": reported.material.dataset.test.images.dtype.name,
        "normalization": [{"operation": step, "numbers": numbers.reshape(-1).tolist()} for step, numbers in steps],
    }


def _checks(reported: ReportedRun) -> tuple[Check, ...]:
    checks = [Check(**check) for check in reported.stages["simulation"].figures["checks"]]
    for name, file in (("found", PROGRAM_FILE), ("reference", REFERENCE_PROGRAM_FILE)):
        program, deployment = reported.stages["program"].figures[file], reported.deployments[name]
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


def _files(reported: ReportedRun) -> tuple[FileFigures, ...]:
    files = []
    for name, file, what in _FILES:
        stage = reported.stages[name]
        if file not in stage.files:
            continue
        path = stage.folder / file
        files.append(
            FileFigures(
                path=path.relative_to(reported.path).as_posix(),
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
