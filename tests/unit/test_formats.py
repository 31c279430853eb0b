"""Numbers as text, on terminals and on pages."""

from __future__ import annotations

import pytest

from mho.formats import format_bytes, format_cost, format_energy, format_seconds, format_share, format_time, plural


@pytest.mark.parametrize(
    ("microseconds", "terminal", "page"),
    [
        (0, "0", "0"),
        (0.0005, "500.0 ps", "500 ps"),
        (0.25, "250.0 ns", "250 ns"),
        (12.4, "12.40 us", "12.4 µs"),
        (613, "613.0 us", "613 µs"),
        (4214, "4.214 ms", "4.21 ms"),
        (12_394_600, "12.39 s", "12.4 s"),
    ],
)
def test_times_get_the_unit_that_fits(microseconds, terminal, page):
    assert format_time(microseconds) == terminal
    assert format_time(microseconds, page=True) == page.replace(" ", "\u202f")


def test_energies_and_costs_get_the_unit_that_fits():
    assert [format_energy(value) for value in (3, 4.5e3, 1.25e7, 2e9)] == [
        "3.000 pJ",
        "4.500 nJ",
        "12.50 uJ",
        "2.000 mJ",
    ]
    costs = ((4.5e9, "aJ"), (4.214e9, "ps"), (1234, "crossbars"), (2e18, "aJ ps"))
    assert [format_cost(*one).replace("\u202f", " ") for one in costs] == [
        "4.50 nJ", "4.21 ms", "1,234 crossbars", "2.00 µJ µs"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.21, "4.2 s"), (58.2, "58 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (3725, "1 h 02 min")],
)
def test_durations_are_for_people(seconds, text):
    assert format_seconds(seconds).replace("\u202f", " ") == text


def test_sizes_shares_and_counts():
    sizes = (12, 2048, 5 << 20, 3 << 30)
    assert [format_bytes(size) for size in sizes] == ["12 B", "2 KiB", "5 MiB", "3.0 GiB"]
    on_page = [format_bytes(size, page=True).replace("\u202f", " ") for size in sizes]
    assert on_page == ["12 B", "2.00 KiB", "5.00 MiB", "3.00 GiB"]
    assert (format_share(0.125), format_share(0.984, 2)) == ("12.5 %", "98.40 %")
    assert [plural(number, "crossbar") for number in (0, 1, 1024)] == ["0 crossbars", "1 crossbar", "1,024 crossbars"]
