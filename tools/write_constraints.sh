#!/usr/bin/env bash
# Writes the newest versions of all dependencies that pyproject.toml allows, direct and indirect, into a file.
# Use the oldest Python that is supported: what it can have, newer ones can have too.
set -euo pipefail
environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
"${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "make constraints needs PYTHON=python3.11")'
"${PYTHON:-python3}" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --upgrade pip
"$environment/bin/python" -m pip install --quiet --upgrade hatchling editables --editable '.[dev,docs]'
{
    echo "# Exact versions of all dependencies, for Python 3.11 and newer: make setup installs them, CI passed with them."
    echo "# Written by: make constraints. No local labels (+cpu), and none of CUDA's packages, which torch pins itself."
    "$environment/bin/python" -m pip freeze --all --exclude-editable | sed 's/+.*//' | grep -Ev '^(nvidia-|cuda-|triton)'
} > "$1"
