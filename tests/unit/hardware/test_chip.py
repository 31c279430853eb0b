import pytest
from accelerators import make_accelerator
from hypothesis import given
from hypothesis import strategies as st

from mho.errors import ConfigError
from mho.hardware.chip import Interconnect
from mho.hardware.loading import accelerator_from_json, load_accelerator

MESH = {"kind": "mesh", "bytes_per_cycle": 4, "cycle_ns": 1.25, "hop_latency_cycles": 3}


def with_sections(**sections):
    content = load_accelerator("pelke2026-4bit").to_json()
    for section, values in sections.items():
        content[section].update(values)
    return accelerator_from_json(content, where="my.toml")


def test_what_is_left_out_is_ideal_and_one_core():
    accelerator = make_accelerator(crossbars=6)
    assert (accelerator.chip.cores, accelerator.chip.crossbars_per_core) == (1, 6)
    assert accelerator.interconnect.is_ideal
    assert accelerator.interconnect.cycle_ps == 0
    assert (accelerator.buffers.input_bytes, accelerator.buffers.output_bytes) == ("unlimited", "unlimited")
    assert accelerator.memory.bytes_per_us == "ideal"


def test_crossbars_are_spread_evenly_over_cores():
    assert make_accelerator(crossbars=12, chip={"cores": 4}).chip.crossbars_per_core == 3


def test_a_clock_is_in_whole_picoseconds():
    assert Interconnect(**MESH).cycle_ps == 1250


@pytest.mark.parametrize(("cores", "shape"), [(1, (1, 1)), (7, (1, 7)), (12, (3, 4)), (16, (4, 4)), (168, (12, 14))])
def test_a_mesh_is_as_square_as_the_cores_allow(cores, shape):
    accelerator = make_accelerator(crossbars=cores, chip={"cores": cores}, interconnect=MESH)
    assert accelerator.mesh_shape == shape


@pytest.mark.parametrize(("given", "shape"), [({"mesh_rows": 2}, (2, 8)), ({"mesh_cols": 1}, (16, 1))])
def test_the_other_side_of_a_mesh_follows_from_the_one_that_is_given(given, shape):
    accelerator = make_accelerator(crossbars=16, chip={"cores": 16}, interconnect={**MESH, **given})
    assert accelerator.mesh_shape == shape


@given(st.integers(1, 2000))
def test_a_mesh_has_a_place_for_each_core(cores):
    rows, cols = Interconnect(**MESH).mesh_shape(cores)
    assert rows * cols == cores
    assert rows <= cols


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"chip": {"crossbars": 10, "cores": 3}}, "chip: cores is 3, which does not divide the 10 crossbars evenly"),
        ({"chip": {"cores": 0}}, "chip.cores: is 0"),
        ({"interconnect": {"kind": "ring"}}, "interconnect.kind: is 'ring'"),
        ({"interconnect": {"kind": "bus"}}, "interconnect: a bus needs bytes_per_cycle, cycle_ns, hop_latency_cycles"),
        ({"interconnect": {**MESH, "cycle_ns": None}}, "interconnect: a mesh needs cycle_ns"),
        ({"interconnect": {**MESH, "cycle_ns": 0.0001}}, "not a whole number of picoseconds"),
        ({"interconnect": {**MESH, "cycle_ns": 0}}, "interconnect.cycle_ns: is 0"),
        ({"interconnect": {**MESH, "kind": "bus", "mesh_rows": 1}}, "a bus takes no mesh_rows"),
        ({"interconnect": {"bytes_per_cycle": 4}}, "an ideal interconnect takes no bytes_per_cycle"),
        (
            {"chip": {"crossbars": 16, "cores": 16}, "interconnect": {**MESH, "mesh_rows": 3}},
            "give a mesh of 3 x 5, but chip.cores is 16",
        ),
        ({"buffers": {"input_bytes": 0}}, "expected: a whole number, 1..1000000000000 or 'unlimited'"),
        ({"memory": {"bytes_per_us": 1.5}}, "memory.bytes_per_us: is 1.5"),
        ({"digital": {"operation_latency_us": -1}}, "expected: a number, 0..1000000 or 'ideal'"),
    ],
)
def test_an_impossible_chip_is_an_error_that_says_why(sections, message):
    with pytest.raises(ConfigError) as caught:
        with_sections(**sections)
    assert str(caught.value).startswith("my.toml: ")
    assert message in str(caught.value)
