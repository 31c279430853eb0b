"""Divergences of layers: what a file of them may hold."""

from __future__ import annotations

import json

import pytest

import mho
from mho.errors import InputFileError

NARROW, WIDE = mho.BitWidths(4, 8), mho.BitWidths(8, 8)


def test_a_file_keeps_every_number(tmp_path):
    found = mho.LayerDivergences({"b": {WIDE: 1 / 3, NARROW: 1e-300}, "a": {NARROW: 0.0, WIDE: 2.0}}, 5, "good")
    path = tmp_path / "measured.json"
    path.write_text(json.dumps(found.to_json()))
    assert mho.LayerDivergences.load(path) == found
    assert list(found.layers["b"]) == [NARROW, WIDE]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples are 0"),
        ({"samples": True}, "samples are True"),
        ({"effort": "bets"}, "effort is 'bets'"),
        ({"effort": 3}, "effort is 3"),
        ({"divergences": {"a": {"4/8": -1.0, "8/8": 0.0}}}, "-1.0 at 4/8"),
        ({"divergences": {"a": {"4/8": "much", "8/8": 0.0}}}, "'much' at 4/8"),
        ({"divergences": {"a": {"4/8": 0.0}}}, "two or more"),
        ({"divergences": {"a": {"4/8": 0.0, "16/8": 0.0}}}, r"1\.\.8"),
        ({"divergences": {"a": {"4/8": 0.0, "four": 0.0}}}, "four"),
        ({"divergences": {"a": [0.5]}}, "a table of widths"),
        ({"divergences": [1]}, "is not divergences"),
        ({"more": 1}, "is not divergences"),
    ],
)
def test_a_file_of_nonsense_is_refused_by_name(tmp_path, change, message):
    path = tmp_path / "measured.json"
    content = mho.LayerDivergences({"a": {NARROW: 0.5, WIDE: 0.25}}, 2, "fast").to_json()
    path.write_text(json.dumps({**content, **change}))
    with pytest.raises(InputFileError, match=message) as caught:
        mho.LayerDivergences.load(path)
    assert "measured.json" in str(caught.value)
