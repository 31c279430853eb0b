"""Bit-width search: the space, the environment, the methods and the log that they share."""

from mho.callable_package import make_callable

make_callable(__name__)
