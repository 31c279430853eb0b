"""Make the .npz of examples/spoken_digits.toml from the recordings of the Free Spoken Digit Dataset.

python examples/make_spoken_digits.py RECORDINGS spoken-digits.npz

RECORDINGS: the folder of that name of github.com/Jakobovski/free-spoken-digit-dataset (Jakobovski et al., CC BY-SA
4.0), with files DIGIT_SPEAKER_NUMBER.wav of 8 kHz. Each becomes a log10-mel spectrogram [1, 40, 64]: 40 mels, the first
64 frames of 12.5 ms. Recordings 0 to 4 of every speaker and digit are the test set, as the dataset says.
"""

import argparse
import sys
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 8000
MELS, FRAMES = 40, 64
HOP, WINDOW, POINTS = 100, 200, 256
LEAST_POWER = 1e-9
TEST_RECORDINGS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    files = sorted(options.recordings.glob("*_*_*.wav"))
    if not files:
        sys.exit(f"error: no DIGIT_SPEAKER_NUMBER.wav in {options.recordings}")
    labels = np.array([int(file.stem.split("_")[0]) for file in files])
    is_test = np.array([int(file.stem.split("_")[2]) < TEST_RECORDINGS for file in files])
    samples = np.stack([make_spectrogram(read_sound(file)) for file in files])
    np.savez_compressed(
        options.output,
        x_train=samples[~is_test],
        y_train=labels[~is_test],
        x_test=samples[is_test],
        y_test=labels[is_test],
    )
    print(f"{options.output}: {(~is_test).sum()} training and {is_test.sum()} test samples")


def read_sound(file: Path) -> NDArray[np.float64]:
    """Return the samples of a recording, -1..1."""
    with wave.open(str(file)) as sound:
        if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (RATE, 1, 2):
            sys.exit(f"error: {file} is not one channel of 16 bits at {RATE} Hz")
        return np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2") / 32768.0


def make_spectrogram(sound: NDArray[np.float64]) -> NDArray[np.float16]:
    """Return log10 of the power in each mel and frame, [1, MELS, FRAMES]; silence follows short recordings."""
    needed = (FRAMES - 1) * HOP + WINDOW
    sound = np.pad(sound[:needed], (0, max(0, needed - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), POINTS)) ** 2 / POINTS
    return np.log10(np.maximum(mel_filters() @ power.T, LEAST_POWER))[None].astype(np.float16)


def mel_filters() -> NDArray[np.float64]:
    """Return triangles of area 1 over the bins of the spectrum, [MELS, POINTS // 2 + 1], evenly spaced in mels."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), MELS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(POINTS, 1 / RATE)
    low, middle, high = (edges[i : i + MELS, None] for i in range(3))
    triangles = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clip(0)
    # Low mels are narrower than a bin: each keeps the bin that is nearest.
    nearest = np.abs(bins - middle).argmin(axis=1)
    triangles[np.arange(MELS), nearest] = np.maximum(triangles[np.arange(MELS), nearest], 0.5)
    return triangles / triangles.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
