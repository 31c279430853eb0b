"""Language models with states: forms share weights, a cache gives the integers of whole sequences, text comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerators import make_accelerator
from bits import assert_same_bits
from c_runtime import RuntimeFailure, run_in_c
from cached_decoder import CachedDecoder
from commands import run
from hypothesis import given, settings
from hypothesis import strategies as st
from network_checks import verify_network

import mho
from mho.errors import ConfigError, DataError, MhoError, ProgramError, UnsupportedOperationError
from mho.evaluation.generation import Sampling, TokenSequence, check_forms
from mho.network.graph import Network
from mho.network.naming import SMOOTHING
from mho.network.reference import run_float, run_quantized
from mho.network.state import State
from mho.program.program import Program
from mho.quantization.effort import Effort
from mho.simulation.executor import Executor
from mho.simulation.interpreter import interpret

CONTEXT, TOKENS = 12, 29
IDS = np.random.default_rng(0).integers(0, TOKENS, (16, CONTEXT))


@pytest.fixture(scope="module")
def module() -> CachedDecoder:
    torch.manual_seed(0)
    return CachedDecoder(TOKENS).eval()


@pytest.fixture(scope="module")
def whole(module: CachedDecoder) -> Network:
    return mho.load_decoder(module, context=CONTEXT, block=CONTEXT)


@pytest.fixture(scope="module")
def quantized(whole: Network) -> Network:
    return mho.quantize(whole, "8/8", mho.first_inputs(whole, IDS))


@pytest.fixture(scope="module")
def programs(module: CachedDecoder, quantized: Network) -> list[Program]:
    """Of blocks of one token and of four."""
    forms = [mho.share_weights(quantized, mho.load_decoder(module, context=CONTEXT, block=block)) for block in (1, 4)]
    return [mho.compile(form, make_accelerator(32, 32, 4, 4)) for form in forms]


@pytest.fixture(scope="module")
def expected(quantized: Network) -> np.ndarray:
    """Scores of the first whole sequence by the integer reference."""
    return run_quantized(quantized, mho.first_inputs(quantized, IDS[:1]))["scores"].reshape(CONTEXT, TOKENS)


def test_a_decoder_with_a_cache_computes_what_torch_does(module: CachedDecoder, whole: Network) -> None:
    class Cache:
        def update(self, keys: torch.Tensor, values: torch.Tensor, _: int) -> tuple[torch.Tensor, torch.Tensor]:
            return keys, values

    verify_network(whole)
    mask = torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1)[None, None]
    with torch.no_grad():
        theirs = module(torch.tensor(IDS[:1]), mask, torch.arange(CONTEXT)[None], Cache())
    ours = run_float(whole, mho.first_inputs(whole, IDS[:1]))["scores"]
    assert np.allclose(ours.reshape(theirs.shape), theirs, atol=1e-5)
    assert whole.states[:2] == (
        State("keys.0", "keys.0", "keys.0.next"),
        State("values.0", "values.0", "values.0.next"),
    )


@settings(max_examples=12, deadline=None)
@given(split=st.lists(st.integers(1, 5), min_size=1, max_size=CONTEXT))
def test_blocks_through_the_cache_give_the_bits_of_the_whole_sequence(
    split: list[int], programs: list[Program], expected: np.ndarray
) -> None:
    forms = check_forms(programs)
    sequence, scores = TokenSequence(forms, [Executor(form.program) for form in forms]), []
    for count in split:
        taken = IDS[0, sequence.position : min(sequence.position + count, CONTEXT)].tolist()
        scores += [sequence.feed(taken)] if taken else []
    found = np.concatenate(scores)
    assert_same_bits({"scores": found}, {"scores": expected[: len(found)]})


def test_reference_interpreter_executor_and_c_agree_on_states_too(
    module: CachedDecoder, quantized: Network, programs: list[Program]
) -> None:
    form = mho.share_weights(quantized, mho.load_decoder(module, context=CONTEXT, block=4))
    inputs = mho.first_inputs(form, IDS[:2, :4])
    for _ in range(2):
        outputs = run_quantized(form, inputs)
        assert_same_bits(Executor(programs[1]).run(inputs), outputs)
        assert_same_bits(interpret(programs[1], inputs).outputs, outputs)
        assert_same_bits(run_in_c(programs[1], inputs), outputs)
        held = {state.input: outputs[state.output].reshape(inputs[state.input].shape) for state in form.states}
        inputs = {"tokens": IDS[:2, None, 4:8], "position": np.full((2, 1), 4), **held}
        assert all(np.abs(value).max() > 0 for value in held.values())
    with pytest.raises(RuntimeFailure, match="index"):
        run_in_c(programs[1], inputs | {"position": np.full((2, 1), CONTEXT)})


def test_a_form_is_smoothed_as_the_network_that_was_quantized_with_effort() -> None:
    """One channel of what `down` takes is large, so that smoothing scales it by an operation of its own."""
    torch.manual_seed(1)
    module = CachedDecoder(TOKENS).eval()
    with torch.no_grad():
        module.layers[0].up.weight[3] *= 30
        module.layers[1].up.weight[5] *= 30
    whole = mho.load_decoder(module, context=CONTEXT, block=CONTEXT)
    quantized = mho.quantize(whole, "4/4", mho.first_inputs(whole, IDS), effort="good")
    scaled = [node.name for node in quantized.nodes if SMOOTHING in node.name]
    assert scaled, "smoothing adds operations"
    expected = run_quantized(quantized, mho.first_inputs(quantized, IDS[:1]))["scores"].reshape(CONTEXT, TOKENS)
    form = mho.share_weights(quantized, mho.load_decoder(module, context=CONTEXT, block=4))
    assert [node.name for node in form.nodes if SMOOTHING in node.name] == scaled
    sequence = TokenSequence(check_forms([program := mho.compile(form, "isaac")]), [Executor(program)])
    assert_same_bits({"scores": sequence.feed(IDS[0].tolist())}, {"scores": expected})


@pytest.mark.parametrize("effort", ["fast", "good"])
def test_forms_take_the_integers_of_a_network_that_was_saved_and_read(
    effort: Effort, tmp_path: Path, whole: Network, module: CachedDecoder
) -> None:
    """Casts to indices and masks in its file are no operations of the network that is read from it."""
    quantized = mho.quantize(whole, "4/4", mho.first_inputs(whole, IDS), effort=effort)
    mho.save(quantized, tmp_path / "q.onnx")
    read, form = mho.load(tmp_path / "q.onnx"), mho.load_decoder(module, context=CONTEXT, block=4)
    moved = {"reshape", "transpose"}
    assert [n.op for n in read.nodes if n.op not in moved] == [n.op for n in quantized.nodes if n.op not in moved]
    inputs = mho.first_inputs(form, IDS[:2, :4])
    expected = run_quantized(mho.share_weights(quantized, form), inputs)
    assert_same_bits(run_quantized(mho.share_weights(read, form), inputs), expected)


def test_states_survive_files(
    tmp_path: Path, module: CachedDecoder, quantized: Network, programs: list[Program]
) -> None:
    mho.save(quantized, tmp_path / "q.onnx")
    read = mho.load(tmp_path / "q.onnx")
    assert read.states == quantized.states
    inputs = mho.first_inputs(read, IDS[:1])
    assert_same_bits(run_quantized(read, inputs), run_quantized(quantized, inputs))
    mho.save(programs[0], tmp_path / "p.mho")
    assert (
        mho.generate(tmp_path / "p.mho", [1, 2], tokens=2).tokens == mho.generate(programs[0], [1, 2], tokens=2).tokens
    )


def test_greedy_text_is_that_of_the_highest_scores(programs: list[Program], quantized: Network) -> None:
    found = mho.generate(programs[0], [3, 1, 4], prefill=programs[1], tokens=5)
    tokens = [3, 1, 4]
    for _ in range(5):
        padded = np.array([tokens + [0] * (CONTEXT - len(tokens))])
        scores = run_quantized(quantized, mho.first_inputs(quantized, padded))["scores"].reshape(CONTEXT, TOKENS)
        tokens.append(int(scores[len(tokens) - 1].argmax()))
    assert list(found.tokens) == tokens[3:]
    assert (found.prefill.calls, found.decode.calls) == ({4: 1}, {1: 4})
    assert found.decode.chip_ps == 4 * mho.timing(programs[0]).latency_ps
    assert found.prefill.chip_ps == mho.timing(programs[1]).latency_ps


def test_energy_of_calls_is_that_of_the_deployment(quantized: Network, module: CachedDecoder) -> None:
    form = mho.share_weights(quantized, mho.load_decoder(module, context=CONTEXT))
    found = mho.generate(mho.compile(form, "isaac"), [1, 2, 3], tokens=3)
    expected = mho.schedule(form, "isaac").price().energy
    assert found.decode.mj_per_token == pytest.approx(expected.total_aj / 1e15, rel=1e-12)
    assert found.decode.component_mj == {name: 2 * value / 1e15 for name, value in expected.component_aj.items()}
    assert found.decode.unspecified == expected.unspecified


def test_a_call_reads_all_places_of_the_states_and_writes_those_of_its_block(programs: list[Program]) -> None:
    found = mho.generate(programs[0], [3, 1, 4], prefill=programs[1], tokens=5)
    assert found.decode.state_bytes_read == 4 * found.state_bytes
    assert found.decode.state_bytes_written * CONTEXT == 4 * found.state_bytes
    assert found.prefill.state_bytes_written * CONTEXT == 4 * found.state_bytes  # one call of a block of four


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        ([], "no energy"),
        ({"component_aj": [1]}, "no energy"),
        ({"component_aj": {"adc": -1}}, "whole numbers"),
        ({"component_aj": {"warmth": 1}}, "warmth"),
        ({"component_aj": {"adc": 1}, "unspecified": [[]]}, "no component"),
    ],
)
def test_malformed_energies_of_a_program_are_refused(programs: list[Program], energy: object, message: str) -> None:
    wrong = replace(programs[0], metadata={**programs[0].metadata, "call_energy": energy})
    with pytest.raises(ProgramError, match=message):
        mho.generate(wrong, [1], tokens=2)


def test_a_generation_ends_where_the_context_does(programs: list[Program]) -> None:
    assert len(mho.generate(programs[0], IDS[0].tolist()[:10], tokens=99).tokens) == 3
    with pytest.raises(DataError, match="at most 12"):
        mho.generate(programs[0], [1] * 13)


def test_drawn_tokens_follow_the_generator(programs: list[Program]) -> None:
    one, again, other = (
        mho.generate(programs[0], [1, 2], tokens=8, temperature=50.0, generator=np.random.default_rng(seed)).tokens
        for seed in (1, 1, 2)
    )
    assert one == again != other


def test_sampling_draws_from_the_highest_scores_by_their_shares() -> None:
    scores, generator = np.float32([0, 3, 1, 2]), np.random.default_rng(0)
    assert Sampling().choose(scores, generator) == 1
    drawn = [Sampling(1.0, 2).choose(scores, generator) for _ in range(4000)]
    assert set(drawn) == {1, 3}
    assert abs(drawn.count(1) / 4000 - 1 / (1 + np.exp(-1))) < 0.03
    with pytest.raises(ConfigError, match="temperature"):
        Sampling(top_k=2)
    with pytest.raises(DataError, match="not finite"):
        Sampling().choose(np.float32([0, np.nan]), generator)


def test_a_noisy_chip_gives_other_scores_and_the_ideal_one_the_same(programs: list[Program]) -> None:
    ideal = mho.generate(programs[0], [3, 1, 4], tokens=4, seed=0)
    assert ideal.tokens == mho.generate(programs[0], [3, 1, 4], tokens=4).tokens
    array = programs[0].accelerator.array.model_copy(update={"programming_error": 0.5})
    noisy = programs[0].accelerator.model_copy(update={"array": array})
    found = {mho.generate(programs[0], [3, 1, 4], tokens=4, seed=seed, hardware=noisy).tokens for seed in range(4)}
    assert len(found) > 1


def test_forms_of_two_models_are_refused(module: CachedDecoder, whole: Network, programs: list[Program]) -> None:
    with pytest.raises(ProgramError, match="two programs for blocks of 1"):
        check_forms([programs[0], programs[0]])
    other = mho.load_decoder(CachedDecoder(TOKENS, layers=1).eval(), context=CONTEXT)
    with pytest.raises(MhoError, match=r"stands where|computes with"):
        mho.share_weights(mho.quantize(whole, "8/8", mho.first_inputs(whole, IDS[:2])), other)
    with pytest.raises(ProgramError, match="takes"):
        check_forms([replace(programs[0], metadata={})])


def test_states_that_do_not_fit_are_refused(whole: Network) -> None:
    with pytest.raises(MhoError, match="two states have one name"):
        replace(whole, states=(whole.states[0], whole.states[0]))
    with pytest.raises(MhoError, match="comes out as"):
        replace(whole, states=(State("s", "tokens", "scores"),))


def test_modules_that_are_no_decoders_are_refused() -> None:
    with pytest.raises(UnsupportedOperationError, match="cannot be called as a decoder"):
        mho.load_decoder(torch.nn.Linear(2, 2), context=4)

    class Deaf(torch.nn.Linear):
        def forward(self, attention_mask: torch.Tensor, **_: object) -> torch.Tensor:
            return super().forward(attention_mask[0, 0])

    with pytest.raises(UnsupportedOperationError, match="do not call past_key_values"):
        mho.load_decoder(Deaf(4, 4), context=4)
    with pytest.raises(UnsupportedOperationError, match="a block of 5 tokens"):
        mho.load_decoder(CachedDecoder(), context=4, block=5)


def test_the_command_generates(tmp_path: Path, programs: list[Program], capsys: pytest.CaptureFixture[str]) -> None:
    decode, prefill = (str(tmp_path / name) for name in ("decode.mho", "prefill.mho"))
    for program, path in zip(programs, (decode, prefill), strict=True):
        mho.save(program, path)
    given = ("generate", decode, "--prefill", prefill, "--prompt-tokens", "3,1,4", "--tokens", "4")
    expected = mho.generate(programs[0], [3, 1, 4], prefill=programs[1], tokens=4)
    printed = run(capsys, *given)
    assert printed.startswith(",".join(map(str, expected.tokens)) + "\n")
    assert "calls 1 x 4" in printed
    assert "calls 3 x 1" in printed
    found = json.loads(run(capsys, *given, "--json"))
    assert found["tokens"] == list(expected.tokens)
    assert found["decode"]["chip_ps"] == expected.decode.chip_ps
    assert "is of a chip" in run(capsys, *given, "--elapsed-s", "3", code=2)
    assert "--tokenizer" in run(capsys, "generate", decode, "--prompt", "once", code=2)
    assert "no prompt" in run(capsys, "generate", decode, code=2)
    assert "no tokens" in run(capsys, "generate", decode, "--prompt-tokens", "a", code=2)
    assert "tokenizer" in run(capsys, "generate", decode, "--prompt", "a", "--tokenizer", str(tmp_path), code=2)
    ended = run(capsys, "generate", decode, "--prompt-tokens", "29", code=2)
    assert "token 29" in ended


def test_a_tokenizer_turns_text_into_tokens_and_back(programs: list[Program]) -> None:
    class Letters:
        eos_token_id = 0

        def encode(self, text: str) -> list[int]:
            return [ord(letter) - 96 for letter in text]

        def decode(self, tokens: list[int]) -> str:
            return "".join(chr(token + 96) for token in tokens)

    found = mho.generate(programs[0], "abc", tokens=3, tokenizer=Letters())
    assert found.prompt == (1, 2, 3)
    assert found.text == Letters().decode(list(found.tokens))
    with pytest.raises(ConfigError, match="without a tokenizer"):
        mho.generate(programs[0], "abc")


@pytest.mark.parametrize("prompt", [[1.5], [[1, 2]], ["a"], b"ab", None])
def test_a_prompt_of_something_else_than_whole_numbers_is_refused(programs: list[Program], prompt: object) -> None:
    with pytest.raises(DataError, match="whole numbers"):
        mho.generate(programs[0], prompt)  # type: ignore[arg-type]
