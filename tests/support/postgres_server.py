"""A PostgreSQL server of the test run's own, and empty databases in it.

The fixture `postgres` is the server, one a worker of the run; `postgres_url` is the URL of an empty database, new
in each test. The server listens on a socket in a temporary folder only, so it needs no port and meets no other server.
Where the programs of PostgreSQL are missing, tests that need them are skipped; under CI they fail.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest

_OWNER = "mho"
_SETTINGS = {"listen_addresses": "''", "fsync": "off", "max_connections": "50"}


class PostgresServer:
    """A server in a folder: `database` makes an empty database, `stop`, `kill` and `start` interrupt the server."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder, self._numbers = programs, folder, count()
        self._user = None
        if os.geteuid() == 0:  # the server refuses to run as root
            self._user = next(one for one in pwd.getpwall() if one.pw_name in ("postgres", "nobody"))
            os.chown(folder, self._user.pw_uid, self._user.pw_gid)
        self._run("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", f"--username={_OWNER}", "--pgdata=data")
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        self._control("start", "--log=server.log", f"--options=-k {self._folder} {settings}")

    def stop(self) -> None:
        """Shut the server down, which ends the connections that it has."""
        self._control("stop", "--mode=fast")

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._control("stop", "--mode=immediate")

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"test{next(self._numbers)}"
        self._run("createdb", f"--host={self._folder}", f"--username={_OWNER}", name)
        return f"postgresql+psycopg://{_OWNER}@/{name}?host={self._folder}"

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", *arguments, "--wait", "--pgdata=data")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        identity = {}
        if self._user is not None:
            identity = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        # To a file, not a pipe: the server inherits it and would hold a pipe open.
        with (self._folder / "programs.log").open("a+") as log:
            start = log.seek(0, os.SEEK_END)
            done = subprocess.run(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, **identity
            )
            log.seek(start)
            assert done.returncode == 0, f"{' '.join(command)} fails: {log.read()}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running server. A test that stops it starts it again."""
    programs = _find_programs()
    if programs is None or find_spec("psycopg") is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("needs a PostgreSQL server (apt-get install postgresql) and psycopg (pip install 'psycopg[binary]')")
    folder = Path(tempfile.mkdtemp(prefix="mho-postgres-"))
    try:
        server = PostgresServer(programs, folder)
        yield server
        server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """The URL of an empty database."""
    return postgres.database()


def _find_programs() -> Path | None:
    """Return the folder that holds initdb and pg_ctl; Debian keeps one for each version, and none on the path."""
    if (found := shutil.which("initdb")) is not None:
        return Path(found).resolve().parent
    versions = [place.parent for place in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(versions, key=lambda place: float(place.parent.name), default=None)
