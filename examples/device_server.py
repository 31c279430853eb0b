"""A crossbar chip behind a socket: what `mho simulate --device tcp:127.0.0.1:PORT` talks to.

    python examples/device_server.py --port 7000 [--fault stuck-column:3:0] [--fault swapped-rows:1:4] ...

It knows nothing of mho: a lab board's server looks like this, with a driver in the place of the arrays. One JSON object
a line comes in, and one goes back (docs/bring-up.md). Faults, to see what the host says of them:

    stuck-column:C:V    column C always reads V
    swapped-rows:A:B    rows A and B are exchanged
    wrong-sign:C        column C reads with the opposite sign
    dead-row:R          row R is not driven
    status:N            the chip reports status N
    garbage             the third answer is no JSON
"""

from __future__ import annotations

import argparse
import base64
import json
import socketserver
from typing import Any

import numpy as np

LONGEST_LINE = 64 << 20


class Chip:
    """All crossbars, as integers."""

    def __init__(self, faults: list[list[str]]) -> None:
        self.faults = [(name, [int(number) for number in numbers]) for name, *numbers in faults]
        self.shape = (0, 0)
        self.cells: dict[int, np.ndarray] = {}
        self.drives: dict[int, np.ndarray] = {}
        self.counts: dict[int, np.ndarray] = {}

    def open(self, rows: int, cols: int, dac_bits: int, **_others: Any) -> None:
        if max(rows, cols) > 4096 or dac_bits > 8:
            raise ValueError("this chip has at most 4,096 rows and columns, and 8-bit DACs")
        self.shape = (rows, cols)

    def reset(self) -> None:
        self.cells, self.drives, self.counts = {}, {}, {}

    def begin_layer(self, index: int, adc_bits: int) -> None:
        """A board would set the ranges of its ADCs."""

    def write_tile(self, crossbar: int, row: int, col: int, cells: dict[str, Any], joins: bool) -> None:
        block = np.frombuffer(base64.b64decode(cells["data"]), np.uint8).reshape(cells["shape"])
        whole = self.cells[crossbar] if joins else np.zeros(self.shape, np.int64)
        whole[row : row + block.shape[0], col : col + block.shape[1]] = block
        self.cells[crossbar] = whole

    def load_drives(self, crossbar: int, first_row: int, drives: list[int]) -> None:
        whole = np.zeros(self.shape[0], np.int64)
        whole[first_row : first_row + len(drives)] = drives
        self.drives[crossbar] = whole

    def mvm(self, crossbar: int) -> None:
        drives = self.drives[crossbar].copy()
        for name, numbers in self.faults:
            if name == "swapped-rows":
                drives[numbers] = drives[numbers[::-1]]
            elif name == "dead-row":
                drives[numbers] = 0
        counts = drives @ self.cells[crossbar]
        for name, numbers in self.faults:
            if name == "stuck-column":
                counts[numbers[0]] = numbers[1]
            elif name == "wrong-sign":
                counts[numbers] *= -1
        self.counts[crossbar] = counts

    def read_columns(self, crossbar: int, first_col: int, count: int) -> list[int]:
        return [int(one) for one in self.counts[crossbar][first_col : first_col + count]]

    def barrier(self) -> None:
        """All is done at once here."""

    def status(self) -> int:
        return next((numbers[0] for name, numbers in self.faults if name == "status"), 0)

    def close(self) -> None:
        """Nothing to switch off."""


CALLS = (
    "open",
    "reset",
    "begin_layer",
    "write_tile",
    "load_drives",
    "mvm",
    "read_columns",
    "barrier",
    "status",
    "close",
)


class Connection(socketserver.StreamRequestHandler):
    """One host."""

    def handle(self) -> None:
        faults = self.server.faults  # type: ignore[attr-defined]
        chip, answers = Chip([fault for fault in faults if fault != ["garbage"]]), 0
        while line := self.rfile.readline(LONGEST_LINE):
            answers += 1
            try:
                arguments = json.loads(line)
                call = arguments.pop("call")
                if call not in CALLS:
                    raise ValueError(f"no call {call!r}")
                answer = {"ok": getattr(chip, call)(**arguments)}
            except Exception as error:  # whatever is wrong with a request goes to the host
                answer = {"error": f"{type(error).__name__}: {error}"}
            text = "?" if ["garbage"] in faults and answers == 3 else json.dumps(answer)
            self.wfile.write(text.encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=7000, help="0: any that is free")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME:NUMBER...")
    options = parser.parse_args()
    with socketserver.TCPServer(("127.0.0.1", options.port), Connection) as server:
        server.faults = [fault.split(":") for fault in options.fault]  # type: ignore[attr-defined]
        print(f"tcp:127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
