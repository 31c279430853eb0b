"""Whatever names hold, a terminal shows it as text: no escapes, no markup, nothing that is lost."""

import io
import json

import pytest
from rich.table import Table

from mho.terminal import Console, Text, echo, echo_error, echo_over, escape

HOSTILE = {
    "\x1b[31m\x1b]0;OWNED\x07": r"\u001b[31m\u001b]0;OWNED\u0007",
    "a\rb\x08": r"a\u000db\u0008",
    "\x9b31m": r"\u009b31m",
    "txt\u202egnp": r"txt\u202egnp",
    "\ud800": r"\ud800",
    "\U000e0041": r"\U000e0041",
    "[/nope]": "[/nope]",
    "chip [v2] [bold]": "chip [v2] [bold]",
    ":smile: 10 %": ":smile: 10 %",
}


@pytest.mark.parametrize(("name", "shown"), HOSTILE.items())
def test_what_steers_a_terminal_is_shown_and_not_done(name, shown):
    assert escape(name) == shown
    assert escape(shown) == shown


@pytest.mark.parametrize("text", ["a\n\tb", "4.21\u2009ms", "ü 漢 \U0001f600", "12\u00a0µs", ""])
def test_what_people_read_stays(text):
    assert escape(text) == text


def test_json_stays_the_same_json():
    content = {"name": "\x7f\u202e\x1b"}
    assert json.loads(escape(json.dumps(content))) == content
    assert json.loads(escape(json.dumps(content, ensure_ascii=False))) == content


@pytest.mark.parametrize(("name", "shown"), HOSTILE.items())
@pytest.mark.parametrize(
    "wrap",
    [
        lambda name: name,
        lambda name: Text(name, style="dim"),
        lambda name: Text.assemble("on ", (name, "bold"), name),
        lambda name: Text("on ").append(name, style="bold"),
        lambda name: table_of(name),
        lambda name: table_of(Text(name)),
    ],
)
def test_consoles_print_names_as_they_are(name, shown, wrap):
    printed = io.StringIO()
    Console(file=printed, width=200, color_system=None).print(wrap(name))
    assert shown in printed.getvalue()
    assert name in printed.getvalue() or name != shown


def table_of(cell):
    table = Table("layer", "figure")
    table.add_row(cell, "1")
    return table


@pytest.mark.parametrize(("name", "shown"), HOSTILE.items())
def test_lines_progress_and_errors_print_names_as_they_are(capsys, name, shown):
    echo(f"{name}: done")
    echo_over(name, is_last=True)
    echo_error(name)
    out, err = capsys.readouterr()
    assert out == f"{shown}: done\n"
    assert err == f"\r{shown}\nerror: {shown}\n"


def test_an_error_of_any_length_is_cut(capsys):
    echo_error("x" * 10**6)
    assert len(capsys.readouterr().err) < 11_000
