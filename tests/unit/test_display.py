"""Values in notebooks and pandas: short, escaped, complete, and with units."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import mho
from mho.display import MOST_ROWS, Table
from mho.errors import MissingExtraError


@pytest.fixture(scope="module")
def network():
    return mho.load("resnet8", input_shape=(1, 8, 8))


@pytest.fixture(scope="module")
def values(network):
    policy = mho.Policy.uniform(network.layer_names, "4/6")
    schedule = mho.schedule(network, "isaac", policy, simulate=False)
    return {
        "network": network,
        "policy": policy,
        "cost": mho.cost(network, "isaac", policy, batch=2),
        "map": mho.map(network, "isaac", policy),
        "schedule": schedule,
        "reloaded": mho.schedule(network, "pelke2026-4bit", policy),
        "program": mho.compile(mho.quantize(network, policy, np.ones((2, 1, 8, 8))), "pelke2026-4bit"),
        "comparison": mho.compare(network, ["isaac", "pelke2026-4bit"], policy, simulate=False),
    }


def test_short_texts_fit_a_line_and_hold_no_arrays(values):
    images, labels = np.zeros((40, 1, 8, 8), np.float32), np.arange(40) % 4
    others = (mho.accelerator("isaac"), mho.dataset((images, labels)), mho.dataset((images, labels)).train)
    for value in (*values.values(), *others):
        text = repr(value)
        assert text == str(value)
        assert text.startswith(f"{type(value).__name__}(")
        assert len(text) < 160
        assert "array" not in text


def test_tables_have_a_row_a_layer_with_units_in_their_titles(values, network):
    hardware = mho.accelerator("isaac")
    assert tuple(row[0] for row in hardware.table().rows) == hardware.value_keys()
    comparison = values["comparison"]
    assert [row[0] for row in comparison.table().rows] == ["isaac", "pelke2026-4bit"]
    for name, value in values.items():
        table = value.table()
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert name == "comparison" or tuple(row[0] for row in table.rows) == network.layer_names
    cost, table = values["cost"], values["cost"].table()
    times = [row[table.columns.index("latency_ms")] for row in table.rows]
    assert sum(times) == pytest.approx(cost.latency_ms) == pytest.approx(cost.latency_ps / 1e9)
    energies = [row[table.columns.index("energy_uj")] for row in table.rows]
    assert sum(energies) == pytest.approx(cost.energy_uj) == pytest.approx(cost.energy.energy.total_pj / 1e6)


def test_units_are_those_of_exact_picoseconds_and_attojoules(values):
    schedule, found = values["schedule"], values["map"]
    for value, names in ((schedule, ("latency", "interval", "total", "bound")), (found, ("latency", "bound"))):
        for name in names:
            assert getattr(value, f"{name}_ms") == getattr(value, f"{name}_ps") / 10**9
    assert schedule.energy_uj == schedule.price().energy.total_aj / 10**12 > 0
    assert found.energy_uj == pytest.approx(values["map"].energy_uj)
    assert values["reloaded"].energy_uj is None  # its accelerator specifies no energy


def test_notebooks_show_small_tables_in_which_nothing_is_markup():
    table = Table("<b>&", ("<i>", "n"), tuple((f"<script>{number}", number * 1.5) for number in range(MOST_ROWS + 2)))
    html = table.to_html()
    assert "&lt;b&gt;&amp;" in html
    assert not {"<b>", "<i>", "<script>"} & {html[place : html.find(">", place) + 1] for place in _openings(html)}
    assert html.count("<tr>") == MOST_ROWS + 1
    assert "2 more" in html


def _openings(html):
    return [place for place, character in enumerate(html) if character == "<"]


def test_every_value_has_a_table_in_notebooks(values):
    for value in values.values():
        html = value._repr_html_()
        assert html.startswith("<table>")
        assert len(html) < 40_000


def test_data_frames_hold_what_tables_do(values):
    pytest.importorskip("pandas")
    frame = values["cost"].to_pandas()
    assert list(frame["layer"]) == [layer.mapping.layer.name for layer in values["cost"].layers]
    assert frame["latency_ms"].sum() == pytest.approx(values["cost"].latency_ms)
    assert np.issubdtype(frame["tiles"].dtype, np.integer)


def test_pandas_is_an_extra_that_its_error_names(values, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"\.\[pandas\]"):
        values["policy"].to_pandas()
