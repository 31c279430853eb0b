"""What mho finds on this machine: versions, processor, GPUs, compiler, and which extras are installed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from dataclasses import dataclass

from mho.cache_folder import cache_folder
from mho.input_files import memory_budget_bytes
from mho.version import __version__


@dataclass(frozen=True)
class Environment:
    """See the module.

    Attributes:
        mho, python, system: versions of mho and Python, and the operating system.
        libraries: version of each library that mho needs; None where it is missing.
        extras: for each extra, versions of its libraries; None for a missing one.
        processors: that this process may use.
        threads: that torch uses where a configuration gives no number.
        integer_products: with which instructions integers are multiplied.
        gpus: that torch sees.
        compiler: path of the C++ compiler for `torch.compile`; None without one.
        memory_budget_bytes: what one thing that is handed in may take.
        cache_folder: where what can be made anew is kept.
    """

    mho: str
    python: str
    system: str
    libraries: dict[str, str | None]
    extras: dict[str, dict[str, str | None]]
    processors: int
    threads: int
    integer_products: str
    gpus: tuple[str, ...]
    compiler: str | None
    memory_budget_bytes: int
    cache_folder: str


def describe_environment() -> Environment:
    """Return what this machine has. Raises `ConfigError` where $MHO_MEMORY_GIB is no number."""
    from mho.array.integer_product import name_route
    from mho.models.runtime import default_threads
    from mho.quantization.compilation import find_compiler
    from mho.quantization.devices import list_gpus

    libraries, extras = _required()
    has_affinity = hasattr(os, "sched_getaffinity")
    return Environment(
        mho=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        libraries={name: _version(name) for name in libraries},
        extras={extra: {name: _version(name) for name in names} for extra, names in extras.items()},
        processors=len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1,
        threads=default_threads(),
        integer_products=name_route(),
        gpus=list_gpus(),
        compiler=find_compiler(),
        memory_budget_bytes=memory_budget_bytes(),
        cache_folder=str(cache_folder()),
    )


def _required() -> tuple[list[str], dict[str, list[str]]]:
    """Return the libraries that mho needs, and those of each extra, as its installation states them."""
    try:
        requirements = importlib.metadata.requires("mho") or []
    except importlib.metadata.PackageNotFoundError:  # run from a folder of sources
        requirements = []
    libraries: list[str] = []
    extras: dict[str, list[str]] = {}
    for text in requirements:
        name, extra = re.match(r"[\w.-]+", text), re.search(r"extra\s*==\s*['\"]([\w-]+)", text)
        if name is None or name[0] == "mho":
            continue
        (libraries if extra is None else extras.setdefault(extra[1], [])).append(name[0])
    return libraries, extras


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
