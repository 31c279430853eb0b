"""The part of the page that shows what skipping zero slices would save."""

import re

from mho.report.page import render_page
from mho.report.result_figures import ZeroSliceFigures


def figures(name: str, label: str, share: float) -> ZeroSliceFigures:
    times = {"latency_us": 4_000.0, "min_latency_us": 3_500.0, "max_latency_us": 4_500.0}
    return ZeroSliceFigures(name=name, label=label, images=200, share=share, **times)


def test_shares_and_times_are_shown_with_the_images_they_come_from(result):
    found = (figures("reference", "uniform 8/8", 0.125), figures("found", "found policy", 0.0625))
    page = render_page(result.model_copy(update={"zero_slices": found}))
    part = re.search(r"<h3>Zero slices skipped</h3>(.*?)</section>", page, re.S)[1]
    assert "200 test images" in part
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", part)]
    assert ["found policy", "6.25\u202f%", "4.00\u202fms", "3.50\u202fms", "4.50\u202fms"] in rows
    assert ["uniform 8/8", "12.50\u202f%", "4.00\u202fms", "3.50\u202fms", "4.50\u202fms"] in rows


def test_a_run_that_measured_nothing_shows_nothing(result):
    assert "Zero slices" not in render_page(result)
