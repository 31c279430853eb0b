"""Layer tables of torchvision's networks, derived once for all processes that run these tests."""

import functools
import os

import pytest

from mho.cost_model.layer_tables import load_layer_table


@pytest.fixture(scope="session")
def table_cache(tmp_path_factory):
    """Return the folder that keeps derived tables; workers of pytest-xdist share it."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"


@pytest.fixture(scope="session")
def layers_of(table_cache):
    """Return a function that derives the layers of a torchvision network, once."""

    @functools.cache
    def derive(name):
        return load_layer_table(f"torchvision:{name}", input_shape=None, cache=table_cache).layers

    return derive
