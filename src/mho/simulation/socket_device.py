"""A device behind a socket: one JSON object a line, an answer to each; nothing that comes back can run code.

A request is `{"call": NAME, ...}` with the arguments by name; cells are `{"shape": [rows, cols], "data": BASE64}`, a
byte each in row-major order, drives a list of integers. The answer is `{"ok": VALUE}`, where VALUE is null, the counts
(a list of integers) or the status, or `{"error": TEXT}`. A line has at most `MAX_LINE` bytes, and comes within
`TIMEOUT_S`.
"""

from __future__ import annotations

import base64
import json
import socket
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mho.errors import ConfigError, DeviceError
from mho.simulation.device import DeviceInfo

MAX_LINE = 1 << 20
"""Bytes of an answer: more counts than a crossbar has columns."""

TIMEOUT_S = 30.0
"""For which an answer is waited for."""


class SocketDevice:
    """The host's side of the connection."""

    def __init__(self, connection: socket.socket, where: str, timeout_s: float = TIMEOUT_S) -> None:
        """Take a connection; `where` names it in errors."""
        self._connection, self._where, self._timeout_s = connection, where, timeout_s
        self._is_broken = False

    @classmethod
    def connect(cls, name: str) -> SocketDevice:
        """Connect to `tcp:HOST:PORT`. Raises `ConfigError`: nobody answers there."""
        host, _, port = name.removeprefix("tcp:").rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host  # as addresses of IPv6 are written
        if not host or not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 1 << 16:
            raise ConfigError("is no address of a device", where=name, expected="tcp:HOST:PORT")
        try:
            return cls(socket.create_connection((host, int(port)), timeout=TIMEOUT_S), name)
        except UnicodeError as error:
            raise ConfigError(f"{host:.80} is no name of a host", where=name, expected="tcp:HOST:PORT") from error
        except OSError as error:
            raise ConfigError(
                error.strerror or "cannot be reached", where=name, hint="start the device's server first"
            ) from error

    def open(self, info: DeviceInfo) -> None:
        """Begin."""
        self._call("open", **asdict(info))

    def close(self) -> None:
        """End; a connection that is broken already is no error, and nothing more is said or waited for on it."""
        try:
            if not self._is_broken:
                self._call("close")
        except DeviceError:
            pass
        finally:
            self._connection.close()

    def reset(self) -> None:
        """Make all cells 0."""
        self._call("reset")

    def begin_layer(self, index: int, adc_bits: int) -> None:
        """Go on with a layer."""
        self._call("begin_layer", index=index, adc_bits=adc_bits)

    def write_tile(self, crossbar: int, row: int, col: int, cells: NDArray[np.uint8], joins: bool) -> None:
        """Write cells."""
        data = base64.b64encode(np.ascontiguousarray(cells).tobytes()).decode()
        packed = {"shape": list(cells.shape), "data": data}
        self._call("write_tile", crossbar=crossbar, row=row, col=col, cells=packed, joins=joins)

    def load_drives(self, crossbar: int, first_row: int, drives: NDArray[np.int16]) -> None:
        """Drive rows."""
        self._call("load_drives", crossbar=crossbar, first_row=first_row, drives=drives.tolist())

    def mvm(self, crossbar: int) -> None:
        """Begin a read."""
        self._call("mvm", crossbar=crossbar)

    def read_columns(self, crossbar: int, first_col: int, count: int) -> NDArray[np.int32]:
        """Return counts."""
        found = self._call("read_columns", crossbar=crossbar, first_col=first_col, count=count)
        limits = np.iinfo(np.int32)
        if not isinstance(found, list) or any(
            type(one) is not int or not limits.min <= one <= limits.max for one in found
        ):
            raise DeviceError("an answer to read_columns that is no list of integers of 32 bits", where=self._where)
        return np.array(found, np.int32)

    def barrier(self) -> None:
        """Wait for all that was begun."""
        self._call("barrier")

    def status(self) -> int:
        """Return the device's status."""
        found = self._call("status")
        if type(found) is not int:
            raise DeviceError("an answer to status that is no integer", where=self._where)
        return found

    def _call(self, call: str, **arguments: Any) -> Any:
        """Send a request, and return the value of its answer. Raises `DeviceError`."""
        is_broken, self._is_broken = self._is_broken, True  # unless the answer is one
        if is_broken:
            raise DeviceError(f"{call} on a connection that is broken", where=self._where)
        try:
            self._connection.settimeout(self._timeout_s)
            self._connection.sendall(json.dumps({"call": call, **arguments}).encode() + b"\n")
            line = self._read_answer()
        except TimeoutError as error:
            what = f"no answer to {call} within {self._timeout_s:g} s"
            raise DeviceError(what, where=self._where) from error
        except OSError as error:
            raise DeviceError(f"{call}: {error.strerror or 'broken connection'}", where=self._where) from error
        if not line.endswith(b"\n"):
            what = f"closes the connection at {call}" if len(line) <= MAX_LINE else f"an endless answer to {call}"
            raise DeviceError(what, where=self._where)
        if line.find(b"\n") < len(line) - 1:
            raise DeviceError(f"more than one line in answer to {call}", where=self._where)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DeviceError(f"an answer to {call} that is no JSON", where=self._where) from error
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):
            self._is_broken = False
            raise DeviceError(f"{call}: {answer['error'][:500]}", where=self._where)
        if not isinstance(answer, dict) or "ok" not in answer:
            raise DeviceError(f"an answer to {call} without ok or error", where=self._where)
        self._is_broken = False
        return answer["ok"]

    def _read_answer(self) -> bytes:
        """Return what comes up to the end of a line, or as far as it comes; the time is for all of it."""
        deadline, line = time.monotonic() + self._timeout_s, bytearray()
        while not line.endswith(b"\n") and len(line) <= MAX_LINE:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._connection.settimeout(left_s)
            part = self._connection.recv(1 << 16)
            if not part:
                break
            line += part
        return bytes(line)
