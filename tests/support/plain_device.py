"""A device of plain integer arrays, which records its calls."""

from __future__ import annotations

from typing import Any

import numpy as np

from mho.simulation.device import DeviceInfo


class Chip:
    """All crossbars of a chip; errors of the host fail."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.cells: dict[int, np.ndarray] = {}
        self.drives: dict[int, np.ndarray] = {}
        self.counts: dict[int, np.ndarray] = {}

    def open(self, info: DeviceInfo) -> None:
        self.log.append(("open", info))
        self.info = info

    def close(self) -> None:
        self.log.append(("close",))

    def reset(self) -> None:
        self.cells = {}

    def begin_layer(self, index: int, adc_bits: int) -> None:
        self.log.append(("begin_layer", index, adc_bits))

    def write_tile(self, crossbar: int, row: int, col: int, cells: np.ndarray, joins: bool) -> None:
        assert cells.dtype == np.uint8
        assert cells.max() < 1 << self.info.cell_bits
        self.log.append(("write_tile", crossbar))
        whole = self.cells[crossbar] if joins else np.zeros((self.info.rows, self.info.cols), np.int32)
        whole[row : row + cells.shape[0], col : col + cells.shape[1]] = cells
        self.cells[crossbar] = whole

    def load_drives(self, crossbar: int, first_row: int, drives: np.ndarray) -> None:
        assert drives.dtype == np.int16
        whole = np.zeros(self.info.rows, np.int32)
        whole[first_row : first_row + len(drives)] = drives
        self.drives[crossbar] = whole

    def mvm(self, crossbar: int) -> None:
        self.counts[crossbar] = self.drives[crossbar] @ self.cells[crossbar]

    def read_columns(self, crossbar: int, first_col: int, count: int) -> np.ndarray:
        return self.counts[crossbar][first_col : first_col + count]

    def barrier(self) -> None:
        self.log.append(("barrier",))

    def status(self) -> int:
        return 0
