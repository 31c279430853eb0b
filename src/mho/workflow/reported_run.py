"""What a finished run can tell, and the parts of its report that it can do without: left out with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from mho.bit_search.space import SearchSpace
from mho.cost_model.document import to_microseconds
from mho.cost_model.network_map import NetworkMap
from mho.errors import MhoError
from mho.evaluation.deployment import DeployedLayer, Deployment
from mho.formats import plural
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer_table
from mho.policy import Policy
from mho.report.drawing_files import Picture, draw_slowest
from mho.report.result_figures import AbsentPart, MappingFigures
from mho.report.result_networks import ClassErrors, DeployedSize, Sensitivities
from mho.report.result_search import OperandWorth, SearchSummary
from mho.report.timeline import TimelineView
from mho.scheduling.regime import Regime
from mho.workflow.breakdowns import describe_errors, measure_size
from mho.workflow.chip_figures import draw_timeline
from mho.workflow.config import RunConfig
from mho.workflow.deployments import Deployments
from mho.workflow.material import Material
from mho.workflow.network_stages import FLOAT_FILE
from mho.workflow.policy_stages import QUANTIZED_FILE
from mho.workflow.predictions import PREDICTIONS_FILE, read_predictions
from mho.workflow.program_stages import PROGRAMS
from mho.workflow.run_directory import StageResult
from mho.workflow.search_results import collect_searches, collect_worths, price_sensitivities
from mho.workflow.search_stage import make_space

LABELS = {"float": "float32", "reference": "uniform 8/8", "found": "found policy"}
"""Networks of a run by name, for people."""

DRAWN_LAYERS = 3
"""Layers whose tiles are drawn on the page: the slowest."""

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class ReportedRun:
    """Everything that a finished run can tell.

    Attributes:
        config: of the run.
        material: data and hardware.
        stages: its finished stages by name, in order.
        titles: their titles.
        path: the run directory.
        machine: finds how the policies are deployed.
    """

    config: RunConfig
    material: Material
    stages: Mapping[str, StageResult]
    titles: Mapping[str, str]
    path: Path
    machine: Deployments

    @cached_property
    def network(self) -> Network:
        """The trained float network."""
        from mho.network.onnx_reader import read_onnx

        return read_onnx(self.stages["float"].folder / FLOAT_FILE)

    @cached_property
    def layers(self) -> tuple[MvmLayer, ...]:
        """Its MVM layers in execution order."""
        return derive_layer_table(self.network)

    @cached_property
    def policies(self) -> dict[str, Policy]:
        """Uniform 8/8 and the found policy by name."""
        names = ("reference", "found")
        return {name: Policy.from_json(self.stages[name].figures["policy"], where=name) for name in names}

    @cached_property
    def deployments(self) -> dict[str, Deployment]:
        """How the policies run on the machine, by name, under the run's mapping: what the programs are."""
        return self.deploy(self.material.mapping)

    def deploy(self, model: MappingModel) -> dict[str, Deployment]:
        """Return how the policies run on the machine under a mapping, by name. Raises `MhoError`."""
        return {name: self.machine.find(self.stages[name], model) for name in self.policies}


@dataclass(frozen=True, eq=False)
class Extras:
    """What a report shows beside the run's own figures, each of it as far as it can be had.

    Attributes:
        network_map: how the network lies in crossbars under the found policy.
        pictures: tiles of the slowest layers.
        timeline: of the found policy, where the machine has several crossbars.
        mappings: the policies under every mapping.
        worths: what one bit more or less of each layer would cost and bring, as the search saw it.
        sensitivities: what it changes of the found policy's network, with its cost.
        searches: the run's search and others in its directory.
        errors: of each network on test data, class by class; empty where the task has no classes.
        sizes: of each network where it is deployed.
        absent: what could not be had, and why.
    """

    network_map: NetworkMap | None
    pictures: tuple[Picture, ...]
    timeline: TimelineView | None
    mappings: tuple[MappingFigures, ...]
    worths: tuple[OperandWorth, ...]
    sensitivities: Sensitivities | None
    searches: tuple[SearchSummary, ...]
    errors: tuple[ClassErrors, ...]
    sizes: tuple[DeployedSize, ...]
    absent: tuple[AbsentPart, ...]


def collect_extras(reported: ReportedRun) -> Extras:
    """Return what can be had beside the run's own figures; what cannot ends no run."""
    material, search = reported.material, reported.stages["search"]
    absent = [AbsentPart(**part) for stage in reported.stages.values() for part in stage.figures.get("absent", ())]

    def get(name: str, make: Callable[[], Part], otherwise: Part) -> Part:
        try:
            return make()
        except MhoError as error:
            absent.append(AbsentPart(part=name, reason=error.line))
            return otherwise

    def map_found() -> NetworkMap | None:
        deployed = reported.deployments["found"]
        if deployed.regime is Regime.ONE_CROSSBAR:
            return NetworkMap.of(
                reported.layers, reported.policies["found"], material.accelerator, model=material.mapping
            )
        roles = {one.mapping.layer.name: _tell_role(one) for one in deployed.layers}
        return NetworkMap.of_schedule(deployed.network_mapping, material.accelerator, roles, model=material.mapping)

    found = reported.stages["found"].figures
    measured = None if (raw := found.get("sensitivities")) is None else Sensitivities.model_validate(raw)

    def space() -> SearchSpace:
        config, network_file = reported.config, reported.stages["float"].folder / FLOAT_FILE
        return make_space(network_file, config.search, material, config.evaluation)

    def explain() -> tuple[OperandWorth, ...]:
        return collect_worths(search, space(), found["index"], reported.config.run.seed)

    def price() -> Sensitivities | None:
        return None if measured is None else price_sensitivities(measured, reported.policies["found"], space())

    network_map = get("the map of the network", map_found, None)
    return Extras(
        network_map=network_map,
        pictures=() if network_map is None else get(
            "drawings of the slowest layers", lambda: draw_slowest(network_map, DRAWN_LAYERS), ()
        ),
        timeline=get("the timeline of the crossbars", lambda: draw_timeline(reported.deployments["found"]), None),
        mappings=tuple(_under_mapping(reported, model) for model in MappingModel),
        worths=get("how sensitive layers are", explain, ()),
        sensitivities=get("what bits cost", price, measured),
        searches=get("other searches", lambda: collect_searches(search, reported.path), ()),
        errors=get("errors by class", lambda: _collect_errors(reported), ()),
        sizes=get("deployed size", lambda: _collect_sizes(reported), ()),
        absent=tuple(absent),
    )  # fmt: skip


def _tell_role(layer: DeployedLayer) -> str:
    """Return what a schedule makes of a layer, in words."""
    if layer.mapping.is_digital:
        return "On the digital unit."
    copies, crossbars = plural(layer.copies, "copy", "copies"), plural(layer.crossbars, "crossbar")
    return f"{copies} in {crossbars}." + (f" {plural(layer.writes, 'write')} an input." if layer.writes else "")


def _under_mapping(reported: ReportedRun, model: MappingModel) -> MappingFigures:
    """Return times of both policies on the machine under a mapping, or why there are none."""
    try:
        deployed = reported.deploy(model)
    except MhoError as error:
        return MappingFigures(mapping=model, reason=error.line)
    reference, found = deployed["reference"].latency_ps, deployed["found"].latency_ps
    return MappingFigures(
        mapping=model,
        reference_latency_us=to_microseconds(reference),
        found_latency_us=to_microseconds(found),
        speedup=reference / found,
    )


def _collect_errors(reported: ReportedRun) -> tuple[ClassErrors, ...]:
    stage = reported.stages["simulation"]
    if PREDICTIONS_FILE not in stage.files:  # such as where the task has no classes
        return ()
    labels, predictions = read_predictions(stage.folder / PREDICTIONS_FILE)
    classes = reported.material.dataset.classes
    return tuple(
        describe_errors(name, label, labels, predictions[name], classes)
        for name, label in LABELS.items()
        if name in predictions
    )


def _collect_sizes(reported: ReportedRun) -> tuple[DeployedSize, ...]:
    def network_bytes(name: str, file: str) -> int:
        return (reported.stages[name].folder / file).stat().st_size

    def measure_program(name: str) -> dict[str, Any]:
        figures = reported.stages["program"].figures[PROGRAMS[name]]
        return {
            "program_bytes": figures["bytes"],
            "device_bytes": (figures.get("flash_bytes"), figures.get("ram_bytes")),
        }

    in_float = measure_size("float", LABELS["float"], reported.layers, network_bytes=network_bytes("float", FLOAT_FILE))
    return (in_float, *(
        measure_size(
            name, LABELS[name], reported.layers, network_bytes=network_bytes(name, QUANTIZED_FILE), policy=policy,
            deployment=reported.deployments[name],
            **measure_program(name),
        )
        for name, policy in reported.policies.items()
    ))  # fmt: skip
