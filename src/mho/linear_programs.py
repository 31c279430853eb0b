"""Linear and mixed-integer programs, minimized by HiGHS on one thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

UNBOUNDED = float(highspy.kHighsInf)
"""Stands for no limit, of a row or a column; negated, for no lower limit."""


@dataclass(frozen=True)
class LinearSolution:
    """What the solver ended with.

    Attributes:
        is_optimal: an optimum was found, within the tolerances and gaps of the options.
        is_feasible: False where it is proven that nothing satisfies all rows.
        status: how the solver ended, for messages.
        values: float64 [columns]; zeros where there is no solution.
        duals: float64 [rows], of linear programs; zeros where there are none.
        bound: no solution has a smaller objective; infinite where nothing is feasible.
    """

    is_optimal: bool
    is_feasible: bool
    status: str
    values: FloatArray
    duals: FloatArray
    bound: float


def minimize(
    objective: FloatArray,
    matrix: FloatArray,
    row_limits: tuple[FloatArray, FloatArray],
    *,
    most: FloatArray | float = UNBOUNDED,
    integer: BoolArray | None = None,
    options: Mapping[str, bool | int | float] | None = None,
) -> LinearSolution:
    """Minimize objective @ x with lower <= matrix @ x <= upper and 0 <= x <= most.

    Args:
        objective: float64 [columns].
        matrix: float64 [rows, columns], dense.
        row_limits: lower and upper limit of each row, float64 [rows] each; `UNBOUNDED` for none.
        most: upper limits of the columns.
        integer: bool [columns], the columns that are whole numbers; None: a linear program.
        options: of HiGHS, by name, besides no output and one thread.
    """
    rows, columns = matrix.shape
    filled = matrix.T != 0.0
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = columns, rows
    model.col_cost_ = objective
    model.col_lower_, model.col_upper_ = np.zeros(columns), np.broadcast_to(most, columns).astype(np.float64)
    model.row_lower_, model.row_upper_ = row_limits
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_ = np.concatenate([[0], np.cumsum(filled.sum(axis=1))])
    model.a_matrix_.index_ = np.nonzero(filled)[1]
    model.a_matrix_.value_ = matrix.T[filled]
    if integer is not None:
        kinds = highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger
        model.integrality_ = [kinds[int(is_integer)] for is_integer in integer]
    solver = highspy.Highs()
    for name, value in ({"output_flag": False, "threads": 1} | dict(options or {})).items():
        solver.setOptionValue(name, value)
    solver.passModel(model)
    solver.run()
    status, solution, info = solver.getModelStatus(), solver.getSolution(), solver.getInfo()
    is_feasible = status != highspy.HighsModelStatus.kInfeasible
    found = float(info.objective_function_value if integer is None else info.mip_dual_bound)
    return LinearSolution(
        status == highspy.HighsModelStatus.kOptimal,
        is_feasible,
        solver.modelStatusToString(status),
        np.array(solution.col_value) if solution.value_valid else np.zeros(columns),
        np.array(solution.row_dual) if solution.dual_valid else np.zeros(rows),
        found if is_feasible else np.inf,
    )
