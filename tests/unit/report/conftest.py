import pytest
from run_results import make_result

from mho.report.result import RunResult


@pytest.fixture
def result() -> RunResult:
    return make_result()
