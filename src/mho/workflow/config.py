"""The configuration of a run: what a user writes in a TOML file, validated as a whole before anything starts.

Paths in the file are relative to the file, except the run directory, which is relative to where the command is given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mho.bit_search.budget import default_repeats
from mho.data.spec import DataSpec
from mho.errors import ConfigError
from mho.evaluation.accuracy import AccuracyOf
from mho.frozen_model import FrozenModel
from mho.hardware.array import MAX_READS
from mho.hardware.chip import MAX_CROSSBARS, DigitalArithmetic
from mho.hardware.mapping_rules import MAX_RELATIVE_ERROR, PAPER_ENCODINGS, Encoding, LayerName, MappingObjective
from mho.mapping.layer_mapping import DEFAULT_MODEL, MappingModel
from mho.policy import Policy
from mho.quantization.devices import PATTERN as DEVICES_PATTERN
from mho.quantization.effort import DEFAULT_EFFORT, Effort
from mho.settings import MAX_COUNT, Count, parse_settings, read_toml
from mho.task.settings import TaskSettings
from mho.workflow.search_settings import OWN_LOG, SearchSettings
from mho.workflow.training_settings import QatSettings, TrainingSettings


class RunSettings(FrozenModel):
    """Name, seed and place of the run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Name of the run: letters, digits, dot, dash, underscore."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """From it comes every random number of the run."""
    directory: Path | None = None
    """Where results go; runs/NAME where it is left out. Relative to where the command is given."""
    threads: int = Field(default=2, ge=1, le=1024)
    """Threads that training and simulation use. Training figures depend on it in their last digits."""
    compile: bool | Literal["auto"] = "auto"
    """Train through torch.compile: quicker steps for half a minute of start each stage. "auto": where training is long
    enough to win that back. Where no C++ compiler is found it is skipped, and the report says so; several devices
    train without it."""
    devices: str = Field(default="auto", pattern=DEVICES_PATTERN)
    """Where networks are trained: `auto` (every CUDA GPU, or the processor where there is none), `cpu`, `cuda`, or
    names such as `cuda:0,cuda:1`. A training in full shares every batch out between them, a process for each;
    candidates of a search have one each. Training on arrays is on the first of them, simulation on the processor."""
    precision: Literal["float32", "bf16"] = "float32"
    """In which numbers products of layers are computed while training. `bf16` suits GPUs that are quicker in it."""


class NetworkSettings(FrozenModel):
    """Which network."""

    name: str = Field(min_length=1)
    """`resnet8`, `resnet20`, `vgg9`, `vgg11-small`, `torchvision:NAME`, `package.module:function` or
    `file.py:function` (runs that code), or an ONNX file (`file.onnx`)."""
    weights: Path | None = None
    """A .safetensors file of trained weights (names as in the module's state_dict), instead of float training."""

    @property
    def is_onnx(self) -> bool:
        """True for an ONNX file, which has its own weights."""
        return self.name.endswith(".onnx")

    @property
    def has_weights(self) -> bool:
        """True where the network comes with weights."""
        return self.is_onnx or self.weights is not None


class AcceleratorSettings(FrozenModel):
    """Which hardware."""

    name: str = Field(min_length=1)
    """A preset, or a TOML file."""
    cell_bits: int | None = Field(default=None, ge=1, le=8)
    """Overrides the description's."""
    encoding: Encoding | None = None
    """Weights are held so and in no other way; one that the description allows."""
    crossbars: int | None = Field(default=None, ge=1, le=MAX_CROSSBARS)
    """Of the chip, instead of the description's; cores keep their size."""
    max_error: Annotated[float, Field(gt=0, le=MAX_RELATIVE_ERROR)] | Literal["none", "auto", "least"] | None = None
    """Instead of the description's `mapping.max_error`: how much error a mapping may cause at a layer's output. Left
    out: the description's; where that is "auto" and hardware is not exact, the run chooses it."""
    mapping_objective: MappingObjective | None = None
    """Instead of the description's `mapping.objective`: which mapping of a layer is the best."""
    always_digital: tuple[LayerName, ...] | None = None
    """Instead of the description's: layers that the digital unit computes."""
    never_digital: tuple[LayerName, ...] | None = None
    """Instead of the description's: layers that lie in crossbars."""
    arithmetic: DigitalArithmetic | None = None
    """Instead of the description's `digital.arithmetic`: what digital units compute with between layers."""
    mapping: MappingModel = DEFAULT_MODEL
    """`best`: the cheapest exact mapping of each layer that the accelerator allows; `paper`: that of arXiv
    2601.21737."""

    @model_validator(mode="after")
    def _check_encoding(self) -> AcceleratorSettings:
        if self.mapping is MappingModel.PAPER and self.encoding not in (None, *PAPER_ENCODINGS):
            raise ValueError(
                f"the paper's mapping has no encoding {self.encoding!s}; it has {', '.join(PAPER_ENCODINGS)}, "
                "and mapping = 'best' has all"
            )
        rules = "max_error", "mapping_objective", "always_digital", "never_digital"
        given = [key for key in rules if getattr(self, key) is not None]
        if self.mapping is MappingModel.PAPER and given:
            raise ValueError(f"{given[0]} is a rule of mapping = 'best', and the mapping is the paper's")
        return self


class EvaluationSettings(FrozenModel):
    """How a candidate policy is measured during the search: calibrate, train shortly, validate."""

    training: TrainingSettings | None = None
    """Short quantization-aware training of each candidate; left out: post-training quantization only."""
    shared_training: TrainingSettings | None = None
    """One training for all policies before the search: in every step each layer has other widths. Candidates then start
    from it and are calibrated only; full trainings start from the float network. Batch normalizations keep their
    statistics and steps are calibrated: `fixed_norm_share` and `scale_learning_rate` do not count."""
    stages: tuple[Annotated[int, Field(ge=0, le=MAX_COUNT)], ...] = ()
    """Shorter trainings that candidates of a batch go through first, in steps, ascending; 0: only calibrated."""
    promote: float = Field(default=0.5, gt=0, lt=1)
    """The share of candidates that goes on from each stage."""
    stop_hopeless: bool = False
    """End trainings of candidates halfway that are no better than guessing."""
    effort: Effort = DEFAULT_EFFORT
    """How much work calibration puts into each candidate: `mho quantize --effort`, without its smoothing."""
    accuracy_of: AccuracyOf = "auto"
    """Whose accuracy counts. "auto": that of exact integers where hardware computes these, else that on the chips of
    [simulation], for candidates of the search by the statistical model; "exact": that of exact integers, on any
    hardware; "statistical": by the model, which must have all that the hardware has; "sampled-chips": that on sampled
    chips, for candidates too."""
    repeats: int | None = Field(default=None, ge=0, le=100)
    """With how many other seeds a policy is measured before it may win, and uniform 8/8 at the beginning. Left out: 4,
    but at most a tenth of the search's budget, where candidates are trained; else 0."""

    @model_validator(mode="after")
    def _fits_together(self) -> EvaluationSettings:
        if self.training is not None and self.shared_training is not None:
            raise ValueError("training and shared_training: candidates are trained one by one or all at once; give one")
        if self.training is None and (self.stages or self.repeats):
            raise ValueError("stages and repeats need a training: candidates that are only calibrated have neither")
        if list(self.stages) != sorted(set(self.stages)):
            raise ValueError(f"stages are {list(self.stages)}; expected ascending numbers of steps")
        return self

    def repeats_within(self, budget: int) -> int:
        """Return with how many other seeds policies are measured in a search of `budget` evaluations."""
        if self.repeats is not None:
            return self.repeats
        return default_repeats(budget, is_trained=self.training is not None)

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = handler(self)
        if not self.stages:
            content.pop("promote", None)
        defaults: dict[str, Any] = {
            "shared_training": None,
            "stages": [],
            "stop_hopeless": False,
            "accuracy_of": "auto",
            "effort": DEFAULT_EFFORT,
        }
        return {key: value for key, value in content.items() if key not in defaults or value != defaults[key]}


class CalibrationSettings(FrozenModel):
    """How finished networks are calibrated."""

    effort: Effort = DEFAULT_EFFORT
    """How much work calibration puts into uniform 8/8 and into the found policy: `mho quantize --effort`, without its
    smoothing; a training starts from there."""


class SimulationSettings(FrozenModel):
    """On how many test samples each engine is compared with the others."""

    executor_images: Count | Literal["all"] = "all"
    """Test samples that the compiled program answers: they give the final accuracy."""
    reference_images: Count = 1000
    """Of these, how many are compared with the integer reference."""
    interpreter_images: Count = 50
    """Of these, how many the program's interpreter runs too."""
    zero_slice_images: int = Field(default=200, ge=0, le=MAX_COUNT)
    """Of these, on how many the reads are counted that only drive zero slices; 0: none."""
    batch_size: int = Field(default=256, ge=1, le=65536)
    """Samples run together."""
    chips: Annotated[int, Field(ge=0, le=1000)] | Literal["auto"] = "auto"
    """On how many sampled chips, of seeds 1, 2 and so on, both programs are tested; 0: none, and accuracies are those
    of exact integers everywhere. "auto": none where cells, wires and converters are ideal, one where all chips are
    alike, 5 otherwise."""
    chip_images: Count | Literal["auto"] = "auto"
    """Test samples that each of them answers. "auto": up to 500, fewer for large networks, but no fewer than 50."""
    accelerator: str | None = Field(default=None, min_length=1)
    """A preset or a TOML file: cells, wires and converters of the chips, where these are not the run's. Crossbars,
    cells and DACs must be the same."""
    elapsed_s: float | None = Field(default=None, gt=0)
    """Time since the chips' cells were written, s, where they drift. Left out: at once."""
    temperature_k: float | None = Field(default=None, gt=0)
    """Temperature of the chips, K. Left out: that at which drift was measured."""
    reads: int = Field(default=0, ge=0, le=MAX_READS)
    """Reads of the chips since their cells were written."""
    recalibration: Literal["none", "channels"] = "none"
    """"channels": scale and bias of each channel are corrected on each chip when it is read, on calibration samples."""

    @model_validator(mode="after")
    def _needs_chips(self) -> SimulationSettings:
        of_chips = ("accelerator", "elapsed_s", "temperature_k", "reads", "chip_images", "recalibration")
        given = [name for name in of_chips if getattr(self, name) not in (None, 0, "auto", "none")]
        if given and self.chips == 0:
            raise ValueError(f"{given[0]} is of sampled chips, and there are none: chips is 0")
        return self


class RunConfig(FrozenModel):
    """The configuration of `mho run`."""

    run: RunSettings
    """Name, seed and place."""
    network: NetworkSettings
    """Which network."""
    task: TaskSettings = TaskSettings()
    """What the network is for. Left out: classification by accuracy."""
    data: DataSpec
    """Which data."""
    accelerator: AcceleratorSettings
    """Which hardware."""
    float_training: TrainingSettings | None = None
    """Training of the float network. Left out where weights are given."""
    reference: Literal["best", "ptq"] = "best"
    """How uniform 8/8 is made: as the found policy is, by calibration and by the training of [qat], of which the more
    accurate network on validation data is kept, or by calibration only."""
    calibration: CalibrationSettings = CalibrationSettings()
    """How finished networks are calibrated."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """How candidates are measured."""
    search: SearchSettings
    """How bit widths are searched."""
    qat: QatSettings
    """Final quantization-aware training of the found policy and of uniform 8/8. Where it ends below calibration alone
    on validation data, the calibrated network is kept."""
    simulation: SimulationSettings = SimulationSettings()
    """How the compiled program is checked."""

    @model_validator(mode="after")
    def _has_chips(self) -> RunConfig:
        if self.simulation.chips == 0 and self.evaluation.accuracy_of not in ("auto", "exact"):
            raise ValueError(
                f"evaluation.accuracy_of is {self.evaluation.accuracy_of!r}, and simulation.chips is 0: there are none"
            )
        if self.search.has_adc_bits and (self.simulation.chips == 0 or self.evaluation.accuracy_of == "exact"):
            raise ValueError(
                "search.adc_bits: exact integers do not depend on ADCs; leave evaluation.accuracy_of and "
                "simulation.chips at their defaults"
            )
        return self

    @model_validator(mode="after")
    def _has_weights(self) -> RunConfig:
        if self.network.is_onnx and self.network.weights is not None:
            raise ValueError("network.weights: an ONNX file has its own weights")
        if not self.network.has_weights and self.float_training is None:
            raise ValueError("the network has no weights: add [float_training] or network.weights")
        if self.float_training is not None and self.float_training.distillation:
            raise ValueError("float_training.distillation: the float network itself is the teacher; leave it out")
        return self

    @model_validator(mode="after")
    def _suits_task(self) -> RunConfig:
        task, trainings = self.task.task(), (self.float_training, self.evaluation.training, self.qat)
        try:
            task.metric.check_drop(self.search.allowed_drop, where="search.allowed_drop")
            for training in trainings:
                task.check_smoothing(0.0 if training is None else training.label_smoothing)
        except ConfigError as error:
            raise ValueError(f"{error.what}; expected {error.expected}") from error
        if self.evaluation.stop_hopeless and not task.has_classes:
            raise ValueError(f"evaluation.stop_hopeless for {task.kind}; expected classes, which can be guessed")
        return self

    @property
    def directory(self) -> Path:
        """Where results go."""
        return self.run.directory or Path("runs") / self.run.name

    def to_json(self) -> dict[str, Any]:
        """Return plain tables, numbers and text; no task for classification."""
        return self.model_dump(mode="json", exclude={"task"} if self.task == TaskSettings() else None)


def load_config(
    path: str | Path,
    *,
    directory: Path | None = None,
    data_root: Path | None = None,
    weights: Path | None = None,
    policy: Path | None = None,
    accelerator: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Read a run's TOML file; what is given beside it goes before what the file says.

    `accelerator` holds keys of the file's table [accelerator]; None leaves one as it is in the file.

    A policy takes the place of the file's search: of its table only `objective` and `allowed_drop` are left.

    Raises:
        InputFileError: the file is missing or not TOML, or the policy's cannot be read.
        PolicyError: the policy's file holds none.
        ConfigError: every unknown, missing or impossible key, each with its valid range.
    """
    content = read_toml(path)
    base = Path(path).resolve().parent
    for section, key, value in (
        ("run", "directory", directory),
        ("data", "root", data_root),
        ("network", "weights", weights),
    ):
        if value is not None and isinstance(content.get(section, {}), dict):
            content.setdefault(section, {})[key] = str(value.absolute())
    given = {key: value for key, value in (accelerator or {}).items() if value is not None}
    if given and isinstance(content.get("accelerator"), dict):
        content["accelerator"] |= given
    search = content.get("search", {})
    if policy is not None and isinstance(search, dict):
        kept = {key: value for key, value in search.items() if key in ("objective", "allowed_drop")}
        content["search"] = {**kept, "policy": str(policy.absolute())}
    _resolve(content, base)
    return parse_settings(RunConfig, content, where=str(path))


def _resolve(content: dict[str, Any], base: Path) -> None:
    """Make paths of inputs absolute: relative ones are meant relative to the file. A policy file is read."""
    search = content.get("search")
    if isinstance(search, dict) and isinstance(search.get("policy"), str):
        given = Policy.load(base / Path(search["policy"]).expanduser())
        search["policy"] = {name: str(widths) for name, widths in given.layers.items()}
    start = search.get("start") if isinstance(search, dict) else None
    tables = (
        (content.get("data"), "root"),
        (content.get("network"), "weights"),
        (start, "agent"),
        (start, "evaluations"),
    )
    for table, key in tables:
        if isinstance(table, dict) and isinstance(table.get(key), str) and table[key] != OWN_LOG:
            table[key] = str(base / Path(table[key]).expanduser())
    network, accelerator, task = content.get("network"), content.get("accelerator"), content.get("task")
    if isinstance(network, dict) and str(network.get("name")).endswith(".onnx"):
        network["name"] = str(base / Path(network["name"]).expanduser())
    for table, key in ((network, "name"), (content.get("data"), "name"), (task, "loss"), (task, "metric")):
        if isinstance(table, dict) and isinstance(table.get(key), str):
            file, colon, function = table[key].rpartition(":")
            if file.endswith(".py"):
                table[key] = f"{base / Path(file).expanduser()}{colon}{function}"
    qat = content.get("qat")
    noise = qat.get("noise") if isinstance(qat, dict) else None
    for named, key in ((accelerator, "name"), (noise, "accelerator"), (content.get("simulation"), "accelerator")):
        if isinstance(named, dict) and re.search(r"\.toml$", str(named.get(key, ""))):
            named[key] = str(base / Path(named[key]).expanduser())
