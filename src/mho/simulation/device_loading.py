"""From the name of a device to the device."""

from __future__ import annotations

from collections.abc import Callable

from mho.errors import ConfigError
from mho.simulation.device import Device
from mho.simulation.socket_device import SocketDevice
from mho.user_code import load_function, user_errors


def load_device(name: str) -> Device:
    """Return the device that is named.

    Args:
        name: `tcp:HOST:PORT`, a device behind a socket (`mho.simulation.socket_device`); or `package.module:function`
            or `path/file.py:function`, a factory of the user's, which is called without arguments.

    Raises:
        ConfigError: it cannot be reached or loaded, failed, or what it makes lacks a function.
    """
    if name.startswith("tcp:"):
        return SocketDevice.connect(name)
    factory: Callable[[], object] = load_function(name)
    with user_errors(name):
        device = factory()
    return check_device(device, where=name)


def check_device(device: object, *, where: str) -> Device:
    """Return a value that has the ten functions. Raises `ConfigError`."""
    if not isinstance(device, Device):
        missing = [one for one in vars(Device) if not one.startswith("_") and not callable(getattr(device, one, None))]
        raise ConfigError(
            f"a {type(device).__name__} has no {', '.join(missing)}", where=where, expected="a device of ten functions"
        )
    return device
