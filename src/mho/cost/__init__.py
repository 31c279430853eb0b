"""Time predicted from mappings, without running anything."""

from mho.callable_package import make_callable

make_callable(__name__)
