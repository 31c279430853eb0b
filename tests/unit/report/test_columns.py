import io

from mho.report.columns import Column, print_columns
from mho.terminal import Console

COLUMNS = (
    Column("layer", ("features.0", "classifier"), "total", most=40),
    Column.of_counts("tiles", (12, 3456), add=True),
    Column("words", ("one two three four five six seven", "x"), most=12),
    Column.of_counts("rows", (1, 2)),
)


def show(width=None):
    file = io.StringIO()
    console = Console(
        file=file, width=width or 20, force_terminal=width is not None, no_color=True, legacy_windows=False
    )
    return print_columns(console, COLUMNS, ("rows", "words")), file.getvalue()


def test_a_file_has_room_for_everything():
    left_out, text = show()
    assert left_out == ()
    for word in ("features.0", "3,456", "3,468", "total", "rows", "one two"):
        assert word in text
    assert "three four" in text


def test_a_narrow_terminal_does_without_columns_in_their_order():
    assert show(200)[0] == ()
    assert show(40)[0] == ("rows",)
    left_out, text = show(30)
    assert left_out == ("rows", "words")
    assert "features.0" in text
    assert "one" not in text
