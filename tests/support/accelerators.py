"""Small accelerators for tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mho.hardware.loading import accelerator_from_json
from mho.hardware.spec import PAPER_ENCODINGS, Accelerator, Encoding


def make_accelerator(
    rows: int = 8,
    cols: int = 8,
    cell_bits: int = 2,
    dac_bits: int = 1,
    adc_bits: int | str = "ideal",
    encoding: Encoding | str = Encoding.DIFFERENTIAL_COLUMNS,
    crossbars: int = 1,
    **changes: dict[str, Any],
) -> Accelerator:
    """Return an accelerator with odd latencies, so that writes and MVMs cannot be mistaken for each other.

    `changes` are further keys of its sections, by section.
    """
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
    for section, values in changes.items():
        content.setdefault(section, {}).update(values)
    return accelerator_from_json(content, where="test")


def with_array(hardware: Accelerator, converters: dict[str, Any] | None = None, **array: Any) -> Accelerator:
    """Return hardware with other values in its tables array and converters."""
    content = hardware.to_json()
    content["array"].update(array)
    content["converters"].update(converters or {})
    return accelerator_from_json(content, where="test")


def with_converters(hardware: Accelerator, **converters: Any) -> Accelerator:
    """Return hardware with other converters."""
    return with_array(hardware, converters)


@st.composite
def accelerators(draw: Any) -> Accelerator:
    """Strategy of accelerators: crossbars of any small shape, all encodings, cells, DACs and limits of mappings."""
    encoding = draw(st.sampled_from(PAPER_ENCODINGS))
    allowed = {
        "encodings": sorted(draw(st.sets(st.sampled_from(Encoding), min_size=1)) | {encoding}),
        "window_positions": draw(st.sampled_from([1, 4, 65536])),
        "input_slices_per_mvm": draw(st.sampled_from([1, 2, 65536])),
        "groups_per_tile": draw(st.sampled_from([1, 65536])),
        "splits": draw(st.booleans()),
    }
    columns_per_adc, adc_bits, per_bit_us = draw(
        st.sampled_from([(1, "ideal", 0), (3, 14, 0.000013), (3, "ideal", 0.01)])
    )
    most_bits = 8 if adc_bits == "ideal" else 4  # what 14 bits resolve on 24 rows
    operation_us = draw(st.sampled_from(["ideal", "ideal", 0.000007, 0.1]))
    return make_accelerator(
        rows=draw(st.integers(1, 24)),
        cols=draw(st.integers(1, 24)),
        cell_bits=draw(st.integers(1, most_bits)),
        dac_bits=draw(st.integers(1, most_bits)),
        adc_bits=adc_bits,
        encoding=encoding,
        crossbar={"active_rows": draw(st.sampled_from(["all", "all", 1]))},
        converters={
            "columns_per_adc": columns_per_adc,
            "column_difference": draw(st.sampled_from(["digital", "digital", "analog"])),
            "adc_latency_us_per_bit": per_bit_us,
            "dac_latency_us_per_step": draw(st.sampled_from([0, 0, 0.070003])),
        },
        mapping={"encoding": str(encoding), "allowed": allowed, "digital_layers": draw(digital_rules(operation_us))},
        digital={"operation_latency_us": operation_us},
    )


def digital_rules(operation_us):
    """Strategy of which layers a digital unit may compute whose operations take so long."""
    return st.just("none") if operation_us == "ideal" else st.sampled_from(["none", "depthwise", "auto"])
