"""The description of the hardware: what the user states, validated, with its sources."""

from mho.callable_package import make_callable

make_callable(__name__)
