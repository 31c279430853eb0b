"""Small networks written by hand, so that quantization is tested without a reader."""

from collections.abc import Callable

import network_builder
import pytest

from mho.network.graph import Network


@pytest.fixture(scope="session")
def builder() -> type[network_builder.NetworkBuilder]:
    return network_builder.NetworkBuilder


@pytest.fixture(scope="session")
def residual() -> Callable[..., Network]:
    return network_builder.residual


@pytest.fixture(scope="session")
def attention() -> Callable[..., Network]:
    return network_builder.attention
