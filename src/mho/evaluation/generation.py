"""Text from a simulated chip: programs of one language model, called block after block with the states between them.

One program, or several for blocks of other sizes, which share weights: the widest that fits takes the prompt, the
narrowest takes one token after the other. The states (keys and values) are held in digital memory between calls.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mho.cost_model.energy import Component, EnergyBreakdown, add_energies
from mho.display import Table, Tabular
from mho.errors import ConfigError, DataError, ProgramError
from mho.formats import AJ_PER_MJ, PS_PER_MS, plural
from mho.network.state import POSITION, SCORES, TOKENS
from mho.program.program import CALL_ENERGY, Program


class Engine(Protocol):
    """What runs a program."""

    def run(self, inputs: Mapping[str, Any], /) -> dict[str, NDArray[np.float32]]:
        """Take arrays by input name, return outputs by name."""


@dataclass(frozen=True)
class Form:
    """One program of a language model: a block of tokens.

    Attributes:
        program: with the inputs `tokens` [1, T] and `position` [1], the output `scores` [1, T, vocabulary], and states
            [1, heads, C, size].
    """

    program: Program

    def __post_init__(self) -> None:
        program = self.program
        shapes = {name: program.buffers[name].shape for name in (*program.inputs, *program.outputs)}
        others = {*program.inputs, *program.outputs} - {name for s in program.states for name in (s.input, s.output)}
        if not program.states or others != {TOKENS, POSITION, SCORES}:
            raise ProgramError(
                f"takes {', '.join(program.inputs[:4])} and gives {', '.join(program.outputs[:4])}", where=program.name,
                expected=f"a language model: {TOKENS}, {POSITION} and states, which give {SCORES} and states",
                hint="mho.load_decoder reads one with its states; docs/language-models.md",
            )  # fmt: skip
        contexts = {shapes[state.input][2:3] for state in program.states}
        fits = len(shapes[TOKENS]) == 2 and shapes[SCORES][:-1] == shapes[TOKENS] and shapes[POSITION] == (1,)
        if not fits or shapes[TOKENS][0] != 1 or len(contexts) != 1 or contexts == {()}:
            raise ProgramError(
                f"tokens {list(shapes[TOKENS])}, position {list(shapes[POSITION])}, scores {list(shapes[SCORES])}",
                where=program.name, expected="[1, T], [1], [1, T, vocabulary] and states [1, heads, C, size]",
            )  # fmt: skip

    @property
    def block(self) -> int:
        """Tokens of a call."""
        return self.program.buffers[TOKENS].shape[1]

    @property
    def context(self) -> int:
        """Tokens that the states have room for."""
        return self.program.buffers[self.program.states[0].input].shape[2]

    @property
    def vocabulary(self) -> int:
        """Tokens that there are."""
        return self.program.buffers[SCORES].shape[2]

    @property
    def state_bytes(self) -> int:
        """Bytes of all states, in float32."""
        return 4 * sum(math.prod(self.program.buffers[state.input].shape) for state in self.program.states)

    @property
    def written_bytes(self) -> int:
        """Bytes of the states that a call changes, in float32: those of a block's places."""
        return self.state_bytes // self.context * self.block

    @property
    def call_energy(self) -> EnergyBreakdown:
        """Energy of one call; empty where the program carries none. Raises `ProgramError` where it is malformed."""
        found = self.program.metadata.get(CALL_ENERGY, {})
        known = found.get("component_aj", {}) if isinstance(found, dict) else None
        missing = found.get("unspecified", []) if isinstance(found, dict) else None
        where, names = f"{self.program.name}: {CALL_ENERGY}", list(Component)
        if not isinstance(known, dict) or not isinstance(missing, list):
            raise ProgramError("it is no energy", where=where, expected="component_aj and unspecified")
        if not all(type(value) is int and value >= 0 for value in known.values()):
            raise ProgramError("its energies are no whole numbers", where=where)
        if unknown := [name for name in (*known, *missing) if name not in names]:
            raise ProgramError(f"{unknown[0]!r:.80} is no component", where=where, expected=", ".join(Component))
        return EnergyBreakdown(
            {Component(name): value for name, value in known.items()}, tuple(Component(name) for name in missing)
        )


def check_forms(programs: Sequence[Program]) -> tuple[Form, ...]:
    """Return forms of one language model, the narrowest first. Raises `ProgramError` where they are not of one."""
    forms = tuple(sorted((Form(program) for program in programs), key=lambda form: form.block))
    if not forms:
        raise ProgramError("no program of a language model", expected="at least one")
    first = forms[0]
    if len({form.block for form in forms}) < len(forms):
        raise ProgramError(f"two programs for blocks of {first.block}", where=first.program.name)
    for form in forms[1:]:
        same = {
            "context": (first.context, form.context),
            "vocabulary": (first.vocabulary, form.vocabulary),
            "policy": (first.program.metadata.get("policy"), form.program.metadata.get("policy")),
            "states": (first.program.states, form.program.states),
        }
        if different := [name for name, (one, other) in same.items() if one != other]:
            raise ProgramError(
                f"differs in its {different[0]} from {first.program.name} for blocks of {first.block}",
                where=f"{form.program.name} for blocks of {form.block}", expected="forms of one language model",
                hint="mho.share_weights gives a form the integers of another",
            )  # fmt: skip
    return forms


class TokenSequence:
    """A sequence of tokens on a simulated chip, with its states."""

    def __init__(self, forms: Sequence[Form], engines: Sequence[Engine]) -> None:
        self._forms, self._engines = tuple(forms), tuple(engines)
        self.position = 0
        self.calls = dict.fromkeys((form.block for form in forms), 0)
        program = forms[0].program
        self._states = {
            state.input: np.zeros((1, *program.buffers[state.input].shape), np.float32) for state in program.states
        }

    def feed(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Append tokens; return their scores, float32 [tokens, vocabulary]. Raises `DataError` beyond the context."""
        scores, left = [], list(tokens)
        while left:
            number = self._choose(len(left))
            taken, left = left[: self._forms[number].block], left[self._forms[number].block :]
            scores.append(self._call(number, taken))
        return np.concatenate(scores)

    def _choose(self, left: int) -> int:
        """Return the number of the form to call: the narrowest that takes all that is left, else the widest."""
        room = self._forms[0].context - self.position
        fitting = [number for number, form in enumerate(self._forms) if form.block <= room]
        if not fitting or left > room:
            raise DataError(
                f"{self.position + left} tokens", where=self._forms[0].program.name,
                expected=f"at most {self._forms[0].context}, the context, less what a block is filled up with",
                hint="load the decoder with a larger context",
            )  # fmt: skip
        return next((number for number in fitting if self._forms[number].block >= left), fitting[-1])

    def _call(self, number: int, tokens: list[int]) -> NDArray[np.float32]:
        """Call a form; a block that is not full is filled up with tokens that no later one sees."""
        form = self._forms[number]
        block = np.zeros((1, 1, form.block), np.float32)
        block[0, 0, : len(tokens)] = tokens
        position = np.full((1, 1), self.position, np.float32)
        outputs = self._engines[number].run({TOKENS: block, POSITION: position, **self._states})
        for state in form.program.states:
            self._states[state.input] = outputs[state.output].reshape(self._states[state.input].shape)
        self.position += len(tokens)
        self.calls[form.block] += 1
        return outputs[SCORES].reshape(form.block, form.vocabulary)[: len(tokens)]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0: the token of the highest score, the first of equal ones; else scores are divided by it before
            softmax.
        top_k: only so many tokens of the highest scores may be drawn; None: all.
    """

    temperature: float = 0.0
    top_k: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ConfigError(f"temperature is {self.temperature}", expected="0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k is {self.top_k}", expected="1 or more")
        if self.top_k is not None and self.temperature == 0:
            raise ConfigError("top_k is for drawn tokens", expected="a temperature above 0 beside it")

    def choose(self, scores: NDArray[np.float32], generator: np.random.Generator) -> int:
        """Return a token by its scores [vocabulary]. Raises `DataError` where none is finite."""
        if not np.isfinite(scores).any() or np.isnan(scores).any():
            raise DataError("scores are not finite", where=SCORES)
        if self.temperature == 0:
            return int(scores.argmax())
        values = scores.astype(np.float64) / self.temperature
        if self.top_k is not None and self.top_k < values.size:
            kept = np.argsort(-values, kind="stable")[: self.top_k]
            values = np.where(np.isin(np.arange(values.size), kept), values, -np.inf)
        shares = np.exp(values - values.max())
        return int(generator.choice(values.size, p=shares / shares.sum()))


@dataclass(frozen=True)
class Phase:
    """What one phase took.

    Attributes:
        tokens: that went in.
        calls: by the size of the block.
        simulated_s: time of the simulator, s.
        chip_ps: time of the chip, one call after the other, ps.
        chip_mj: energy of the chip as far as it is specified, mJ; None where none is.
        component_mj: of what it is made up.
        unspecified: components that act and have no unit energy; `chip_mj` lacks them.
        state_bytes_read, state_bytes_written: of the states in digital memory, in float32: a call reads all places and
            writes those of its block. `chip_mj` and `chip_ps` lack what that takes.
    """

    tokens: int
    calls: Mapping[int, int]
    simulated_s: float
    chip_ps: int
    chip_mj: float | None
    component_mj: Mapping[Component, float]
    unspecified: tuple[Component, ...]
    state_bytes_read: int
    state_bytes_written: int

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens that the simulator takes a second; None where none went in."""
        return self.tokens / self.simulated_s if self.tokens and self.simulated_s else None

    @property
    def ms_per_token(self) -> float | None:
        """Time of the chip for a token, ms; None where none went in."""
        return self.chip_ps / PS_PER_MS / self.tokens if self.tokens else None

    @property
    def mj_per_token(self) -> float | None:
        """Energy of the chip for a token, mJ; None where none went in, or no energy is specified."""
        return self.chip_mj / self.tokens if self.tokens and self.chip_mj is not None else None


@dataclass(frozen=True, repr=False)
class Generation(Tabular):
    """Tokens from a simulated chip.

    Attributes:
        prompt: tokens that went in.
        tokens: that came out.
        prefill: of the prompt.
        decode: of all tokens that came out but the last, which no call needed.
        context: tokens that the states have room for; every call attends over all of them.
        state_bytes: of the states, in float32, in digital memory.
        text: of the tokens that came out; "" without a tokenizer.
    """

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    prefill: Phase
    decode: Phase
    context: int
    state_bytes: int
    text: str = ""

    def __repr__(self) -> str:
        return f"Generation({self._summary})"

    @property
    def _summary(self) -> str:
        counts = f"{plural(len(self.tokens), 'token')} after {len(self.prompt):,}"
        return f"{counts}, context {self.context:,}, states of {self.state_bytes / 1e6:,.1f} MB in float32"

    def table(self) -> Table:
        """Return one row a phase: what its tokens took, of the simulator and of the chip."""
        columns = ("phase", "tokens", "calls", "simulated_tokens_per_s", "chip_ms_per_token", "chip_mj_per_token")
        rows = []
        for name, phase in (("prefill", self.prefill), ("decode", self.decode)):
            calls = ", ".join(f"{number} of {block}" for block, number in phase.calls.items())
            rows.append((name, phase.tokens, calls, phase.tokens_per_s, phase.ms_per_token, phase.mj_per_token))
        return Table(self._summary, columns, tuple(rows))


def generate_tokens(
    forms: Sequence[Form],
    engines: Sequence[Engine],
    prompt: Sequence[int],
    count: int,
    *,
    times_ps: Sequence[int],
    sampling: Sampling,
    generator: np.random.Generator,
    stops: frozenset[int] = frozenset(),
    on_token: Callable[[int], None] | None = None,
) -> Generation:
    """Generate tokens after a prompt.

    Args:
        forms: as `check_forms` gives them.
        engines: one for each form.
        prompt: at least one token.
        count: tokens at most.
        times_ps: of one call of each form on the chip.
        sampling: how tokens are chosen.
        generator: draws them.
        stops: tokens after which it ends.
        on_token: receives each token as it is chosen.

    Raises:
        DataError: a token is none, or there are more than the context holds.
    """
    first = forms[0]
    if bad := [token for token in prompt if not 0 <= token < first.vocabulary]:
        raise DataError(f"token {bad[0]}", where=first.program.name, expected=f"0 to {first.vocabulary - 1}")
    if not prompt or count < 1:
        raise DataError(f"{len(prompt)} tokens in and {count} out", where=first.program.name, expected="1 or more")
    sequence, made, started = TokenSequence(forms, engines), list[int](), time.perf_counter()
    scores = sequence.feed(list(prompt))[-1]
    calls, before = dict(sequence.calls), time.perf_counter()
    prefill = _phase(forms, times_ps, calls, len(prompt), before - started)
    while True:
        made.append(sampling.choose(scores, generator))
        if on_token is not None:
            on_token(made[-1])
        if len(made) == count or made[-1] in stops or sequence.position == first.context:
            break
        scores = sequence.feed(made[-1:])[-1]
    later = {block: number - calls[block] for block, number in sequence.calls.items()}
    decode = _phase(forms, times_ps, later, len(made) - 1, time.perf_counter() - before)
    return Generation(tuple(prompt), tuple(made), prefill, decode, first.context, first.state_bytes)


def _phase(
    forms: Sequence[Form], times_ps: Sequence[int], calls: Mapping[int, int], tokens: int, simulated_s: float
) -> Phase:
    total = sum(time_ps * calls[form.block] for form, time_ps in zip(forms, times_ps, strict=True))
    made = {block: number for block, number in calls.items() if number}
    called = [(form, made[form.block]) for form in forms if form.block in made]
    energies = [(form.call_energy, number) for form, number in called]
    found = add_energies(energy.times(number) for energy, number in energies)
    known = bool(energies) and all(energy.component_aj for energy, _ in energies)
    return Phase(
        tokens, made, simulated_s, total,
        chip_mj=found.total_aj / AJ_PER_MJ if known else None,
        component_mj={name: value / AJ_PER_MJ for name, value in found.component_aj.items()},
        unspecified=found.unspecified,
        state_bytes_read=sum(form.state_bytes * number for form, number in called),
        state_bytes_written=sum(form.written_bytes * number for form, number in called),
    )  # fmt: skip
