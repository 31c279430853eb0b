"""What `mho search` prints of a front and of a policy's layers; refreshed with --refresh-golden."""

import io
from pathlib import Path

from mho.bit_search.evaluation import EvaluationRecord
from mho.bit_search.explanation import BitStep, Explanation, LayerExplanation, Loss, OperandExplanation
from mho.bit_search.objective import Objective
from mho.policy import BitWidths, Policy
from mho.report.explanation_text import print_explanation
from mho.report.search_text import describe_best, describe_bits, print_front
from mho.terminal import Console

HERE = Path(__file__).parent


def record(bits: str, cost: int, accuracy: float | None, objective: Objective = Objective.LATENCY) -> EvaluationRecord:
    policy = Policy({"conv1": BitWidths(8, 8), "fc": BitWidths.parse(bits)})
    score = None if accuracy is None else 1.0 - accuracy
    return EvaluationRecord(policy, score, accuracy, cost, 0, 0.0, "exact", 0, "f", "ok", objective=objective)


def explanation() -> Explanation:
    weights = OperandExplanation(
        "weight", 4, Loss(0.0021, 0.0008, 0.006),
        BitStep(3, -1_000_000, Loss(0.0063, 0.0024, 0.018)), BitStep(5, 2_345_000, Loss(-0.0016, -0.0045, -0.0006)),
    )  # fmt: skip
    acts = OperandExplanation("activation", 8, Loss(1e-6, 1e-7, 2e-5), BitStep(7, 0, Loss(3e-6, 3e-7, 6e-5)), None)
    adcs = OperandExplanation("ADC", 5, Loss(0.01, 0.002, 0.05), None, BitStep(6, 10_000, Loss(-0.008, -0.04, -0.001)))
    layers = (LayerExplanation("conv1", (weights, acts)), LayerExplanation("fc", (acts, adcs)))
    policy = Policy({"conv1": BitWidths(4, 8), "fc": BitWidths(8, 8, 5)})
    return Explanation(policy, Objective.LATENCY, 50_000_000, 100_000_000, 0.0123, 40, layers)


def print_all(console: Console) -> None:
    reference = record("8/8", 100_000_000, 0.97)
    front = [record("2/2", 20_000_000, 0.5), record("4/4", 50_000_000, 0.96), reference]
    console.print(describe_best("exact", front[1], reference, tried=40), soft_wrap=True)
    console.print(describe_bits(front[1]))
    console.print(describe_best("rl", front[1], reference, tried=40, cost_budget=60_000_000), soft_wrap=True)
    print_front(console, front, reference)
    few = [record("8/8", 96, 0.97, Objective.CROSSBARS), record("2/4", 1200, 0.98, Objective.CROSSBARS)]
    print_front(console, few, few[1])


def text_of(show, *arguments):
    console = Console(file=io.StringIO(), width=80)
    show(console, *arguments)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def test_the_winner_and_the_front_read_as_before(check_golden):
    check_golden(HERE / "front.txt", text_of(print_all))


def test_no_writes_are_no_ratio():
    writes = [record(bits, cost, 0.97, Objective.LIFETIME) for bits, cost in (("4/4", 10**6), ("8/8", 2 * 10**18))]
    assert describe_best("exact", *writes, tried=24).startswith(
        "exact: writes of a cell for one input no writes instead of 2.00 writes at uniform 8/8, after 24 policies"
    )


def test_the_explanation_reads_as_before(check_golden):
    check_golden(HERE / "explanation.txt", text_of(print_explanation, explanation()))
