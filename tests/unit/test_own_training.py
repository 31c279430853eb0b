"""Data and training loops of a user's own: torch in and out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import mho
from mho.errors import DataError, MemoryBudgetError

CLASSES = 3


@pytest.fixture(scope="module")
def data():
    """Points of three clouds, with labels."""
    generator = np.random.default_rng(4)
    labels = np.arange(240) % CLASSES
    centres = generator.normal(size=(CLASSES, 1, 4, 4)) * 2
    return (centres[labels] + generator.normal(size=(240, 1, 4, 4))).astype(np.float32), labels


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, CLASSES),
    )  # fmt: skip
    return mho.load(model, (1, 1, 4, 4))


def test_a_quantized_network_is_trained_in_a_loop_of_ones_own(network, data):
    samples, labels = torch.tensor(data[0]), torch.tensor(data[1])
    module = mho.trainable(network, "3/4", samples[:64])
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(samples), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    quantized = module.eval().to_quantized_network()
    program = mho.compile(quantized, "pelke2026-4bit")
    (outputs,) = mho.simulate(program, samples).values()
    assert losses[-1] < losses[0] / 2
    assert str(mho.cost(quantized, "pelke2026-4bit").layers[0].mapping.bits) == "3/4"
    assert (outputs.argmax(axis=1) == data[1]).mean() > 0.8
    np.testing.assert_allclose(outputs, module(samples).detach().numpy(), atol=1e-4)
    assert not module.to_network().is_quantized


def test_loaders_tensors_and_arrays_quantize_and_simulate_alike(network, data):
    samples, labels = data
    loader = DataLoader(TensorDataset(torch.tensor(samples), torch.tensor(labels)), batch_size=50)
    program = mho.compile(mho.quantize(network, "4/4", samples), "pelke2026-4bit")
    expected = mho.simulate(program, samples)
    assert repr(expected).startswith("Outputs(")
    for given in (loader, loader.dataset, torch.tensor(samples)):
        again = mho.compile(mho.quantize(network, "4/4", given), "pelke2026-4bit")
        for name, outputs in mho.simulate(again, given).items():
            np.testing.assert_array_equal(outputs, expected[name])


def test_a_search_takes_pairs_loaders_and_datasets_alike_and_stops_when_it_should(network, data):
    samples, labels = torch.tensor(data[0]), torch.tensor(data[1])
    dataset = TensorDataset(samples, labels)
    found = []
    for given in (data, dataset, DataLoader(dataset, batch_size=64), mho.dataset(data)):
        seen: list[mho.SearchProgress] = []
        result = mho.search(
            network, given, "pelke2026-4bit", budget=8, method="random",
            on_progress=lambda now, seen=seen: seen.append(now) or now.done == 3,
        )  # fmt: skip
        assert (result.ended, len(seen), seen[-1].fraction) == ("stopped", 3, 3 / 8)
        found.append([record.accuracy for record in result.records])
    assert found[1:] == found[:1] * 3


def test_splits_are_drawn_by_seed_or_given(data):
    drawn = mho.dataset(data)
    assert [len(split) for split in drawn.splits.values()] == [144, 24, 48, 24]
    assert drawn.classes == CLASSES
    again, other = mho.dataset(data), mho.dataset(data, seed=1)
    np.testing.assert_array_equal(drawn.train.labels, again.train.labels)
    assert (drawn.train.images != other.train.images).any()
    given = mho.dataset(data, validation=(data[0][:10], data[1][:10]), test=(data[0][:5], data[1][:5]))
    assert [len(split) for split in given.splits.values()] == [216, 24, 10, 5]


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.zeros(1, 64, 64), 0


class Broken(torch.utils.data.Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        raise KeyError("no such file")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (TensorDataset(torch.zeros(5, 1, 4, 4)), "without labels"),
        (DataLoader(torch.zeros(5, 1, 4, 4)), "without labels"),
        (TensorDataset(torch.zeros(5, 1, 4, 4), torch.zeros(5)), "classes, integers"),
        (TensorDataset(torch.zeros(5, 1, 4, 4), torch.zeros(5, 3, dtype=torch.int64)), "argmax"),
        (TensorDataset(torch.zeros(0, 1, 4, 4), torch.zeros(0, dtype=torch.int64)), "no samples"),
        (TensorDataset(torch.zeros(40, 1, 5, 5), torch.arange(40) % 3), "shape"),
        (Broken(), "KeyError"),
        ((np.zeros((4, 1, 4, 4)), np.zeros(3, int)), "one label a sample"),
        ((np.zeros((3, 1, 4, 4)), np.zeros(3, int)), "enough for all splits"),
        (np.zeros((4, 1, 4, 4)), "a pair"),
        (None, "a pair"),
    ],
)
def test_what_a_search_cannot_use_is_an_error_that_says_why(network, given, message):
    with pytest.raises(DataError, match=message):
        mho.search(network, given, "pelke2026-4bit", budget=3)


def test_endless_loaders_end_at_the_memory_budget(network, monkeypatch):
    monkeypatch.setenv("MHO_MEMORY_GIB", "0.01")
    for read in (lambda: mho.dataset(Endless()), lambda: mho.quantize(network, "4/4", Endless())):
        with pytest.raises(MemoryBudgetError, match="all samples of the loader"):
            read()
