"""Prints a constraints file that holds what mho runs with to the lower bounds that pyproject.toml gives.

torch and torchvision are left free: their oldest versions bring gigabytes of libraries for GPUs on most machines.
"""

import re
import sys
import tomllib
from pathlib import Path

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[.*?\])?>=(?P<version>[\d.]+)")
_TOOLS = {"dev", "docs", "benchmarks"}
_FREE = {"torch", "torchvision"}


def main() -> None:
    """Print one line for each dependency, those of extras that users choose included."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [one for name, extra in project["optional-dependencies"].items() if name not in _TOOLS for one in extra]
    for requirement in [*project["dependencies"], *extras]:
        bound = _REQUIREMENT.match(requirement)
        if bound is None:
            sys.exit(f"pyproject.toml: {requirement} has no lower bound")
        if bound["name"] not in _FREE:
            print(f"{bound['name']}=={bound['version']}")


if __name__ == "__main__":
    main()
