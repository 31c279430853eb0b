"""States of a network: tensors that come out of one call and go into the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mho.errors import MhoError

TOKENS, POSITION, SCORES = "tokens", "position", "scores"
"""Names of the inputs and the output of a language model, beside its states."""

STATES_KEY = "mho.states"
"""Key of the states in the metadata of an ONNX file."""


@dataclass(frozen=True)
class State:
    """One tensor that is carried from call to call; a sequence begins with zeros.

    Attributes:
        name: unique among the states of a network.
        input: the network's input that reads it.
        output: the network's output that writes it, of the same shape.
    """

    name: str
    input: str
    output: str

    def to_json(self) -> list[str]:
        """Return it as JSON holds it: name, input and output."""
        return [self.name, self.input, self.output]


def read_states(value: Any, where: str) -> tuple[State, ...]:
    """Return states of JSON, a list of what `State.to_json` gives. Raises `MhoError` for anything else."""
    if not isinstance(value, list) or not all(
        isinstance(one, list) and len(one) == 3 and all(isinstance(text, str) for text in one) for one in value
    ):
        raise MhoError("no list of states", where=where, expected="name, input and output of each")
    return tuple(State(*one) for one in value)


def check_states(
    states: Sequence[State],
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Mapping[str, tuple[int, ...]],
    where: str,
) -> None:
    """Refuse states that are not carried from an output to an input of the same shape.

    Args:
        states: of a network or program.
        inputs, outputs: their shapes by name.
        where: the network or program.

    Raises:
        MhoError: two have a name, an input or an output in common; or one does not fit.
    """
    for key in ("name", "input", "output"):
        taken = [getattr(state, key) for state in states]
        if len(set(taken)) < len(taken):
            raise MhoError(f"two states have one {key}", where=where)
    for state in states:
        if state.input not in inputs or state.output not in outputs:
            raise MhoError(
                f"state {state.name!r} is carried from {state.output!r} to {state.input!r}", where=where,
                expected="an output and an input",
            )  # fmt: skip
        if inputs[state.input] != outputs[state.output]:
            raise MhoError(
                f"state {state.name!r} comes out as {list(outputs[state.output])} and goes in as "
                f"{list(inputs[state.input])}", where=where, expected="one shape",
            )  # fmt: skip
