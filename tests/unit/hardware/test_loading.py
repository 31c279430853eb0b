import json
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

import mho.hardware
from mho.errors import ConfigError, InputFileError
from mho.hardware.loading import (
    accelerator_from_json,
    list_presets,
    load_accelerator,
    load_distinct,
    override,
    to_toml,
)
from mho.hardware.spec import PAPER_ENCODINGS, Accelerator, Encoding


def test_the_accelerators_that_come_with_mho():
    architectures = ("clsa-256", "isaac", "pelke2026-2bit", "pelke2026-4bit", "puma")
    technologies = ("fefet", "hermes-pcm", "neurram", "rram-hfo2", "sram-analog", "sram-digital", "stt-mram")
    assert list_presets() == tuple(sorted(architectures + technologies))


@pytest.mark.parametrize(("name", "cell_bits"), [("pelke2026-4bit", 4), ("pelke2026-2bit", 2)])
def test_a_preset_holds_the_papers_figures(name, cell_bits):
    accelerator = load_accelerator(name)
    crossbar = accelerator.crossbar
    assert accelerator.name == name
    assert (crossbar.rows, crossbar.cols, crossbar.cell_bits) == (256, 256, cell_bits)
    assert (crossbar.write_latency_us, crossbar.mvm_latency_us) == (Decimal(56), Decimal("1.4"))
    assert (accelerator.converters.dac_bits, accelerator.converters.adc_bits) == (1, "ideal")
    assert accelerator.mapping.encoding is Encoding.DIFFERENTIAL_COLUMNS
    assert accelerator.chip.crossbars == 1


@pytest.mark.parametrize("name", list_presets())
def test_a_preset_is_named_like_its_file_and_says_what_it_is(name):
    accelerator = load_accelerator(name)
    assert accelerator.name == name
    assert accelerator.description.endswith(".")


@pytest.mark.parametrize("name", list_presets())
def test_every_value_of_a_preset_has_a_source(name):
    content = tomllib.loads((Path(mho.hardware.__file__).parent / "presets" / f"{name}.toml").read_text())
    tables = {
        section: values for section, values in content.items() if isinstance(values, dict) and section != "sources"
    }
    stated = {f"{section}.{key}" for section, values in tables.items() for key in values}
    assert set(load_accelerator(name).sources) == stated <= set(Accelerator.value_keys())


@pytest.mark.parametrize("name", list_presets())
def test_toml_and_json_give_back_the_same_accelerator(name, tmp_path):
    accelerator = load_accelerator(name)
    path = tmp_path / "again.toml"
    path.write_text(to_toml(accelerator), encoding="utf-8")
    assert load_accelerator(path) == accelerator
    assert load_accelerator(str(path)) == accelerator
    assert accelerator_from_json(json.loads(json.dumps(accelerator.to_json())), where="test") == accelerator


@pytest.mark.parametrize("name", ['quote " and \\', "tab\tline\nbreak", "\x7f\x00", "ohm \u03a9 \U0001f600"])
def test_any_name_survives_toml(name):
    accelerator = accelerator_from_json({**load_accelerator("pelke2026-4bit").to_json(), "name": name}, where="test")
    assert tomllib.loads(to_toml(accelerator))["name"] == name


def test_figures_that_are_not_specified_are_left_out_of_toml():
    text = to_toml(load_accelerator("pelke2026-4bit"))
    assert "[energy]" not in text
    assert "None" not in text
    assert "adc_supply_v" not in to_toml(load_accelerator("isaac"))


def test_a_picosecond_survives_toml():
    content = load_accelerator("pelke2026-4bit").to_json()
    content["crossbar"]["mvm_latency_us"] = 0.000001
    accelerator = accelerator_from_json(content, where="test")
    again = accelerator_from_json(tomllib.loads(to_toml(accelerator), parse_float=Decimal), where="test")
    assert again.mvm_latency_ps == 1


def test_a_misspelt_preset_is_met_with_the_nearest():
    with pytest.raises(InputFileError, match="did you mean 'pelke2026-4bit'"):
        load_accelerator("pelke2026-4bits")


def test_a_file_that_is_taken_for_a_preset_is_pointed_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").touch()
    with pytest.raises(InputFileError, match=r"say \./mine"):
        load_accelerator("mine")


@pytest.mark.parametrize("name", ["missing.toml", "folder/missing", "", "a" * 5000, "nul\0"])
def test_a_missing_accelerator_is_an_input_file_error(name):
    with pytest.raises(InputFileError):
        load_accelerator(name)


def test_a_file_with_several_problems_tells_all_of_them(tmp_path):
    path = tmp_path / "mine.toml"
    text = to_toml(load_accelerator("pelke2026-4bit"))
    path.write_text(
        text.replace("cell_bits = 4", "cell_bits = 9\ncel_bits = 4").replace("dac_bits = 1", "dac_bits = 0")
    )
    with pytest.raises(ConfigError) as caught:
        load_accelerator(path)
    text = str(caught.value)
    assert str(path) in text
    assert "crossbar.cell_bits: is 9; expected a whole number, 1..8" in text
    assert "crossbar.cel_bits: unknown key; did you mean 'cell_bits'?" in text
    assert "converters.dac_bits: is 0; expected a whole number, 1..8" in text


def test_an_override_changes_only_what_is_named_and_says_so_in_the_sources():
    preset = load_accelerator("pelke2026-4bit")
    changed = override(preset, cell_bits=2, encoding="offset")
    assert (changed.crossbar.cell_bits, changed.mapping.encoding) == (2, Encoding.OFFSET)
    assert changed.crossbar.rows == preset.crossbar.rows
    assert "user" in changed.sources["crossbar.cell_bits"]
    assert changed.sources["crossbar.rows"] == preset.sources["crossbar.rows"]
    assert override(preset) == preset
    assert override(preset, cell_bits=4) == preset


@pytest.mark.parametrize("encoding", Encoding)
def test_an_encoding_becomes_the_only_one_that_is_allowed(encoding):
    changed = override(load_accelerator("pelke2026-4bit"), encoding=encoding)
    assert changed.mapping.allowed.encodings == (encoding,)
    assert changed.mapping.allows_paper == (encoding in PAPER_ENCODINGS)
    assert changed.sources["mapping.allowed"] == "set by the user"
    assert accelerator_from_json(changed.to_json(), where="again") == changed
    assert override(changed, encoding=encoding) == changed


def test_an_encoding_that_the_periphery_cannot_do_is_refused():
    with pytest.raises(ConfigError, match="does not allow the encoding 'offset'"):
        override(load_accelerator("neurram"), encoding="offset")


@pytest.mark.parametrize("change", [{"cell_bits": 0}, {"cell_bits": 9}, {"encoding": "columns"}])
def test_an_impossible_override_is_an_error(change):
    with pytest.raises(ConfigError, match="pelke2026-4bit, overridden: "):
        override(load_accelerator("pelke2026-4bit"), **change)


def test_crossbars_are_overridden_in_whole_cores():
    puma = load_accelerator("puma")
    assert puma.chip.crossbars_per_core == 128
    changed = override(puma, crossbars=1280)
    assert (changed.chip.crossbars, changed.chip.cores) == (1280, 10)
    assert changed.mesh_shape == (2, 5)
    assert changed.sources["chip.crossbars"] == changed.sources["chip.cores"] == "set by the user"
    assert override(puma, crossbars=puma.chip.crossbars) == puma
    single = override(load_accelerator("pelke2026-4bit"), crossbars=77)
    assert (single.chip.crossbars, single.chip.cores) == (77, 1)


@pytest.mark.parametrize(("crossbars", "near"), [(100, "such as 128"), (300, "256 or 384"), (0, "such as 128")])
def test_crossbars_that_do_not_fill_cores_are_an_error(crossbars, near):
    with pytest.raises(ConfigError, match=near):
        override(load_accelerator("puma"), crossbars=crossbars)


def test_accelerators_of_one_name_are_distinguished_by_their_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("mine.toml", "other.toml"):
        Path(file).write_text(to_toml(load_accelerator("neurram")), encoding="utf-8")
    found = load_distinct(["neurram", "mine.toml", Path("other.toml"), "isaac"])
    assert [one.name for one in found] == ["neurram", "neurram (mine.toml)", "neurram (other.toml)", "isaac"]
    assert load_distinct(["mine.toml"]) == (load_accelerator("neurram"),)
    assert load_distinct([load_accelerator("isaac")] * 2) == (load_accelerator("isaac"),) * 2
    for twice in (["isaac", "isaac"], ["mine.toml", Path("mine.toml")], ["mine.toml", "./mine.toml"]):
        with pytest.raises(ConfigError, match="is named twice"):
            load_distinct(twice)
