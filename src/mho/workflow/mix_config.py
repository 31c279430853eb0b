"""The configuration of a mix: networks that share one accelerator, each with the file of a run of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, field_validator, model_validator

from mho.bit_search.methods import PrunedMethodName
from mho.errors import ConfigError
from mho.frozen_model import FrozenModel
from mho.settings import parse_settings, read_toml
from mho.workflow.config import RunConfig, load_config
from mho.workflow.search_settings import SearchSettings

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_COMPUTING = ("threads", "devices", "precision")
_SEARCH_KEYS = ("method", "objective", "budget", "allowed_drop", "cost_budget", "whole_front", "batch")


class MixSettings(FrozenModel):
    """Name and place of the mix, and its networks."""

    name: str = Field(pattern=NAME)
    """Name of the mix: letters, digits, dot, dash, underscore."""
    directory: Path | None = None
    """Where results go; mixes/NAME where it is left out. Relative to where the command is given."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """Of the search; each network's trainings have that of its own run."""


class MixedRun(FrozenModel):
    """One network of a mix."""

    run: Path
    """The configuration of its run (TOML): network, data, accelerator, training, and the limits of its policies
    ([search]: ranges of bits, held and pinned layers). Its goal, method and budget are not used, nor the stages and
    repeats of its evaluation."""
    share: float = Field(default=1.0, gt=0, le=1000)
    """How much its loss and its accuracy count against those of the others."""
    inputs: int = Field(default=1, ge=1, le=10**9)
    """How many of its inputs count in the latency or energy of the mix."""


class MixSearch(FrozenModel):
    """What is searched, and how."""

    method: PrunedMethodName = "exact"
    """As of a run."""
    objective: Literal["latency", "energy", "crossbars"] = "crossbars"
    """`crossbars`: how many hold all networks at once; `latency`, `energy`: of the inputs of all networks, one after
    the other."""
    budget: int = Field(ge=2, le=100_000)
    """Evaluations of the whole mix, uniform 8/8 and repeated ones counted in."""
    allowed_drop: float | None = Field(default=None, ge=0, le=100)
    """Points of the networks' mean accuracy on validation data, weighted by their shares, that may be lost against
    uniform 8/8; 1 where no other goal is given."""
    cost_budget: Annotated[float, Field(gt=0, le=1)] | str | None = None
    """What the mix may cost, such as "96 crossbars" or 0.5 of uniform 8/8, instead of what it may lose."""
    whole_front: bool = False
    """Search policies of all costs alike."""
    batch: int = Field(default=1, ge=1, le=1024)
    """How many policies the method proposes before it learns the result of any, so that several can be evaluated at
    the same time (`--processes`, `--ray`); other batches lead to other proposals."""

    repeats: int | None = Field(default=None, ge=0, le=100)
    """With how many other seeds all networks are measured before a policy may win, and uniform 8/8 at the beginning.
    Left out: 4, but at most a tenth of the budget, where candidates of all networks are trained; else 0."""

    @model_validator(mode="after")
    def _is_a_goal(self) -> MixSearch:
        self.settings()
        return self

    def settings(self) -> SearchSettings:
        """Return the same as a run's search, which checks it. Raises `ValueError`."""
        given = self.model_dump(exclude_none=True, include=set(_SEARCH_KEYS))
        return SearchSettings.model_validate(given)


class MixConfig(FrozenModel):
    """The configuration of `mho mix`."""

    mix: MixSettings
    """Name, seed and place."""
    networks: Annotated[
        Mapping[Annotated[str, Field(pattern=NAME)], MixedRun], PlainSerializer(dict, return_type=dict[str, MixedRun])
    ] = Field(min_length=2)
    """The networks, by names of your choice: two or more."""
    search: MixSearch
    """What is searched, and how."""

    @field_validator("networks")
    @classmethod
    def _freeze(cls, networks: Mapping[str, MixedRun]) -> Mapping[str, MixedRun]:
        return MappingProxyType(dict(networks))

    @property
    def directory(self) -> Path:
        """Where results go."""
        return self.mix.directory or Path("mixes") / self.mix.name

    def to_json(self) -> dict[str, Any]:
        """Return plain tables, numbers and text."""
        return self.model_dump(mode="json")


def load_mix(path: str | Path, *, directory: Path | None = None) -> MixConfig:
    """Read a mix's TOML file; paths of runs are relative to it.

    Raises:
        InputFileError: the file is missing or not TOML.
        ConfigError: every unknown, missing or impossible key, each with its valid range.
    """
    content = read_toml(path)
    if directory is not None and isinstance(content.get("mix", {}), dict):
        content.setdefault("mix", {})["directory"] = str(directory.absolute())
    networks = content.get("networks")
    for one in networks.values() if isinstance(networks, dict) else ():
        if isinstance(one, dict) and isinstance(one.get("run"), str):
            one["run"] = str(Path(path).resolve().parent / Path(one["run"]).expanduser())
    return parse_settings(MixConfig, content, where=str(path))


def load_runs(config: MixConfig, *, data_root: Path | None = None) -> dict[str, RunConfig]:
    """Return the configurations of the networks' runs, under the objective of the mix.

    Raises:
        InputFileError, ConfigError: as `mho.workflow.config.load_config`; or two networks have different accelerators,
            mappings, threads, devices or the same run directory, or search ADC bits.
    """
    runs = {}
    for name, one in config.networks.items():
        run = load_config(one.run, data_root=data_root)
        given = {key: getattr(config.search, key) for key in ("objective", "method", "budget")}
        search = run.search.model_copy(update=given)
        runs[name] = run.model_copy(update={"search": search})
    first_name, first = next(iter(runs.items()))
    for name, run in runs.items():
        for what, ours, theirs in (
            ("accelerator", run.accelerator, first.accelerator),
            ("task", run.task, first.task),
            *((f"run.{key}", getattr(run.run, key), getattr(first.run, key)) for key in _COMPUTING),
        ):
            if ours != theirs:
                raise ConfigError(
                    f"{name} and {first_name} differ in {what}",
                    where=str(config.networks[name].run),
                    expected="networks of one task that share one accelerator, trained on as many threads and the same "
                    "devices",
                )
        if config.search.repeats and run.evaluation.training is None:
            raise ConfigError(
                f"search.repeats is {config.search.repeats}, and candidates of {name} are calibrated only",
                where=str(config.networks[name].run),
                expected="a table [evaluation.training]: a seed changes nothing otherwise",
            )
    if len({run.directory.absolute() for run in runs.values()}) < len(runs):
        raise ConfigError("two networks have the same run directory", where="networks", expected="a run for each")
    return runs
