"""Small accelerators for tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mho.accelerator.loading import accelerator_from_json
from mho.accelerator.spec import PAPER_ENCODINGS, Accelerator, Encoding


def make_accelerator(
    rows: int = 8,
    cols: int = 8,
    cell_bits: int = 2,
    dac_bits: int = 1,
    adc_bits: int | str = "ideal",
    encoding: Encoding | str = Encoding.DIFFERENTIAL_COLUMNS,
    crossbars: int = 1,
) -> Accelerator:
    """Return an accelerator with odd latencies, so that writes and MVMs cannot be mistaken for each other."""
    content: dict[str, Any] = {
        "name": "test",
        "crossbar": {
            "rows": rows,
            "cols": cols,
            "cell_bits": cell_bits,
            "write_latency_us": 53.000007,
            "mvm_latency_us": 1.300001,
        },
        "converters": {"dac_bits": dac_bits, "adc_bits": adc_bits},
        "mapping": {"encoding": str(encoding)},
        "chip": {"crossbars": crossbars},
    }
    return accelerator_from_json(content, where="test")


@st.composite
def accelerators(draw: Any) -> Accelerator:
    """Strategy of accelerators: crossbars of any small shape, all encodings, cells and DACs."""
    return make_accelerator(
        rows=draw(st.integers(1, 24)),
        cols=draw(st.integers(1, 24)),
        cell_bits=draw(st.integers(1, 8)),
        dac_bits=draw(st.integers(1, 8)),
        encoding=draw(st.sampled_from(PAPER_ENCODINGS)),
    )
