"""``mho generate``: a language model on a simulated chip goes on with a prompt."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

import mho
from mho.cli.arguments import MOST, JsonOption
from mho.cli.chip import (
    ElapsedOption,
    HardwareOption,
    NoisySeedOption,
    ProgramArgument,
    RangesOption,
    TemperatureOption,
    check_seed,
    load_chip,
)
from mho.errors import ConfigError
from mho.formats import format_bytes
from mho.program.container import read_program
from mho.report.breakdown_text import format_components
from mho.terminal import echo

if TYPE_CHECKING:
    from mho.evaluation.generation import Generation, Phase

PromptOption = Annotated[str | None, typer.Option(metavar="TEXT", help="What it goes on with; needs --tokenizer.")]
PromptTokensOption = Annotated[
    str | None, typer.Option(metavar="1,2,3", help="Tokens that it goes on with, instead of a text.")
]
PrefillOption = Annotated[
    Path | None,
    typer.Option(metavar="P.mho", help="A program of the same model for wider blocks, which takes the prompt."),
]
TokensOption = Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Tokens that come out at most.")]
TokenizerOption = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Of a tokenizer of transformers: tokenizer.json and its settings.")
]
SamplingTemperatureOption = Annotated[
    float,
    typer.Option(
        "--temperature", metavar="T", min=0.0, help="0: the token of the highest score; else tokens are drawn."
    ),
]
TopKOption = Annotated[
    int | None, typer.Option("--top-k", metavar="K", min=1, help="Draw from the K highest scores alone.")
]
DrawSeedOption = Annotated[int, typer.Option(metavar="N", min=0, help="Of the tokens that are drawn.")]


def generate(
    program: ProgramArgument,
    prompt: PromptOption = None,
    prompt_tokens: PromptTokensOption = None,
    prefill: PrefillOption = None,
    tokens: TokensOption = 16,
    tokenizer: TokenizerOption = None,
    temperature: SamplingTemperatureOption = 0.0,
    top_k: TopKOption = None,
    draw_seed: DrawSeedOption = 0,
    seed: NoisySeedOption = None,
    hardware: HardwareOption = None,
    elapsed_s: ElapsedOption = None,
    temperature_k: TemperatureOption = None,
    ranges: RangesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a language model on a simulated chip go on with a prompt, and print what a token takes.

    The program is that of a network of `mho.load_decoder`: it takes a block of tokens and carries keys and values from
    call to call. Prefill and decode are counted apart: tokens a second of the simulator, and time and energy a token of
    the chip, each call attending over the whole context. Without --seed every sum is exact; with one, cells and
    converters are those of a chip.
    """
    given = _read_prompt(prompt, prompt_tokens, tokenizer)
    if temperature == 0 and draw_seed:
        raise ConfigError("--draw-seed is of tokens that are drawn", expected="--temperature above 0 beside it")
    of_chip = {"hardware": hardware, "elapsed-s": elapsed_s, "temperature-k": temperature_k, "ranges": ranges}
    check_seed(seed, of_chip)
    loaded, chip = read_program(program), dict[str, Any]()
    if seed is not None:
        state: dict[str, Any] = {"elapsed_s": elapsed_s, "temperature_k": temperature_k, "reads": None}
        meant = load_chip(seed, hardware, placement=None, **state)
        chip = {"hardware": meant.fit(loaded), "conditions": meant.conditions}
    found = mho.generate(
        loaded, given, prefill=prefill, tokens=tokens, tokenizer=tokenizer, temperature=temperature, top_k=top_k,
        generator=np.random.default_rng(draw_seed) if temperature else None, seed=seed, ranges=ranges, **chip,
    )  # fmt: skip
    if as_json:
        figures = {"program": loaded.name, "accelerator": loaded.accelerator.name, **asdict(found)}
        echo(json.dumps(figures | {"prompt": list(found.prompt), "tokens": list(found.tokens)}, indent=2))
        return
    echo(found.text if tokenizer is not None else ",".join(map(str, found.tokens)))
    echo("\n".join(_describe(found, loaded.accelerator.name)))


def _read_prompt(prompt: str | None, tokens: str | None, tokenizer: Path | None) -> str | list[int]:
    if (prompt is None) == (tokens is None):
        raise ConfigError("no prompt" if prompt is None else "two prompts", expected="--prompt or --prompt-tokens")
    if prompt is not None:
        if tokenizer is None:
            raise ConfigError(
                "a text has no tokens of itself", where="--prompt", expected="--tokenizer FOLDER beside it"
            )
        return prompt
    assert tokens is not None, "one of the two is given"
    parts = [part.strip() for part in tokens.split(",")]
    if not all(part.isdecimal() and len(part) < len(str(MOST)) + 1 for part in parts):
        raise ConfigError(f"{tokens!r:.80} are no tokens", where="--prompt-tokens", expected="such as 1,2,3")
    return [int(part) for part in parts]


def _describe(found: Generation, accelerator: str) -> list[str]:
    """Return what a person reads of the two phases."""
    size = found.state_bytes / 1e6
    lines = [f"context {found.context:,}: keys and values of {size:,.1f} MB in digital memory, in float32"]
    for name, phase in (("prefill", found.prefill), ("decode", found.decode)):
        if phase.tokens:
            lines += [f"{name:8} {_describe_phase(phase)} a token on {accelerator}", *_describe_energy(phase)]
    return lines


def _describe_energy(phase: Phase) -> list[str]:
    """Return what the energy is made up of, and what time and energy lack."""
    shares = f"energy:{format_components(phase.component_mj, phase.chip_mj)}" if phase.chip_mj else ""
    missing = f"unspecified: {', '.join(phase.unspecified)}" if phase.unspecified else ""
    read, written = (format_bytes(size // phase.tokens) for size in (phase.state_bytes_read, phase.state_bytes_written))
    uncounted = f"keys and values: {read} read, {written} written a token, in neither time nor energy"
    return [f"{'':8} {line}" for line in (shares, missing, uncounted) if line]


def _describe_phase(phase: Phase) -> str:
    calls = ", ".join(f"{number:,} x {block:,}" for block, number in phase.calls.items())
    energy = "energy unspecified" if phase.mj_per_token is None else f"{phase.mj_per_token:,.4g} mJ"
    speed = f"simulated at {phase.tokens_per_s:,.2f} a second"
    return f"{phase.tokens:,} tokens (calls {calls}), {speed}; {phase.ms_per_token:,.4g} ms and {energy}"
