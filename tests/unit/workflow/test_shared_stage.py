import json

import pytest
from tiny_run import CONFIG, write_tiny_run

from mho.errors import ConfigError
from mho.workflow.config import load_config
from mho.workflow.search_run import search_alone


def test_candidates_of_a_run_start_from_one_training_and_are_calibrated_only(tmp_path):
    file = write_tiny_run(tmp_path)
    text = CONFIG.replace("[evaluation.training]", "[evaluation.shared_training]\ndistillation = 0.5")
    file.write_text(text.replace("epochs = 12", "epochs = 2").replace("budget = 8", "budget = 3"))
    config = load_config(file, directory=tmp_path / "run")
    outcome = search_alone(config)
    assert outcome.reference.fidelity == "post-training quantization"
    stages = tmp_path / "run" / "stages"
    shared = json.loads((stages / "shared" / "stage.json").read_text())
    assert shared["figures"]["images"] == 64
    again = search_alone(config)
    assert again.reference == outcome.reference
    assert json.loads((stages / "shared" / "stage.json").read_text()) == shared


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[evaluation.training]", "[evaluation.shared_training]\nsteps = 1\nlearning_rate = 1\n[evaluation.training]",
         "all at once"),
        ("[evaluation.training]", "[evaluation]\nrepeats = 2\n[evaluation.shared_training]", "need a training"),
        ("[float_training]", "[float_training]\ndistillation = 0.5", "itself is the teacher"),
    ],
)  # fmt: skip
def test_settings_that_exclude_each_other_are_refused(tmp_path, old, new, message):
    file = write_tiny_run(tmp_path)
    file.write_text(CONFIG.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_config(file)
