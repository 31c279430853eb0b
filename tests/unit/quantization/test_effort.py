import pytest

from mho.quantization.effort import DEFAULT_EFFORT, EFFORTS, EffortSteps, effort_key, steps_of


def test_each_effort_does_what_the_one_before_does_and_more():
    steps = [steps_of(effort) for effort in EFFORTS]
    work = [(one.smooths, one.fits_layers, one.descent_steps) for one in steps]
    assert work == sorted(set(work))
    assert all(one.fits_layers for one in steps if one.fits_blocks)


def test_the_default_effort_is_calibration_alone_and_leaves_keys_of_caches_as_they_are():
    assert steps_of(DEFAULT_EFFORT) == EffortSteps()
    assert [effort_key(effort) for effort in EFFORTS] == [{}, {"effort": "good"}, {"effort": "best"}]


@pytest.mark.parametrize("steps", [{"smooths": True, "descent_steps": 1}, {"descent_steps": -1, "fits_layers": True}])
def test_impossible_steps_are_refused(steps):
    with pytest.raises(ValueError, match="descent_steps"):
        EffortSteps(**steps)
