"""What a finished run can tell, and the parts of its report that it can do without: left out with a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from mho.cost_model.document import to_microseconds
from mho.cost_model.latency import NetworkCost, cost_network
from mho.cost_model.network_map import NetworkMap
from mho.errors import MhoError
from mho.mapping.layer_mapping import MappingModel
from mho.network.graph import Network
from mho.network.layers import MvmLayer, derive_layer_table
from mho.policy import Policy
from mho.report.drawing_files import Picture, draw_slowest
from mho.report.result_figures import AbsentPart, MappingFigures
from mho.report.result_networks import ClassErrors, DeployedSize
from mho.report.result_search import OperandWorth, SearchSummary
from mho.workflow.breakdowns import describe_errors, measure_size
from mho.workflow.chip_figures import OnChip, schedule_policies
from mho.workflow.config import RunConfig
from mho.workflow.material import Material
from mho.workflow.network_stages import FLOAT_FILE
from mho.workflow.policy_stages import QUANTIZED_FILE
from mho.workflow.predictions import PREDICTIONS_FILE, read_predictions
from mho.workflow.program_stages import PROGRAM_FILE, REFERENCE_PROGRAM_FILE
from mho.workflow.run_directory import StageResult
from mho.workflow.search_results import collect_searches, collect_worths
from mho.workflow.search_stage import make_space

LABELS = {"float": "float32", "reference": "uniform 8/8", "found": "found policy"}
"""Networks of a run by name, for people."""

DRAWN_LAYERS = 3
"""Layers whose tiles are drawn on the page: the slowest."""

Part = TypeVar("Part")


@dataclass(frozen=True, eq=False)
class Outcome:
    """Everything that a finished run can tell.

    Attributes:
        config: of the run.
        material: data and hardware.
        stages: its finished stages by name, in order.
        titles: their titles.
        path: the run directory.
    """

    config: RunConfig
    material: Material
    stages: Mapping[str, StageResult]
    titles: Mapping[str, str]
    path: Path

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
    def costs(self) -> dict[str, NetworkCost]:
        """What the policies cost under the run's mapping."""
        return self.cost(self.material.mapping)

    def cost(self, model: MappingModel) -> dict[str, NetworkCost]:
        """Return what the policies cost under a mapping, by name. Raises `MhoError`."""
        hardware = self.material.accelerator
        return {name: cost_network(self.layers, one, hardware, model=model) for name, one in self.policies.items()}


@dataclass(frozen=True, eq=False)
class Extras:
    """What a report shows beside the run's own figures, each of it as far as it can be had.

    Attributes:
        network_map: how the network lies in crossbars under the found policy.
        pictures: tiles of the slowest layers.
        on_chip: the policies on the whole chip.
        mappings: the policies under every mapping.
        worths: what one bit more or less of each layer would cost and bring.
        searches: the run's search and others in its directory.
        errors: of each network on test data, class by class; empty where the task has no classes.
        sizes: of each network where it is deployed.
        absent: what could not be had, and why.
    """

    network_map: NetworkMap | None
    pictures: tuple[Picture, ...]
    on_chip: OnChip
    mappings: tuple[MappingFigures, ...]
    worths: tuple[OperandWorth, ...]
    searches: tuple[SearchSummary, ...]
    errors: tuple[ClassErrors, ...]
    sizes: tuple[DeployedSize, ...]
    absent: tuple[AbsentPart, ...]


def collect_extras(outcome: Outcome) -> Extras:
    """Return what can be had beside the run's own figures; what cannot ends no run."""
    material, search = outcome.material, outcome.stages["search"]
    absent = [AbsentPart(**part) for stage in outcome.stages.values() for part in stage.figures.get("absent", ())]

    def get(name: str, make: Callable[[], Part], otherwise: Part) -> Part:
        try:
            return make()
        except MhoError as error:
            absent.append(AbsentPart(part=name, reason=error.line))
            return otherwise

    def map_found() -> NetworkMap | None:
        return NetworkMap.of(outcome.layers, outcome.policies["found"], material.accelerator, model=material.mapping)

    def schedule() -> OnChip:
        policies = {name: (LABELS[name], policy) for name, policy in outcome.policies.items()}
        return schedule_policies(outcome.network, policies, material.accelerator, model=material.mapping)

    def explain() -> tuple[OperandWorth, ...]:
        space = make_space(outcome.stages["float"].folder / FLOAT_FILE, outcome.config.search, material)
        return collect_worths(search, space, outcome.stages["found"].figures["index"], outcome.config.run.seed)

    network_map = get("the map of the network", map_found, None)
    return Extras(
        network_map=network_map,
        pictures=() if network_map is None else get(
            "drawings of the slowest layers", lambda: draw_slowest(network_map, DRAWN_LAYERS), ()
        ),
        on_chip=get("schedules on the whole chip", schedule, OnChip((), None)),
        mappings=tuple(_under_mapping(outcome, model) for model in MappingModel),
        worths=get("how sensitive layers are", explain, ()),
        searches=get("other searches", lambda: collect_searches(search, outcome.path), ()),
        errors=get("errors by class", lambda: _collect_errors(outcome), ()),
        sizes=get("deployed size", lambda: _collect_sizes(outcome), ()),
        absent=tuple(absent),
    )  # fmt: skip


def _under_mapping(outcome: Outcome, model: MappingModel) -> MappingFigures:
    """Return times of both policies under a mapping, or why there are none."""
    try:
        costs = outcome.costs if model is outcome.material.mapping else outcome.cost(model)
    except MhoError as error:
        return MappingFigures(mapping=model, reason=error.line)
    reference, found = costs["reference"].latency_ps, costs["found"].latency_ps
    return MappingFigures(
        mapping=model,
        reference_latency_us=to_microseconds(reference),
        found_latency_us=to_microseconds(found),
        speedup=reference / found,
    )


def _collect_errors(outcome: Outcome) -> tuple[ClassErrors, ...]:
    stage = outcome.stages["simulation"]
    if PREDICTIONS_FILE not in stage.files:
        return ()
    labels, predictions = read_predictions(stage.folder / PREDICTIONS_FILE)
    classes = outcome.material.dataset.classes
    return tuple(
        describe_errors(name, label, labels, predictions[name], classes)
        for name, label in LABELS.items()
        if name in predictions
    )


def _collect_sizes(outcome: Outcome) -> tuple[DeployedSize, ...]:
    def network_bytes(name: str, file: str) -> int:
        return (outcome.stages[name].folder / file).stat().st_size

    programs = {"reference": REFERENCE_PROGRAM_FILE, "found": PROGRAM_FILE}
    in_float = measure_size("float", LABELS["float"], outcome.layers, network_bytes=network_bytes("float", FLOAT_FILE))
    return (in_float, *(
        measure_size(
            name, LABELS[name], outcome.layers, network_bytes=network_bytes(name, QUANTIZED_FILE), policy=policy,
            cost=outcome.costs[name], accelerator=outcome.material.accelerator,
            program_bytes=outcome.stages["program"].figures[programs[name]]["bytes"],
        )
        for name, policy in outcome.policies.items()
    ))  # fmt: skip
