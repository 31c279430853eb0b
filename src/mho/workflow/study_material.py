"""What a study works with: program, samples and calibration inputs, read and checked against each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.array.calibration import RangeRule
from mho.data.loading import load_dataset
from mho.errors import ConfigError, DataError
from mho.evaluation.chip import ChipPreparation
from mho.evaluation.samples import LABELS, Inputs, LabelledSamples, read_samples
from mho.hardware.loading import accelerator_from_json, load_accelerator
from mho.hardware.spec import Accelerator
from mho.input_files import hash_file
from mho.program.container import read_program, write_program
from mho.program.program import NORMALIZES_INPUT, Program
from mho.report.study_document import StudySamples
from mho.seeds import derive_seed
from mho.workflow.study_config import StudyConfig


@dataclass(frozen=True, eq=False)
class LoadedStudy:
    """Program and samples of a study.

    Attributes:
        program: what chips run.
        program_source: where it came from, for people.
        samples: what they classify.
        samples_source: where these came from, for people.
        preparation: how chips are calibrated and recalibrated; None where there are no inputs for that.
        samples_hash, calibration_hash: SHA-256 of inputs and labels, of calibration inputs.
    """

    program: Program
    program_source: str
    samples: LabelledSamples
    samples_source: str
    preparation: ChipPreparation | None
    samples_hash: str
    calibration_hash: str

    def check_calibration(self, is_needed: bool, is_given: bool, *, where: str) -> None:
        """Check that there are calibration inputs if, and only if, a point needs them. Raises `ConfigError`."""
        if is_given and not is_needed:
            raise ConfigError(
                "no point calibrates anything",
                where=f"{where}: calibration",
                expected="converters.adc_bits as a number and converters.adc_range other than full-scale, or "
                "mitigation.recalibration other than none, somewhere",
            )
        if is_needed and self.preparation is None:
            raise ConfigError(
                "calibrated ADCs and recalibration need inputs to be calibrated on",
                where=f"{where}: calibration",
                expected="calibration.file, an .npz file of arrays [N, ...] by the names of the inputs; in Python, "
                "calibration",
            )

    def measure_exactly(self) -> float:
        """Return the accuracy of the integer reference; checks that program, samples and arrays fit together.

        Raises:
            DataError: samples or calibration inputs do not suit the program.
            UnsupportedOperationError: arrays cannot run the program.
        """
        from mho.simulation.analog import AnalogExecutor
        from mho.simulation.executor import Executor
        from mho.simulation.samples import check_inputs

        AnalogExecutor(self.program, 0, hardware=_idealize(self.program))
        if self.preparation is not None:
            check_inputs(self.program, self.preparation.inputs)
        return self.samples.accuracy(Executor(self.program).run(self.samples.inputs))

    def write_program(self, path: Path) -> str:
        """Write the program for workers, and return the SHA-256 of the file."""
        write_program(self.program, path)
        return hash_file(path)

    def describe_samples(self) -> StudySamples:
        """Return what the result tells of the samples."""
        return StudySamples(source=self.samples_source, count=len(self.samples), sha256=self.samples_hash)


def load_material(
    config: StudyConfig,
    *,
    where: str,
    program: Program | None = None,
    samples: LabelledSamples | None = None,
    calibration: Inputs | None = None,
) -> LoadedStudy:
    """Read and compile what a study works with.

    Args:
        config: of the study.
        where: the study's file, for messages.
        program, samples: instead of the configuration's.
        calibration: inputs, instead of the configuration's calibration.file.

    Raises:
        ConfigError: there is no program, or there are no samples, or something is given twice.
        MhoError: something cannot be read or compiled.
    """
    _check_given_once(config.program is not None, program is not None, "program", where)
    has_samples = config.data is not None or config.samples.file is not None
    _check_given_once(has_samples, samples is not None, "data", where)
    if calibration is not None:
        if config.data is not None:
            raise ConfigError("data has calibration samples of its own", where=f"{where}: data", expected="samples")
        if config.calibration.file is not None:
            raise ConfigError("given here and in Python", where=f"{where}: calibration.file", expected="one of them")
    source = "given in Python"
    if program is None:
        program, source = _load_program(config)
    chosen, samples_source, of_data = _load_samples(config, samples, takes_raw=NORMALIZES_INPUT in program.metadata)
    seen = of_data if config.data is not None else _load_calibration(config, calibration)
    preparation = None
    if seen is not None:
        rule = RangeRule(config.calibration.method, config.calibration.share)
        preparation = ChipPreparation(seen, rule, config.calibration.when == "reading")
    hashes = _hash_inputs(chosen.inputs, chosen.labels), _hash_inputs(seen)
    return LoadedStudy(program, source, chosen, samples_source, preparation, *hashes)


def _check_given_once(in_file: bool, in_python: bool, table: str, where: str) -> None:
    if not in_file and not in_python:
        more = ", or samples.file" if table == "data" else ""
        raise ConfigError("missing", where=f"{where}: {table}", expected=f"a table [{table}]{more}")
    if in_file and in_python:
        raise ConfigError("given here and in Python", where=f"{where}: {table}", expected="one of them")


def _load_program(config: StudyConfig) -> tuple[Program, str]:
    settings = config.program
    assert settings is not None, "a program is given in the configuration"
    if settings.file is not None:
        return read_program(settings.file), settings.file.name
    assert settings.network is not None, "ProgramSettings holds that there is a file or a network"
    assert settings.accelerator is not None, "ProgramSettings holds that a network has an accelerator"
    from mho.evaluation.compilation import compile_for_machine
    from mho.network.loading import load_network

    hardware = load_accelerator(settings.accelerator)
    network = load_network(str(settings.network))
    source = f"{settings.network.name} on {hardware.name}, {settings.mapping} mapping"
    return compile_for_machine(network, hardware, model=settings.mapping), source


def _load_samples(
    config: StudyConfig, given: LabelledSamples | None, *, takes_raw: bool
) -> tuple[LabelledSamples, str, Inputs | None]:
    """Return samples, where they came from, and calibration inputs that the data has of its own.

    A program that normalizes its inputs takes the samples of data raw.
    """
    settings = config.samples
    if config.data is not None:
        generator = np.random.default_rng(derive_seed(settings.split_seed, "splits"))
        dataset = load_dataset(config.data, generator)
        dataset = dataset.unnormalized() if takes_raw else dataset
        split = dataset.splits[settings.split]
        chosen = split if settings.images == "all" else split.spread(_check_count(settings.images, len(split)))
        calibration = dataset.calibration.spread(config.calibration.images).inputs(slice(None))
        samples = LabelledSamples(chosen.inputs(slice(None)), chosen.labels)
        return samples, f"{dataset.name}, {settings.split} samples", calibration
    source = "given in Python"
    if given is None:
        assert settings.file is not None, "samples come from somewhere"
        given, source = read_samples(settings.file), settings.file.name
    _check_lengths(given.inputs, len(given), where=source)
    if settings.images != "all":
        index = _spread(_check_count(settings.images, len(given)), len(given))
        given = LabelledSamples(_take(given.inputs, index), given.labels[index])
    return given, source, None


def _load_calibration(config: StudyConfig, given: Inputs | None) -> Inputs | None:
    """Return calibration inputs that are given, or those of the file, if there is one."""
    where, file = "calibration", config.calibration.file
    if given is None:
        if file is None:
            return None
        from mho.array_files import read_arrays

        where = str(file)
        given = {name: array for name, array in read_arrays(file).items() if name != LABELS}
    first = next(iter(given.values()), np.zeros(0)) if isinstance(given, Mapping) else given
    try:
        count = np.shape(first)[0] if np.ndim(first) else 0
    except ValueError as error:  # such as inputs and labels together
        raise DataError(f"no array: {error}", where=where, expected="an array, or arrays by name") from error
    _check_lengths(given, count, where=where)
    return _take(given, _spread(min(config.calibration.images, count), count))


def _check_lengths(inputs: Inputs, count: int, *, where: str) -> None:
    arrays = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
    shapes = {name: list(np.shape(array)) for name, array in arrays.items()}
    if not shapes or not count or any(shape[:1] != [count] for shape in shapes.values()):
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "no arrays"
        number = f"{count:,}" if count else "N"
        raise DataError(listed, where=where, expected=f"arrays [{number}, ...] by the names of the inputs")


def _check_count(wanted: int, there_are: int) -> int:
    if wanted > there_are:
        raise DataError(f"{wanted:,} samples are wanted", where="samples.images", expected=f"at most {there_are:,}")
    return wanted


def _spread(count: int, of: int) -> NDArray[np.int64]:
    """Return the numbers of `count` samples, spread evenly."""
    return np.arange(count, dtype=np.int64) * of // count


def _take(inputs: Inputs, index: NDArray[np.int64]) -> Inputs:
    if isinstance(inputs, Mapping):
        return {name: np.asarray(array)[index] for name, array in inputs.items()}
    return np.asarray(inputs)[index]


def _hash_inputs(inputs: Inputs | None, labels: NDArray[Any] | None = None) -> str:
    digest = hashlib.sha256()
    named = dict(inputs) if isinstance(inputs, Mapping) else {} if inputs is None else {"": inputs}
    for name in sorted(named):
        array = np.ascontiguousarray(named[name])
        digest.update(repr((name, array.shape, str(array.dtype))).encode())
        digest.update(array.tobytes())
    if labels is not None:
        digest.update(labels.tobytes())
    return digest.hexdigest()


def _idealize(program: Program) -> Accelerator:
    """Return the hardware of a program with ideal arrays and ADCs."""
    content = program.accelerator.to_json()
    content["array"] = {}
    content["converters"] = {"dac_bits": program.accelerator.converters.dac_bits, "adc_bits": "ideal"}
    return accelerator_from_json(content, where=program.accelerator.name)
