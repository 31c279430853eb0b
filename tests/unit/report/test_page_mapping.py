"""The section of the page that shows how the network lies in crossbars."""

import re

import pytest
from mapped_networks import make_map

from mho.report.drawing_files import draw_slowest
from mho.report.map_document import MapDocument
from mho.report.page import render_page


@pytest.fixture
def page(result) -> str:
    found = make_map()
    return render_page(result.model_copy(update={"map": MapDocument.of("net", found)}), draw_slowest(found, 2))


def section(page: str) -> str:
    return re.search(r"<h2>Mapping</h2>(.*?)</section>", page, re.S)[1]


def test_the_page_tells_every_layers_mapping_and_why(page):
    for layer in MapDocument.of("net", make_map()).layers:
        assert layer.name in section(page)
        assert layer.mapping.replace("'", "&#39;") in section(page)
        assert layer.why.replace("'", "&#39;") in section(page)


def test_drawings_stand_in_the_page_and_ask_for_nothing(page):
    own = section(page)
    assert own.count("<svg") == 2
    assert own.count("<details") == 2
    assert not re.search(r"https?://|src\s*=|url\(", own)
    names = set(re.findall(r'\bid="([^"]+)"', own))
    assert set(re.findall(r'href="([^"]*)"', own)) <= {f"#{name}" for name in names}


def test_a_result_without_a_map_has_no_section(result):
    assert "<h2>Mapping</h2>" not in render_page(result.model_copy(update={"map": None}))
