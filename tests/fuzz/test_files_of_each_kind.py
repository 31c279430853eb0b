"""Any file is read or refused in words: drawn mutants of each kind, with limits on memory and time."""

import pytest
from examples import examples
from kinds import HOMES

CASES, SEED = examples(150), 0


@pytest.mark.parametrize("kind", HOMES)
def test_every_mutant_is_read_or_refused_in_words(fuzz, kind):
    found = fuzz(kind, CASES, SEED)
    assert not found["failed"], found["text"]
    assert found["accepted"] + found["refused"] == CASES
    assert found["accepted"] > CASES // 50, "changes that are too coarse show nothing of what accepted files do"
