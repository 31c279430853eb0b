"""Language models: read with their states, and run token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mho.api.arguments import Hardware, as_conditions, as_program, as_ranges, chip_hardware
from mho.argument_checks import check_arguments
from mho.errors import ConfigError, DataError, MhoError
from mho.network.graph import Network

if TYPE_CHECKING:
    from torch.nn import Module

    from mho.array.conductances import Conditions
    from mho.evaluation.generation import Engine, Generation
    from mho.evaluation.tokenizer import Tokenizer
    from mho.program.program import Program
    from mho.simulation.adc_ranges import AdcRanges


@check_arguments("module")
def load_decoder(module: Module, *, context: int, block: int = 1) -> Network:
    """Read a causal language model as a network of a block of tokens, whose keys and values are states.

    Load it twice, with a block of 1 to decode and a wider one for prompts: `share_weights` gives both the same
    integers. A block as wide as the context is the network of whole sequences, to calibrate and evaluate.

    Args:
        module: a decoder of `transformers` (``AutoModelForCausalLM``), or one that is called alike: it takes input_ids,
            attention_mask, position_ids and past_key_values by name, and each layer attends to what
            ``past_key_values.update(keys, values, layer)`` returns.
        context: tokens that the states have room for; a prompt and what follows it at most.
        block: tokens of a call, 1 to `context`.

    Returns:
        A float network with the inputs ``tokens`` [1, block], ``position`` [1] (of the first token) and the states
        ``keys.0``, ``values.0``, ... [1, heads, context, size], the output ``scores`` [1, block, vocabulary] and new
        states, ``keys.0.next``, ...; `Network.states` says which go where.

    Raises:
        UnsupportedOperationError: torch cannot export the module, it makes no use of the cache, or it holds operations
            that mho does not have.
    """
    from mho.network.torch_decoder import read_decoder

    return read_decoder(module, context, block)


@check_arguments()
def share_weights(quantized: Network, form: Network) -> Network:
    """Return another form of a quantized network, with the same integers, grids and constants.

    Args:
        quantized: by `quantize`, or trained.
        form: float, of the same module with another block.

    Raises:
        MhoError: they are not forms of one network.
    """
    from mho.network.block_sizes import share_weights

    return share_weights(quantized, form)


@check_arguments("tokens")
def first_inputs(network: Network, tokens: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the inputs of a block at the beginning of sequences, with empty states: to calibrate and evaluate.

    Args:
        network: with states.
        tokens: whole numbers [N, block].

    Raises:
        DataError: the network has no states, or tokens are no whole numbers or of another shape.
    """
    from mho.network.block_sizes import first_inputs

    return first_inputs(network, _as_tokens(tokens, "tokens"))


@check_arguments("tokenizer", "generator", "prompt")
def generate(
    program: Program | str | Path,
    prompt: str | Sequence[int],
    *,
    prefill: Program | str | Path | None = None,
    tokens: int = 16,
    tokenizer: Tokenizer | str | Path | None = None,
    temperature: float = 0.0,
    top_k: int | None = None,
    generator: np.random.Generator | None = None,
    seed: int | None = None,
    hardware: Hardware | None = None,
    conditions: Conditions | None = None,
    ranges: AdcRanges | str | Path | None = None,
    on_token: Callable[[int], None] | None = None,
) -> Generation:
    """Let a language model on a simulated chip go on with a prompt.

    Args:
        program: of `load_decoder`'s network, quantized and compiled; any block.
        prompt: a text, with a tokenizer, or tokens.
        prefill: a program of the same model for wider blocks, which takes the prompt.
        tokens: how many come out at most; fewer after the tokenizer's end of text, or where the context ends.
        tokenizer: of `transformers`, or its folder.
        temperature: 0: always the token of the highest score; else scores are divided by it, and tokens drawn.
        top_k: only so many tokens of the highest scores are drawn; None: all.
        generator: draws tokens, where the temperature is above 0.
        seed: of a chip, as for `simulate`; None: exact integers. `hardware`, `conditions` and `ranges` need it.
        hardware: of the chip; None: what the program was compiled for.
        conditions: when and how warm its cells are read; None: at once.
        ranges: of calibrated ADCs, of the one program.
        on_token: receives each token as it is chosen.

    Returns:
        Tokens and text, and what prefill and decode took of the simulator and of the chip.

    Raises:
        ConfigError: arguments do not go together.
        DataError: a prompt of something else than whole numbers, a token that there is not, or more tokens than the
            context holds.
        ProgramError: no program of a language model, or two of different ones.
    """
    from mho.evaluation.compilation import time_deployed
    from mho.evaluation.generation import Sampling, check_forms, generate_tokens

    if (generator is None) != (temperature == 0):
        raise ConfigError("a generator and a temperature above 0 go together", where="mho.generate")
    if seed is None and any(given is not None for given in (hardware, conditions, ranges)):
        raise ConfigError("hardware, conditions and ranges are of a chip", where="mho.generate", expected="a seed")
    if ranges is not None and prefill is not None:
        raise ConfigError(
            "ranges are of one program, and there are two", where="mho.generate", hint="leave out prefill"
        )
    reader = _as_tokenizer(tokenizer)
    if isinstance(prompt, str) and reader is None:
        raise ConfigError("a text without a tokenizer", where="mho.generate", expected="a tokenizer, or tokens")
    given = reader.encode(prompt) if reader is not None and isinstance(prompt, str) else prompt
    forms = check_forms([as_program(one) for one in (program, prefill) if one is not None])
    engines = [_engine(form.program, seed, hardware, conditions, ranges) for form in forms]
    end = None if reader is None else reader.eos_token_id
    found = generate_tokens(
        forms, engines, _as_tokens(given, "prompt", axes=1).tolist(), tokens,
        times_ps=[time_deployed(form.program) for form in forms],
        sampling=Sampling(temperature, top_k),
        generator=generator or np.random.default_rng(0),  # draws nothing at temperature 0
        stops=frozenset() if end is None else frozenset({end}),
        on_token=on_token,
    )  # fmt: skip
    return found if reader is None else replace(found, text=reader.decode(list(found.tokens)))


def _as_tokens(values: Any, where: str, axes: int = 2) -> NDArray[np.int64]:
    try:
        tokens = np.asarray(values)
    except (TypeError, ValueError) as error:  # lists of several lengths
        raise DataError(str(error), where=where, expected="whole numbers") from None
    if tokens.ndim != axes or (tokens.size and tokens.dtype.kind not in "iu"):
        expected = "whole numbers " + ("[N, tokens]" if axes == 2 else "[tokens]")
        raise DataError(f"{tokens.dtype} {list(tokens.shape)}", where=where, expected=expected)
    return tokens.astype(np.int64)


def _as_tokenizer(tokenizer: Tokenizer | str | Path | None) -> Tokenizer | None:
    from mho.evaluation.tokenizer import load_tokenizer

    if tokenizer is None:
        return None
    if isinstance(tokenizer, str | Path):
        return load_tokenizer(tokenizer)
    if not callable(getattr(tokenizer, "encode", None)) or not callable(getattr(tokenizer, "decode", None)):
        raise MhoError(f"a {type(tokenizer).__name__} is no tokenizer", expected="one of transformers, or its folder")
    return tokenizer


def _engine(
    program: Program,
    seed: int | None,
    hardware: Hardware | None,
    conditions: Conditions | None,
    ranges: AdcRanges | str | Path | None,
) -> Engine:
    if seed is None:
        from mho.simulation.executor import Executor

        return Executor(program)
    from mho.evaluation.chip import write_chip

    return write_chip(
        program,
        seed,
        hardware=chip_hardware(program, hardware, None),
        conditions=as_conditions(conditions),
        ranges=as_ranges(ranges),
    )
