"""What a schedule may say at all."""

import pytest

from mho.errors import ProgramError
from mho.program.codec import decode_schedule, encode_schedule
from mho.program.schedule import LayerSchedule, Schedule, StoredWait, Wait

FIRST = LayerSchedule("first", ((0, 1), (4, 5)), (), ())
SECOND = LayerSchedule("second", ((2,),), (Wait("first", "second:waits:first"),), (StoredWait("first", 3),))


def test_it_tells_copies_and_crossbars():
    schedule = Schedule((FIRST, SECOND))
    assert schedule.copies == {"first": 2, "second": 1}
    assert schedule.used_crossbars == 5
    assert schedule["second"] is SECOND
    with pytest.raises(KeyError):
        schedule["third"]


def test_it_comes_back_from_json():
    schedule = Schedule((FIRST, SECOND))
    assert decode_schedule(encode_schedule(schedule), "schedule") == schedule
    assert decode_schedule(encode_schedule(None), "schedule") is None


@pytest.mark.parametrize("copies", [(), ((),), ((0, 1), (2,))])
def test_copies_have_one_crossbar_for_each_tile(copies):
    with pytest.raises(ProgramError, match="not equally many"):
        LayerSchedule("first", copies, (), ())


@pytest.mark.parametrize("copies", [((1,),), ((5,),), ((7,), (7,))])
def test_no_crossbar_is_given_twice(copies):
    with pytest.raises(ProgramError, match="is given twice"):
        Schedule((FIRST, LayerSchedule("second", copies, (), ())))


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"layers": {}},
        {"layers": [{"name": "first"}]},
        {"layers": [{"name": "first", "copies": [["0"]], "waits": [], "stored_waits": []}]},
        {"layers": [{"name": "first", "copies": [[True]], "waits": [], "stored_waits": []}]},
        {"layers": [{"name": "first", "copies": [[0]], "waits": [["first", "x"]], "stored_waits": []}]},
    ],
)
def test_other_json_is_refused(content):
    with pytest.raises(ProgramError, match="schedule"):
        decode_schedule(content, "schedule")
