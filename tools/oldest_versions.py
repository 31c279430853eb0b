"""Prints a constraints file that holds every direct dependency to the lower bound that pyproject.toml gives it."""

import re
import sys
import tomllib
from pathlib import Path

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[.*?\])?>=(?P<version>[\d.]+)")


def main() -> None:
    """Print one line for each dependency, those of extras included."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    for requirement in [*project["dependencies"], *extras]:
        if (bound := _REQUIREMENT.match(requirement)) is not None:
            print(f"{bound['name']}=={bound['version']}")
        elif not requirement.startswith(f"{project['name']}["):
            sys.exit(f"pyproject.toml: {requirement} has no lower bound")


if __name__ == "__main__":
    main()
