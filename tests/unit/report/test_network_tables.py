"""Errors by class, sensitivities, splits and sizes on the page of a run."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path

import pytest

from mho.report.network_tables import LISTED, build_matrix, list_classes, list_confusions, list_energy_components
from mho.report.networks_text import print_found_policy
from mho.report.page import render_page
from mho.report.result_networks import ClassErrors, CostSplit, DeployedSize, Sensitivities
from mho.terminal import Console


def errors(label: str, losses: list[float | None], classes: int = 10, confusions: tuple = ((3, 8, 2), (1, 7, 1))):
    scores = [{"count": 50, "correct": 50, "loss": loss} for loss in losses]
    for actual, _, count in confusions:
        scores[actual]["correct"] -= count
    return ClassErrors.model_validate(
        {
            "name": label, "label": label, "classes": scores[:classes],
            "confusions": [{"actual": a, "predicted": p, "count": c} for a, p, c in confusions],
        }
    )  # fmt: skip


@pytest.fixture
def full_result(result):
    step = {"bits": 3, "loss": 0.0123, "cost": -0.02}
    operands = [
        {"layer": layer.name, "operand": operand, "bits": 4, "less": step, "more": None}
        for layer in result.layers
        for operand in ("weight", "activation")
    ]
    raises = (-0.004, 0.02), (-0.001, 0.0), (-0.003, 0.01), (0.002, 0.01), (-0.009, None)
    for operand, (loss, cost) in zip(operands, raises, strict=False):
        operand["more"] = {"bits": 5, "loss": loss, "cost": cost}
    split = {"time_us": {"write": 224.0, "read": 225.4, "conversion": 0.0, "digital": 0.0}}
    energy = {"energy_pj": {"crossbar": 30.0, "adc": 10.0}, "total_energy_pj": 40.0, "energy_untold": ["write"]}
    size = {
        "name": "found",
        "label": "found policy",
        "weights": 77_072,
        "weight_bits": 295_296,
        "network_bytes": 94_886,
    }
    return result.model_copy(
        update={
            "errors": (errors("uniform 8/8", [0.1] * 10), errors("found policy", [0.1 * k for k in range(10)])),
            "sensitivities": Sensitivities.model_validate({"samples": 200, "loss": 0.06, "operands": operands}),
            "splits": (CostSplit.model_validate({"name": "found", "label": "found policy", **split, **energy}),),
            "sizes": (
                DeployedSize.model_validate(size),
                DeployedSize.model_validate(
                    {
                        **size,
                        "tiles": 4,
                        "cells": 1000,
                        "digit_cells": 250,
                        "program_bytes": 9000,
                        "flash_bytes": 8000,
                        "ram_bytes": 1000,
                    }
                ),
            ),
        }
    )


def text_of(page: str) -> str:
    return re.sub(r"[ \n]+", " ", html.unescape(re.sub("<[^>]+>", " ", page)))


def test_the_matrix_holds_every_sample(full_result):
    matrix = build_matrix(full_result.errors[1])
    assert (sum(map(sum, matrix)), matrix[3][3], matrix[3][8], matrix[1][7]) == (500, 48, 2, 1)
    assert build_matrix(errors("found", [0.1] * 30, 30)) is None, "there is no room for it"


def test_of_many_classes_those_that_lose_most_are_listed():
    before, after = errors("a", [0.5] * 40, 40), errors("b", [0.01 * k for k in range(39)] + [None], 40)
    rows = list_classes((before, after))
    assert len(rows) == LISTED
    assert [row.number for row in rows[:2]] == [38, 37]
    assert rows[0].increase == pytest.approx(-0.12)
    assert len(list_confusions(after)) == 2


def test_the_page_shows_them_with_their_units(full_result):
    page = text_of(render_page(full_result))
    for words in (
        "Errors by class",
        "found policy: class of the samples (rows), predicted class (columns)",
        "Sensitivity of layers, measured",
        "measured on 200 samples of the calibration split",
        "+12.30",
        "time of reads 225\u202fµs 50.2 %",
        "energy of crossbar 30.0\u202fpJ 75.0 %",
        "Unspecified, and not counted: write.",
        "295,296 (36.0\u202fKiB)",
        "250 (25.0\u202f%)",
    ):
        assert words in page, words
    assert list_energy_components(full_result.splits) == ["crossbar", "adc"]


def test_results_that_lack_them_have_no_such_sections(result):
    page = render_page(result)
    for title in ("Errors by class", "Sensitivity of layers, measured", "Where time and energy go", "Deployed size"):
        assert title not in page


def test_the_found_policy_reads_as_before(full_result, check_golden):
    console = Console(file=io.StringIO(), width=80)
    print_found_policy(console, full_result)
    print_found_policy(
        console, full_result.model_copy(update={"errors": (), "splits": (), "sizes": (), "sensitivities": None})
    )
    check_golden(Path(__file__).parents[2] / "golden" / "run" / "found-policy.txt", console.file.getvalue())


def test_errors_and_sensitivities_show_themselves_as_tables(full_result):
    table = full_result.errors[1].table()
    assert table.rows[3] == (3, 50, 48, 0.96, pytest.approx(0.3))
    assert repr(full_result.errors[1]) == "ClassErrors(found policy: 497 of 500 samples of 10 classes correct)"
    rows = full_result.sensitivities.table().rows
    assert rows[0] == ("conv1", "weight", 4, 0.0123, -0.004, -0.02, 0.02)
    best = [(one.layer, one.operand) for one in full_result.sensitivities.best_raises(2)]
    assert best == [("conv1", "activation"), ("layer1.0.conv1", "weight")], (
        "free ones first, then the most for the cost"
    )
    assert full_result.sensitivities.table().caption in repr(full_result.sensitivities)
