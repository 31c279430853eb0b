"""The part of the page that shows what chips answer."""

import re

from mho.report.page import render_page
from mho.report.result import ChipAnswers


def test_the_page_shows_chips_where_they_were_asked(result):
    answers = tuple(
        ChipAnswers(name=name, label=label, images=500, hardware="worn", accuracies=(0.5, 0.75))
        for name, label in (("reference", "uniform 8/8"), ("found", "found policy"))
    )
    page = render_page(result.model_copy(update={"chip_answers": answers}))
    part = re.search(r"<h3>Answers of chips</h3>(.*?)</table>", page, re.S)[1]
    assert "2 chips of worn" in part
    assert "500 test images" in part
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", part)]
    assert ["found policy", "62.50\u202f%", "50.00\u202f%", "75.00\u202f%"] in rows
    assert "Answers of chips" not in render_page(result)
