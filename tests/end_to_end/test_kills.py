"""Kills at moments that matter, and a few at random ones; `make kills` does as many as wanted, of workers too."""

import subprocess
import sys

import kills
import pytest


@pytest.mark.slow
def test_commands_that_are_killed_end_with_the_results_of_undisturbed_ones():
    command = [sys.executable, kills.__file__, "--moments", "--kills", "2", "--seed", "5", "--commands", "study"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all results equal" in done.stdout
