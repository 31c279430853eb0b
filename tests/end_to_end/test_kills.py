"""A few kills at random moments; `python tests/support/kills.py --kills 100` does as many as wanted, of workers too."""

import subprocess
import sys

import kills


def test_commands_that_are_killed_at_random_moments_end_with_the_same_results():
    command = [sys.executable, kills.__file__, "--kills", "5", "--seed", "5", "--commands", "study", "search"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all results equal" in done.stdout
