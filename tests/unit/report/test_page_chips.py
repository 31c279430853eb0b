"""The part of the page that shows what chips answer."""

import re

from mho.report.page import render_page
from mho.report.result_figures import ChipAccuracies
from mho.report.result_text import describe_chips


def test_the_page_shows_chips_where_they_were_asked(result):
    answers = tuple(
        ChipAccuracies(name=name, label=label, images=500, hardware="worn", accuracies=(0.5, 0.75))
        for name, label in (("reference", "uniform 8/8"), ("found", "found policy"))
    )
    page = render_page(result.model_copy(update={"chip_accuracies": answers}))
    part = re.search(r"<h3>Accuracy on sampled chips</h3>(.*?)</table>", page, re.S)[1]
    assert "500 test samples on each of 2 sampled chips of worn" in part
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", part)]
    assert ["found policy", "62.50\u202f%", "50.00\u202f%", "75.00\u202f%"] in rows
    (tile,) = re.findall(r'<div class="tile"><b>62.50.%</b><span>(.*?)</span>', page)
    assert tile.startswith("mean accuracy of the found policy on 2 sampled chips of worn (50.00\u202f% to 75.00")
    for other in (render_page(result), render_page(result.model_copy(update={"unsampled": "too large"}))):
        assert "Accuracy on sampled chips" not in other
    assert "which are not ideal: too large" in other


def answers(label, images, *accuracies):
    return ChipAccuracies(name="one", label=label, images=images, hardware="worn", accuracies=accuracies)


def test_the_sentence_says_what_sampled_chips_answer_or_why_there_are_none():
    pair = [answers("uniform 8/8", 500, 0.9, 0.91), answers("found policy", 500, 0.8, 0.9)]
    assert describe_chips(pair, "", "own").replace("\u202f", " ") == (
        "On 2 sampled chips of worn, 500 test samples each: mean 85.00 % (80.00 to 90.00); "
        "uniform 8/8: mean 90.50 % (90.00 to 91.00)."
    )
    one = answers("found policy", 5, 0.8).model_copy(update={"elapsed_s": 86400.0, "temperature_k": 350.0, "reads": 9})
    assert describe_chips([one], "", "own").replace("\u202f", " ") == (
        "On 1 sampled chip of worn, 86,400 s after the write, at 350 K, after 9 reads, 5 test samples each: 80.00 %."
    )
    assert describe_chips([], "", "own") == "Cells, wires and converters of own are ideal: its chips answer the same."
    assert "No chips of own were sampled" in describe_chips([], "too large", "own")
    assert "not ideal: too large." in describe_chips([], "too large", "own")
