"""What one bit more or less of each layer would cost and bring, as a table on a terminal."""

from __future__ import annotations

from collections.abc import Callable

from mho.bit_search.explanation import BitStep, Explanation, Loss, OperandExplanation
from mho.formats import format_cost
from mho.report.columns import Column, print_columns
from mho.terminal import Console

_OPERANDS = {"weight": "weights", "activation": "activations", "ADC": "ADCs"}
_DISPENSABLE = ("loss of its bits",)
_NAME_LINE = 40


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print one line for each operand of each layer."""
    rows = [(layer.name, own) for layer in explanation.layers for own in layer.operands]
    firsts = {layer.name: layer.operands[0].operand for layer in explanation.layers}

    def column(title: str, cell: Callable[[OperandExplanation], str]) -> Column:
        return Column(title, tuple(cell(own) for _, own in rows))

    columns = [
        Column("layer", tuple(name if own.operand == firsts[name] else "" for name, own in rows), most=_NAME_LINE),
        column("bits of", lambda own: _OPERANDS[own.operand]),
        column("now", lambda own: str(own.bits)),
        column("loss of its bits", lambda own: f"{1000 * own.loss.likely:.2f}"),
        column("fewer", lambda own: _bits(own.less)),
        column("cost", lambda own: _cost(own.less, explanation)),
        column("loss", lambda own: _loss(own.less)),
        column("more", lambda own: _bits(own.more)),
        column("cost ", lambda own: _cost(own.more, explanation)),
        column("loss ", lambda own: _loss(own.more)),
    ]
    left_out = print_columns(console, columns, _DISPENSABLE)
    if left_out:
        console.print(f"too narrow for {', '.join(left_out)}", style="dim")
    objective = explanation.objective
    gain = explanation.reference_cost / explanation.cost
    measured = "" if explanation.loss is None else f"; loss {explanation.loss:+.4f} against uniform 8/8, as measured"
    console.print(
        f"{objective.words}: {format_cost(explanation.cost, objective.unit)}, {gain:.2f}x less than at uniform 8/8"
        f"{measured}",
        soft_wrap=not console.is_terminal,
    )
    console.print(
        "Costs are exact, as shares of this one. Losses (cross entropy, in thousandths) are those of a model of "
        f"{explanation.evaluations} evaluations that adds layers up, with the middle 80 % of what is possible.",
        style="dim",
        soft_wrap=not console.is_terminal,
    )


def _bits(step: BitStep | None) -> str:
    return "" if step is None else str(step.bits)


def _cost(step: BitStep | None, explanation: Explanation) -> str:
    return "" if step is None else f"{100 * step.cost / explanation.cost:+.1f} %"


def _loss(step: BitStep | None) -> str:
    return "" if step is None else tell_loss(step.loss)


def tell_loss(loss: Loss) -> str:
    """Return a change of loss and its range, in thousandths: ``+2.10 (0.80 to 6.00)``."""
    likely, low, high = (1000 * value for value in (loss.likely, loss.low, loss.high))
    return f"{likely:+.2f} ({low:.2f} to {high:.2f})"
