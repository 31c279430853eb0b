import json
import re

import pytest

from mho.errors import ConfigError, InputFileError
from mho.report.figures import accuracy_against_cost, build_figures, count_hidden
from mho.report.page import flatten, render_page
from mho.report.result import EXACT, RunResult, read_result
from mho.report.result_text import describe_result


@pytest.fixture
def page(result) -> str:
    return render_page(result)


def own_part(page: str) -> str:
    """The page without the plotting library, whose text names addresses that it never asks for here."""
    start = page.index("<script>", page.index('id="figures"'))
    return page[:start] + page[page.index("</script>", start) :]


def test_the_page_asks_the_network_for_nothing(page):
    assert not re.search(r"""(src|href)\s*=|@import|url\(|fetch\(|https?://""", own_part(page))
    assert "default-src 'none'" in page


def test_the_page_shows_sentence_and_key_figures(page, result):
    assert "A sentence with &lt;brackets&gt; &amp; an ampersand." in page
    for text in (
        "97.80\u202f%",
        "98.20\u202f%",
        "98.40\u202f%",
        "2.22\u00d7",
        "9.00\u202fms",
        "20.0\u202fms",
        "1 of 2",
    ):
        assert text in page, text
    for layer in result.layers:
        assert layer.name in page


def test_the_page_tells_the_price_of_an_ideal_adc(page, result):
    told = "ideal ADC (needs 12 bits); time of conversions: 0.01 us a bit"
    assert told not in page
    assert f"{told}." in render_page(result.model_copy(update={"conversion": told}))


def test_every_chart_of_the_page_has_its_place_and_labelled_axes(page, result):
    for name, figure in build_figures(result).items():
        assert f'id="chart-{name}"' in page
        assert figure["layout"]["yaxis"]["title"]["text"]
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S).group(1))
    assert figures == json.loads(json.dumps(build_figures(result)))


def test_text_in_charts_cannot_close_the_script(result):
    layers = tuple(layer.model_copy(update={"name": "</script><b>"}) for layer in result.layers)
    page = render_page(result.model_copy(update={"layers": layers}))
    assert "</script><b>" not in page


def test_failed_and_hopeless_policies_are_counted_and_not_drawn(result):
    drawn = sum(len(trace["x"]) for trace in accuracy_against_cost(result)["data"] if trace["mode"] == "markers")
    assert count_hidden(result) >= 1
    assert drawn + count_hidden(result) == len(result.search.evaluations)


def test_a_result_reads_back_from_its_json(tmp_path, result):
    path = tmp_path / "result.json"
    path.write_text(result.model_dump_json())
    assert read_result(path) == result
    path.write_text("{")
    with pytest.raises(InputFileError, match="not JSON"):
        read_result(path)
    path.write_text(json.dumps({**json.loads(result.model_dump_json()), "sead": 3}))
    with pytest.raises(ConfigError, match="did you mean 'seed'"):
        read_result(path)


def test_the_sentence_tells_speed_and_accuracy(result: RunResult):
    found, *others = (result.candidate(name) for name in ("found", "reference", "float"))
    names = {"network": "resnet8", "chip": "chip", "data": "digits"}
    text = describe_result(found, *others, **names, tested_on=EXACT).replace("\u202f", " ")
    assert "answers 2.22\u00d7 as fast on chip as at uniform 8/8 (9.00 ms instead of 20.0 ms an inference)" in text
    assert "integer-reference accuracy on the test samples of digits is 97.80 %, 0.40 points below uniform" in text
    assert "uniform 8/8 (98.20 %) and 0.60 points below float32 (98.40 %)." in text
    exact = found.test.model_copy(update={"accuracy": 0.5})
    judged = found.model_copy(update={"integer_reference": exact})
    text = describe_result(judged, *others, **names, tested_on="3 chips").replace("\u202f", " ")
    assert "float32 (98.40 %), on 3 chips; its integer-reference accuracy is 50.00 %." in text


def test_nested_settings_become_dotted_rows():
    assert flatten({"a": {"b": 1, "c": None}, "d": "x"}) == [("a.b", "1"), ("a.c", "—"), ("d", "x")]
