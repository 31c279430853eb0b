"""The database of an Optuna storage, which several searches create at once, and whose connection may be lost.

A connection that is lost, as by a restart of the server, is waited for within a bounded time; what was requested is
requested again. Whoever asks must therefore expect that it was done already.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage, get_storage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
    SQLAlchemyError,
)

from mho.bit_search.optuna_space import quiet
from mho.errors import InputFileError, MissingExtraError
from mho.terminal import escape

PATIENCE_S, RETRY_S = 60.0, 0.5
"""For how long a database that a search uses may be unreachable, and how often a request is repeated, s."""
_RACES = 20
"""So many searches may create the tables of one database at once."""
_LOCK_S = 60
"""For how long SQLite waits for another process to end its transaction."""
_LIBPQ = {"connect_timeout": 10, "keepalives_idle": 10, "tcp_user_timeout": 30_000}
"""So that a server that is gone without a word is detected: s, s, ms."""
_URLS = "a URL such as sqlite:///trials.db or postgresql+psycopg://user@host/name"

R = TypeVar("R")
_log = logging.getLogger("mho.bit_search")


class TrialDatabase:
    """A storage of Optuna, made where the database is empty.

    Args:
        url: as SQLAlchemy takes it.
        heartbeat_s, grace_s: see `mho.bit_search.trial_storage`.

    Attributes:
        storage: to be used through `ask`.
        last_outage: when the database last answered after it had been unreachable, as `time.monotonic` tells it.

    Raises:
        MissingExtraError: the driver is not installed.
        InputFileError: there is no such database, it cannot be read or written, or it is of another version of Optuna.
    """

    def __init__(self, url: str, heartbeat_s: int, grace_s: int) -> None:
        self._place = url.rpartition("@")[2]  # without a password
        self.last_outage = float("-inf")
        try:
            self._backend = _open(url, heartbeat_s, grace_s)
        except (SQLAlchemyError, StorageInternalError, RuntimeError, ValueError) as error:
            what = f"the storage of trials cannot be opened: {_reason(error)}"
            hint = "is the database there, and does it accept connections? A damaged file of SQLite can be deleted:"
            hint += " logs are enough to fill a new one"
            raise InputFileError(what, where=self._place, expected=_URLS, hint=hint) from error
        except ImportError as error:
            raise MissingExtraError(
                f"the driver of the database is not installed: {error.__cause__ or error}",
                "postgresql",
                where=self._place,
                otherwise="for another database, install its own driver",
            ) from error
        self.storage: Any = get_storage(self._backend)

    def ask(self, question: Callable[[], R]) -> R:
        """Return what `question`, which asks `storage`, returns; repeated while the database is unreachable.

        Raises:
            InputFileError: the database refuses, or is unreachable for longer than `PATIENCE_S`.
        """
        lost_at: float | None = None
        while True:
            try:
                with quiet():
                    answer = question()
            except (SQLAlchemyError, StorageInternalError) as error:
                seconds = 0.0 if lost_at is None else time.monotonic() - lost_at
                if not _is_lost(error) or seconds >= PATIENCE_S:
                    raise self._failure(error, seconds) from error
                if lost_at is None:
                    lost_at = time.monotonic()
                    self._warn(f"does not answer ({_reason(error)}); waiting up to {PATIENCE_S:.0f} s")
                time.sleep(RETRY_S)
                continue
            if lost_at is not None:
                self.last_outage = time.monotonic()
                self._warn("answers again")
            return answer

    def try_once(self, question: Callable[[], Any]) -> None:
        """Ask once, from any thread; what the database makes of it does not matter."""
        with suppress(SQLAlchemyError, StorageInternalError):
            question()

    def close(self) -> None:
        """Disconnect."""
        self._backend.engine.dispose()

    def _warn(self, what: str) -> None:
        _log.warning("%s", escape(f"{self._place}: the storage of trials {what}"))

    def _failure(self, error: Exception, seconds: float) -> InputFileError:
        what = f"has not answered for {seconds:.0f} s" if seconds else "fails"
        return InputFileError(
            f"the storage of trials {what}: {_reason(error)}",
            where=self._place,
            hint="evaluations so far are in the log: the same command continues from them",
        )


def _open(url: str, heartbeat_s: int, grace_s: int) -> RDBStorage:
    """Return the storage; its tables are created where they are missing, also by several searches at once."""
    options = _engine_options(url)
    for races in range(_RACES + 1):
        try:
            with quiet():
                return RDBStorage(
                    url.replace("{", "{{").replace("}", "}}"),  # Optuna takes URLs as templates
                    engine_kwargs=dict(options),
                    heartbeat_interval=heartbeat_s,
                    grace_period=grace_s,
                )
        except (SQLAlchemyError, StorageInternalError) as error:
            # Another search created the same table or row between the check and the creation here.
            if races == _RACES or not _is_race(error):
                raise
            time.sleep(random.uniform(0.0, 0.1))
    raise AssertionError("unreachable")


def _engine_options(url: str) -> dict[str, Any]:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _LOCK_S}}
    is_libpq = parsed.get_backend_name() == "postgresql" and parsed.get_driver_name() in ("psycopg", "psycopg2")
    waits = {key: value for key, value in _LIBPQ.items() if is_libpq and key not in parsed.query}
    return {"pool_pre_ping": True, "connect_args": waits}


def _database_error(error: BaseException) -> BaseException:
    """Return the error of the database behind one of Optuna's."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else None
    return error if cause is None else cause


def _is_race(error: Exception) -> bool:
    cause = _database_error(error)
    return isinstance(cause, IntegrityError | ProgrammingError) or "already exists" in str(cause)


def _is_lost(error: Exception) -> bool:
    """Tell whether asking again may help: the connection broke, the server restarts, or SQLite's file is locked."""
    cause = _database_error(error)
    if isinstance(cause, PendingRollbackError):  # the connection broke before, in the midst of a transaction
        return True
    if not isinstance(cause, DBAPIError):
        return False
    if type(cause.orig).__module__.startswith("sqlite3"):
        return "locked" in str(cause.orig)
    return cause.connection_invalidated or isinstance(cause, OperationalError | InterfaceError)


def _reason(error: Exception) -> str:
    cause = _database_error(error)
    text = str(cause.orig if isinstance(cause, DBAPIError) else cause)
    return (text.splitlines() or [type(cause).__name__])[0]
